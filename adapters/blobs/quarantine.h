/* DATA/quarantine: files that nothing needed when a start looked, and what stood in a blob's place without
 * being one. They stay for QUARANTINE_DAYS, because a database that was damaged or restored may ask for them
 * again, and as long as they have no more than QUARANTINE_BYTES_MAX together. The registry's writer, or its
 * start. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum { QUARANTINE_DAYS = 7 };
#define QUARANTINE_BYTES_MAX (UINT64_C(16) << 30)

struct quarantine {
    int fd; /* of the directory; -1: none */
};

MUST_USE int quarantine_open(struct quarantine *q, const char *data_directory, struct err *e);
void quarantine_close(struct quarantine *q);
/* Move `name` of a directory there, whatever it is; its time begins. */
MUST_USE int quarantine_take(struct quarantine *q, int directory_fd, const char *name, struct err *e);
/* Move a file of that size back to `name` of a directory; false: there is none. */
bool quarantine_give(struct quarantine *q, const char *name, uint64_t bytes, int directory_fd);
/* Remove what has been there long enough, and the oldest where there is too much. */
MUST_USE int quarantine_expire(struct quarantine *q, struct err *e);

struct quarantine_file {
    char name[80];
    uint64_t bytes;
    int64_t since_s; /* since 1970 */
};
/* The oldest first; *out is the caller's, to be freed. */
MUST_USE int quarantine_list(const struct quarantine *q, struct quarantine_file **out, size_t *count,
                             struct err *e);
