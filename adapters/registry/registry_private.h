/* What the registry's files share: writer.c (one at a time), find.c (who is meant), gc.c (files that nobody
 * needs), registry_*.c (changes and looks), registry.c (opening, closing). Nobody but fsck and backup
 * includes it besides. */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "adapters/blobs/blob_list.h"
#include "adapters/blobs/blobs.h"
#include "adapters/blobs/retired.h"
#include "adapters/registry/catalog.h"
#include "adapters/store/store.h"

enum { KEY_USES_MAX = 4096 }; /* more in one interval: their times are written with a later use */
struct key_use {
    char kid[KID_BYTES];
    int64_t used_ms;
};

struct registry {
    int lock_fd;     /* flock on DATA/lock for as long as we live */
    char *directory; /* DATA */
    struct blobs blobs;
    struct catalog catalog;
    /* Held over every change: the store, putting and removing blobs, changing the catalog. */
    pthread_mutex_t writer;
    struct store *store;
    char base[SHA256_HEX + 1]; /* fingerprint of the base that is served; "": not known */
    atomic_bool failed, replaced;
    size_t swept_temporaries, swept_blobs, recovered_blobs;

    /* gc.c */
    struct retired retired;
    pthread_t remover; /* removes the files of retired versions after their last use */
    bool has_remover;
    int holds;      /* who wants blobs to stay; under `writer` */
    bool sweep_due; /* blobs that nobody needs were left because of them */

    /* Keys used since the last time that it was written down. Readers add, so it has a lock of its own, taken
     * behind all others. */
    pthread_mutex_t used_lock;
    struct key_use used[KEY_USES_MAX];
    size_t used_count;
};

/* ---- writer.c ---- */
/* Take the writer mutex; "storage_failed" (and no mutex) when changes are refused. */
MUST_USE int writer_begin(struct registry *r, struct err *e);
void writer_end(struct registry *r);

/* ---- find.c: for the writer, or under the catalog's lock; NULL, or -1, with the error ---- */
struct tenant *find_tenant(const struct registry *r, const char *id, struct err *e); /* "tenant_not_found" */
int find_tenant_gone(struct err *e); /* -1 and the same, of one known by its number */
struct adapter *find_adapter(const struct registry *r, uint32_t tenant, const char *name, struct err *e);
int find_adapter_missing(const char *name, struct err *e); /* -1 and "adapter_not_found" */
/* A version by 4 to 64 digits, "sha256:" allowed before them. "version_not_found", "version_ambiguous" */
const struct version *find_version(const struct adapter *a, const char *reference, struct err *e);
/* -1 and "adapter_broken" or "adapter_base_changed" unless it can be served. */
MUST_USE int find_usable(const struct version *v, struct err *e);
/* -1 and "version_conflict" unless the adapter's active version is one that is expected. */
MUST_USE int find_expected(const struct adapter *a, struct version_expected *expected, struct err *e);

/* ---- gc.c ---- */
MUST_USE int gc_start(struct registry *r, struct err *e);
void gc_stop(struct registry *r); /* and remove what is left; not started is fine */
/* The writer, after its commit, while the catalog still holds the version: its files go with its last use. */
void gc_retire(struct registry *r, const struct version *v);
/* The writer, afterwards: remove the files of retired versions that nobody uses, the newest first, then sync.
 * Where there are many, the rest is the remover's, so that nobody's change waits for them. */
void gc_collect(struct registry *r);
/* Not the writer: all of them, with pauses in which other writers have their turn. */
void gc_collect_all(struct registry *r);
/* The writer, after its commit, and the start: blobs of deleted files go, unless a backup holds them; then
 * they go with its end. */
void gc_collect_files(struct registry *r);
/* The writer: this blob, put for a row that did not come to be, unless it is needed. */
void gc_remove_blob(struct registry *r, const char *digest);
/* Is this blob needed, by a row or by a use of a deleted version? */
MUST_USE int gc_blob_used(struct registry *r, const char *digest, bool *out, struct err *e);
/* For those who read blobs for long. The writer: from now on, no blob is removed until gc_release.
 * "overloaded": too many. */
MUST_USE int gc_hold(struct registry *r, struct err *e);
void gc_release(struct registry *r); /* not the writer; removes what had to stay */

/* ---- registry_keys.c ---- */
/* Take what is noted of used keys; write it, in a transaction; put it back when that failed. */
size_t registry_uses_take(struct registry *r, struct key_use out[KEY_USES_MAX]);
MUST_USE int registry_uses_write(struct registry *r, const struct key_use *uses, size_t count, struct err *e);
void registry_uses_return(struct registry *r, const struct key_use *uses, size_t count);

/* ---- registry_versions.c, registry_metadata.c, registry_tenants.c ---- */
/* The writer: make a version of `a` the active one, on disk and in the catalog. A reference is returned. */
MUST_USE int registry_make_active(struct registry *r, struct adapter *a, const struct version *v,
                                  const struct version **out, struct err *e);
/* In a transaction: from now on `digest` ("": none) is the active one. */
MUST_USE int registry_note_activation(struct registry *r, const struct adapter *a, const char *digest,
                                      struct err *e);
/* The writer: labels, note and end of an adapter. */
MUST_USE int registry_change_metadata(struct registry *r, struct adapter *a, const struct adapter_change *c,
                                      struct err *e);
/* A row of the audit log about one version. */
MUST_USE int registry_audit_version(struct registry *r, const char *action, const struct version *v,
                                    const char *more, struct err *e);
/* For the writer, or under the catalog's lock: may the tenant have so many bytes more, and, where `fresh`,
 * one more adapter? "quota_exceeded" */
MUST_USE int registry_check_quota(const struct tenant *t, bool fresh, uint64_t bytes, struct err *e);
