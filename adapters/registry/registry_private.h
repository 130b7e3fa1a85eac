/* What the registry's files share: registry.c (opening, tenants), registry_keys.c,
 * registry_publish.c, registry_adapters.c, registry_versions.c, registry_metadata.c, hold.c, staged.c. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "adapters/blobs/blob_list.h"
#include "adapters/blobs/blobs.h"
#include "adapters/registry/catalog.h"
#include "adapters/registry/registry.h"
#include "adapters/blobs/retired.h"
#include "adapters/store/store.h"

enum { KEY_USES_MAX = 4096 }; /* more in one interval: their times are written with a later use */
struct key_use {
    char kid[KID_BYTES];
    int64_t used_ms;
};

struct registry {
    int lock_fd; /* flock on DATA/lock for as long as we live */
    struct blobs blobs;
    struct catalog catalog;
    pthread_mutex_t
        writer; /* held over every change: the store, putting and removing blobs, changing the catalog */
    struct store *store;
    struct retired retired;
    pthread_t remover; /* removes the files of retired versions after their last use */
    bool has_remover;
    atomic_bool failed;
    size_t swept_temporaries, swept_blobs;
    char *directory; /* DATA */
    int holds;       /* who wants blobs to stay; under `writer` */
    bool sweep_due;  /* blobs that nobody needs were left because of them */

    /* Keys used since the last time that it was written down. Readers add, so it has a lock of its own, taken
     * behind all others. */
    pthread_mutex_t used_lock;
    struct key_use used[KEY_USES_MAX];
    size_t used_count;
};

/* Take what is noted of used keys; write it, in a transaction; put it back when that failed. */
size_t registry_uses_take(struct registry *r, struct key_use out[KEY_USES_MAX]);
int registry_uses_write(struct registry *r, const struct key_use *uses, size_t count, struct err *e);
void registry_uses_return(struct registry *r, const struct key_use *uses, size_t count);

/* Take the writer mutex; "storage_failed" (and no mutex) when changes are refused. */
int registry_write_begin(struct registry *r, struct err *e);
void registry_write_end(struct registry *r);
struct tenant *registry_find_tenant(struct registry *r, const char *id,
                                    struct err *e); /* "tenant_not_found" */
int registry_tenant_gone(struct err *e);            /* -1 and the same, of one known by its number */

int registry_adapter_missing(const char *name, struct err *e); /* -1 and "adapter_not_found" */

/* A version by 4 to 64 digits, "sha256:" allowed before them: for the writer, or under the catalog's lock.
 * NULL: "version_not_found", "version_ambiguous". */
const struct version *registry_find_version(const struct adapter *a, const char *reference, struct err *e);
/* -1 and "version_conflict" unless the adapter's active version is one that is expected. */
int registry_check_expected(const struct adapter *a, struct version_expected *expected, struct err *e);
/* The writer: make a version of `a` the active one, on disk and in the catalog. A reference is returned. */
int registry_make_active(struct registry *r, struct adapter *a, const struct version *v,
                         const struct version **out, struct err *e);
/* In a transaction: from now on `digest` ("": none) is the active one. */
int registry_note_activation(struct registry *r, const struct adapter *a, const char *digest, struct err *e);
/* The writer: labels, note and end of an adapter. */
int registry_change_metadata(struct registry *r, struct adapter *a, const struct adapter_change *c,
                             struct err *e);
/* A row of the audit log about one version. */
int registry_audit_version(struct registry *r, const char *action, const struct version *v, const char *more,
                           struct err *e);
/* For the writer, or under the catalog's lock: may the tenant have so many bytes more, and, where `fresh`,
 * one more adapter? "quota_exceeded" */
int registry_check_quota(const struct tenant *t, bool fresh, uint64_t bytes, struct err *e);

/* The writer, after its commit, while the catalog still holds the version: its files go with its last use. */
void registry_retire(struct registry *r, const struct version *v);
/* The writer, afterwards: remove the files of retired versions that nobody uses, the newest first, then sync.
 * Where there are many, the rest is the remover's, so that nobody's change waits for them. */
void registry_remove_retired(struct registry *r);
/* Is this blob needed, by a row or by a use of a deleted version? */
int registry_blob_used(struct registry *r, const char *digest, bool *out, struct err *e);

/* ---- hold.c: for those who read blobs for long ---- */
/* The writer: from now on, no blob is removed until registry_release_blobs. "overloaded": too many. */
int registry_hold_blobs(struct registry *r, struct err *e);
void registry_release_blobs(struct registry *r); /* not the writer; removes what had to stay */
/* The writer: every version there is. A visitor's -1 ends it. */
int registry_visit_versions(struct registry *r,
                            int (*visit)(void *arg, const struct version *v, struct err *e), void *arg,
                            struct err *e);

/* ---- staged.c ---- */
const char *staged_digest(const struct staged *s,
                          enum staged_part part); /* SHA-256 in hexadecimal, after staged_sync */
/* Move both files to their blobs, on disk when it returns. The writer calls it. After an error the blobs may
 * be there. */
int staged_put(struct staged *s, struct err *e);
