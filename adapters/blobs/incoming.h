/* A blob on its way in: a file in DATA/tmp that grows as its bytes arrive, hashed as they are written, until
 * it is put in the place of its digest or let go. One thread at a time for each. */
#pragma once
#include "adapters/blobs/blobs.h"

struct incoming {
    struct blobs *blobs;
    int fd;      /* -1: not open */
    bool placed; /* no longer in DATA/tmp */
    char name[BLOBS_TEMPORARY_BYTES];
    uint64_t bytes;
    struct sha256 hash;
    char digest[SHA256_HEX + 1]; /* after incoming_finish; "" before */
};

/* Errors: "storage_full", "io_error". */
MUST_USE int incoming_open(struct incoming *i, struct blobs *b, struct err *e);
MUST_USE int incoming_write(struct incoming *i, const void *data, size_t length, struct err *e);
/* *failed: the disk lost writes, perhaps of other files, too. */
MUST_USE int incoming_sync(struct incoming *i, bool *failed, struct err *e);
void incoming_finish(struct incoming *i); /* after the sync: its digest is known */
/* Under the registry's writer mutex: to its place, on disk when it returns. After an error it may be there;
 * *failed: nobody knows. */
MUST_USE int incoming_put(struct incoming *i, bool *failed, struct err *e);
void incoming_close(struct incoming *i); /* removes what was not put */
