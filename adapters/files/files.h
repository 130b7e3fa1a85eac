/* Files that tenants keep here to train with, and that jobs leave for them. Rows in the registry's database,
 * bytes as blobs. All of it may wait for the disk and for writers: job threads, never HTTP or engine threads.
 * Every call takes the tenant: a foreign file is an unknown file, and so is one that has ended. */
#pragma once
#include "adapters/registry/registry.h"
#include "adapters/types/files.h"

MUST_USE int files_find(struct registry *r, uint32_t tenant, const char *id, struct file_row *out,
                        struct err *e); /* "file_not_found" */
/* Open for reading; what is deleted meanwhile can be read to its end. Errors: "file_not_found", "file_broken"
 * (its bytes are missing). */
MUST_USE int files_open(struct registry *r, uint32_t tenant, const char *id, struct file_row *out, int *fd,
                        struct err *e);
MUST_USE int files_list(struct registry *r, const struct file_query *q, struct file_row *out, size_t *count,
                        bool *more, struct err *e);
/* On disk when it returns, and the bytes are off the disk, but for those that somebody has open or a backup
 * holds: they go with it. */
MUST_USE int files_delete(struct registry *r, uint32_t tenant, const char *id, struct err *e);
/* Those that have ended. */
MUST_USE int files_expire(struct registry *r, struct err *e);
/* Would so many bytes more be within the tenant's quota? "quota_exceeded". A look, so that nobody sends in
 * vain; accepting decides. */
MUST_USE int files_foresee(struct registry *r, uint32_t tenant, uint64_t bytes, struct err *e);

/* ---- one more ---- */
struct files_upload;
struct files_new {
    uint32_t tenant;
    const char *name; /* UTF-8, cut at FILE_NAME_BYTES; without directories */
    const char *purpose;
    int64_t expires_ms; /* 0: never */
    bool replaces;      /* those of the tenant that have its purpose and name go, in the same step */
};
/* Its bytes go to disk as they come. `examples`: each line is checked as one, and what is none ends it. */
MUST_USE int files_upload_new(struct files_upload **out, struct registry *r, bool examples, struct err *e);
/* Errors: "body_too_large", "storage_full", "invalid_training_file". */
MUST_USE int files_upload_write(struct files_upload *u, const void *bytes, size_t length, struct err *e);
/* Consumed, whatever happens. Errors also: "quota_exceeded", "limit_reached". */
MUST_USE int files_upload_accept(struct files_upload *u, const struct files_new *n, struct file_row *out,
                                 struct err *e);
void files_upload_free(struct files_upload *u); /* removes what was not accepted; NULL is fine */
