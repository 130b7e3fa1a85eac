/* Immutable files named by the SHA-256 of their bytes: DATA/blobs/sha256/ab/abcd.... Files on their way in
 * grow in DATA/tmp; what a start finds and nothing needs waits in DATA/quarantine, from where it comes back
 * when it is needed after all. Owned by the registry: any thread may make and open files; files are put and
 * removed under the registry's writer mutex. Never decides what is still needed. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/blobs/quarantine.h"
#include "core/base/err.h"
#include "core/base/sha256.h"

enum { BLOBS_TEMPORARY_BYTES = 40 };

struct blobs {
    int temporary_fd; /* DATA/tmp */
    int shelves_fd;   /* DATA/blobs/sha256, with its 256 shelves 00..ff */
    struct quarantine quarantine;
};

/* Make what is missing and sync it, so that later only the shelf of a new blob needs a sync. */
MUST_USE int blobs_open(struct blobs *b, const char *data_directory, struct err *e);
void blobs_close(struct blobs *b);

/* A new empty file in DATA/tmp, open for reading and writing; its name goes to `name`. Returns the descriptor
 * or -1. */
MUST_USE int blobs_temporary(struct blobs *b, char name[BLOBS_TEMPORARY_BYTES], struct err *e);
void blobs_discard(struct blobs *b, const char *name);

/* Move a synced temporary file to the place of its digest. A file that is there already is replaced by the
 * same bytes: that heals a damaged one, and readers keep what they have open. Anything else that stands in
 * the place of the file, or of its shelf, goes to the quarantine. On disk after blobs_sync of the digest's
 * shelf. */
MUST_USE int blobs_put(struct blobs *b, const char *temporary, const char *digest, struct err *e);
MUST_USE int blobs_sync(struct blobs *b, const char *digest, struct err *e);
void blobs_remove(struct blobs *b, const char *digest);

/* Open for reading. Error "adapter_broken" when it is missing, is no file, or has not `bytes` bytes. Returns
 * the descriptor or -1. */
MUST_USE int blobs_open_blob(struct blobs *b, const char *digest, uint64_t bytes, struct err *e);
bool blobs_present(struct blobs *b, const char *digest, uint64_t bytes);

/* Call back for the name of every file on the shelves, blob or not; `shelf` is "ab". A visitor's -1 ends
 * it. */
MUST_USE int blobs_visit(struct blobs *b,
                         int (*visit)(void *arg, const char *shelf, const char *name, struct err *e),
                         void *arg, struct err *e);
/* The SHA-256 of a blob's bytes against its name: "adapter_broken" when they differ, or it is missing or has
 * another size; "io_error" when it cannot be read. */
MUST_USE int blobs_check(int fd, uint64_t bytes, const char *digest, struct err *e);
MUST_USE int blobs_verify(struct blobs *b, const char *digest, uint64_t bytes, struct err *e);

/* Remove the files of DATA/tmp; how many were there. */
MUST_USE int blobs_sweep_temporaries(struct blobs *b, size_t *removed, struct err *e);
/* Remove what is not a blob that `used` wants to keep; or, with `keep`, move it to the quarantine. */
MUST_USE int blobs_sweep(struct blobs *b, bool keep,
                         int (*used)(void *arg, const char *digest, bool *out, struct err *e), void *arg,
                         size_t *removed, struct err *e);
/* Bring a missing blob back from the quarantine; false: it is not there either. */
bool blobs_recover(struct blobs *b, const char *digest, uint64_t bytes);
