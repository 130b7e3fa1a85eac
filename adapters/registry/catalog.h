/* What the registry holds, in memory: tenants, keys, adapters, versions. Owns all of them.
 *
 * One writer at a time (the registry's writer mutex) changes it and may read without the lock. Readers on any
 * thread hold `lock` for reading for a few look-ups only, never across I/O. Changes follow a commit, so they
 * cannot fail: what they need is allocated and reserved before. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/types/admin_keys.h"
#include "adapters/types/rows.h"
#include "core/base/ordered.h"
#include "core/base/hashtable.h"

struct tenant {
    char id[NAME_MAX_BYTES + 1]; /* first: the order of struct sorted */
    uint32_t number;
    int64_t created_ms;
    struct quota quota;
    char default_adapter[NAME_MAX_BYTES + 1]; /* "": none */
    uint64_t bytes;                           /* both files of all its versions */
    struct ordered adapters;                  /* struct adapter by name */
    struct ordered keys;                      /* struct key by kid */
    struct hashtable_link by_number;
};

struct key {
    char kid[KID_BYTES];     /* first */
    bool revoked;            /* and then no longer in the table */
    int64_t expires_ms;      /* 0: never */
    _Atomic int64_t used_ms; /* to the minute; 0: never */
    uint8_t hash[SHA256_BYTES];
    int64_t created_ms;
    struct tenant *tenant;
    struct hashtable_link by_hash;
    char label[]; /* NUL-terminated */
};

struct adapter {
    char name[NAME_MAX_BYTES + 1]; /* first */
    int64_t number;                /* of its row */
    int64_t created_ms;
    struct metadata metadata;
    struct tenant *tenant;           /* once it was added */
    const struct version *canary;    /* one of `versions`, or NULL; no reference of its own */
    const struct version **versions; /* [count] oldest first; one reference each */
    size_t count, capacity;
};

struct catalog_counts {
    size_t tenants, keys, adapters, versions, broken, other_base;
};

struct catalog {
    pthread_rwlock_t lock;
    struct ordered tenants;
    struct hashtable tenants_by_number, keys_by_hash;
    struct catalog_counts counts;
    struct admin_keys admins;
    struct adapter *pinned[ADAPTERS_PINNED_MAX];
    size_t pinned_count;
};

MUST_USE int catalog_init(struct catalog *m, struct err *e);
void catalog_fini(struct catalog *m);
void catalog_read_lock(struct catalog *m);
void catalog_unlock(struct catalog *m);

/* ---- look-ups: for the writer, or under the lock; NULL: not there ---- */
struct tenant *catalog_tenant(const struct catalog *m, const char *id);
struct tenant *catalog_tenant_numbered(const struct catalog *m, uint32_t number);
struct adapter *catalog_adapter(const struct tenant *t, const char *name);
/* Who holds the key with this hash? Compares in constant time. */
struct key *catalog_key_in_force(const struct catalog *m, const uint8_t hash[SHA256_BYTES]);
const struct version *adapter_active(const struct adapter *a);
const struct version *adapter_version(const struct adapter *a, const char *digest);

/* Every version there is. A visitor's -1 ends it. */
MUST_USE int catalog_visit_versions(const struct catalog *c,
                                    int (*visit)(void *arg, const struct version *v, struct err *e),
                                    void *arg, struct err *e);

/* ---- new objects, not yet seen by anybody; NULL when memory ran out ---- */
struct tenant *tenant_new(const char *id, int64_t created_ms);
void tenant_free(struct tenant *t); /* with its keys and adapters */
struct key *key_new(struct tenant *t, const char *kid, const char *label);
struct adapter *adapter_new(const char *name, int64_t created_ms);
void adapter_free(struct adapter *a);

/* ---- changes, by the writer; each locks ---- */
MUST_USE int catalog_reserve(struct catalog *m, struct ordered *s,
                             struct err *e); /* room for one more in `s` */
MUST_USE int catalog_reserve_version(struct catalog *m, struct adapter *a, struct err *e);

void catalog_add_tenant(struct catalog *m, struct tenant *t);
void catalog_remove_tenant(struct catalog *m, struct tenant *t); /* the caller frees it */
void catalog_change_tenant(struct catalog *m, struct tenant *t, const struct quota *quota,
                           const char *default_adapter);
void catalog_set_admins(struct catalog *m, const struct admin_keys *admins);
void catalog_add_key(struct catalog *m, struct key *k);
void catalog_expire_key(struct catalog *m, struct key *k, int64_t expires_ms);
void catalog_revoke_key(struct catalog *m, struct key *k);
void catalog_remove_key(struct catalog *m, struct key *k); /* the caller frees it */
void catalog_add_adapter(struct catalog *m, struct tenant *t,
                         struct adapter *a); /* with what versions it has */
void catalog_remove_adapter(struct catalog *m, struct tenant *t, struct adapter *a); /* the caller frees it */
/* Takes over the reference to the labels. There is room for one more pinned one where it becomes that. */
void catalog_change_metadata(struct catalog *m, struct adapter *a, const struct metadata *metadata);

void catalog_remove_version(struct catalog *m, struct adapter *a, const struct version *v);

/* Several versions of one adapter at once, so that no reader sees it without an active one. Each change puts
 * `after` (one reference, taken over) in the place of `before`, or at the end where `before` is NULL. */
struct catalog_change {
    const struct version *before, *after;
};
void catalog_change_versions(struct catalog *m, struct adapter *a, const struct catalog_change *changes,
                             size_t count);
