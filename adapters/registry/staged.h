/* An upload on its way: two files in DATA/tmp that grow as the bytes arrive, hashed as they are written,
 * until the registry publishes them or they are let go. One thread at a time for each. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct registry;
struct staged;
enum staged_part { STAGED_CONFIG, STAGED_WEIGHTS };

/* Errors: "body_too_large", "storage_full", "io_error". */
MUST_USE int staged_new(struct staged **out, struct registry *r, struct err *e);
MUST_USE int staged_write(struct staged *s, enum staged_part part, const void *data, size_t length,
                          struct err *e);
MUST_USE int staged_sync(struct staged *s, struct err *e);    /* fsync both, finish the hashes */
int staged_fd(const struct staged *s, enum staged_part part); /* for reading, by pread */
uint64_t staged_bytes(const struct staged *s, enum staged_part part);
void staged_free(struct staged *s); /* removes what was not published; NULL is fine */

/* ---- for the registry ---- */
/* SHA-256 in hexadecimal, after staged_sync. */
const char *staged_digest(const struct staged *s, enum staged_part part);
/* The writer: move both files to their blobs, on disk when it returns. After an error the blobs may be
 * there. */
MUST_USE int staged_put(struct staged *s, struct err *e);
