/* A temporary file that is written once, from its beginning to its end, and then read as memory. It has no
 * name: whatever happens, it is gone with its owner. One thread writes; any may read afterwards. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

struct spool {
    int fd;
    uint64_t bytes; /* written, also those still in `pending` */
    struct buf pending;
    void *map; /* NULL: not mapped */
};

/* In this directory. Errors: "io_error", "storage_full". */
MUST_USE int spool_open(struct spool *s, const char *directory, struct err *e);
MUST_USE int spool_write(struct spool *s, const void *data, size_t length, struct err *e);
/* The end: what was written can be read at s->map (NULL: nothing was). */
MUST_USE int spool_map(struct spool *s, struct err *e);
void spool_close(struct spool *s); /* one that was never opened has fd -1 */
