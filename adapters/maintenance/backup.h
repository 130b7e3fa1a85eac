/* A copy of the whole registry as one archive, consistent at one moment while changes go on: SHA256SUMS,
 * registry.db, and the blobs of all versions in the copy, in the order of SHA256SUMS. As long as one is open,
 * blobs that nobody needs any more stay on disk. Blocks on the disk: job threads; one thread at a time for
 * each. */
#pragma once
#include "adapters/registry/registry.h"

struct backup;

struct backup_info {
    size_t blobs;
    uint64_t bytes;  /* of the archive */
    size_t left_out; /* versions that are broken: their rows are in the copy, their files are not */
};

/* Copies the database, under the writer mutex. Adds "backup.start" to the audit log. Errors: "overloaded"
 * (too many at once), those of a change. */
MUST_USE int backup_open(struct backup **out, struct registry *r, struct err *e);
const struct backup_info *backup_info(const struct backup *b);
/* The next bytes of the archive, `max` unless it ends; *count 0: that was all. */
MUST_USE int backup_read(struct backup *b, char *out, size_t max, size_t *count, struct err *e);
void backup_close(struct backup *b); /* NULL is fine */
