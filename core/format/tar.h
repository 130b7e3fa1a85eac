/* Archives of plain files as a stream (POSIX.1-2001 ustar): headers to write, and a reader that takes bytes
 * as they come. Pure; no I/O. The caller's storage, one thread at a time. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum { TAR_BLOCK = 512, TAR_NAME_MAX = 99, TAR_END_BYTES = 2 * TAR_BLOCK };
#define TAR_FILE_BYTES_MAX ((UINT64_C(1) << 33) - 1) /* eleven octal digits */

/* Write the header of a file of mode 0600: `name` has 1 to TAR_NAME_MAX bytes, `size` is TAR_FILE_BYTES_MAX
 * at most. */
void tar_header(const char *name, uint64_t size, int64_t unix_seconds, char out[TAR_BLOCK]);
/* Zero bytes that follow a file of that size. */
size_t tar_padding(uint64_t size);

struct tar_handler { /* each returns 0, or -1 with the error that ends the reading */
    int (*begin)(void *arg, const char *name, uint64_t size, struct err *e);
    int (*data)(void *arg, const void *bytes, size_t length, struct err *e);
    int (*end)(void *arg, struct err *e);
    void *arg;
};

struct tar_reader { /* zero but for the handler to begin with */
    struct tar_handler handler;
    char block[TAR_BLOCK]; /* a header that is arriving */
    size_t have;
    uint64_t left;  /* of the file */
    size_t padding; /* behind it */
    int ended;      /* the block of zeros has come */
};

/* Plain files only, names without NUL; anything else, and a checksum that is wrong, is "archive_malformed".
 * What follows the end is ignored. Not to be called again after an error. */
MUST_USE int tar_feed(struct tar_reader *t, const void *bytes, size_t length, struct err *e);
/* Nothing more comes: "archive_malformed" unless the end was there. */
MUST_USE int tar_finish(const struct tar_reader *t, struct err *e);
