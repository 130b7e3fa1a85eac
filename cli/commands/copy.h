/* A directory that holds a registry (SHA256SUMS, registry.db, blobs/sha256/ab/...) while it is being written:
 * every file is compared with its SHA-256 as it comes and synced. One thread. */
#pragma once
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"
#include "core/base/sha256.h"

/* ---- SHA256SUMS: which files there are ---- */

enum { COPY_SUMS_BYTES_MAX = 1 << 30, COPY_PATH_BYTES = 96 };
#define COPY_SUMS "SHA256SUMS"
#define COPY_DATABASE "registry.db"

struct copy_line {
    char path[COPY_PATH_BYTES];
    char digest[SHA256_HEX + 1];
};
/* The line at *at, which moves behind it: 1, or 0 at the end, or -1, "backup_malformed". The first line is
 * the database; each other one a blob, whose path follows from its digest, in rising order: no path leads
 * elsewhere. */
MUST_USE int copy_next_line(const struct buf *sums, size_t *at, struct copy_line *line, struct err *e);

/* ---- writing ---- */

struct copy { /* filled by copy_begin */
    char *directory;
    int directory_fd, fd;
    int made; /* the directory was not there before */
    struct sha256 hash;
};

/* The directory must not exist or be empty: "exists". */
MUST_USE int copy_begin(struct copy *c, const char *directory, struct err *e);
MUST_USE int copy_open_file(struct copy *c, const char *path, struct err *e);
MUST_USE int copy_write(struct copy *c, const void *bytes, size_t length, struct err *e);
/* Sync and close; `digest` (NULL: any) is what its bytes must have, otherwise "backup_damaged". */
MUST_USE int copy_close_file(struct copy *c, const char *path, const char *digest, struct err *e);
MUST_USE int copy_sync(struct copy *c,
                       struct err *e); /* the directories: all files have their names on disk */
/* Within the directory, on disk when it returns. */
MUST_USE int copy_rename(struct copy *c, const char *from, const char *to, struct err *e);
/* Ends the writing. `keep` 0: removes everything again. */
void copy_end(struct copy *c, int keep);
