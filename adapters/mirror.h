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

#include "adapters/admin_keys.h"
#include "adapters/registry.h"
#include "adapters/sorted.h"
#include "adapters/table.h"

struct tenant {
    char id[NAME_MAX_BYTES + 1]; /* first: the order of struct sorted */
    uint32_t number;
    int64_t created_ms;
    struct quota quota;
    char default_adapter[NAME_MAX_BYTES + 1]; /* "": none */
    uint64_t bytes;                           /* both files of all its versions */
    struct sorted adapters;                   /* struct adapter by name */
    struct sorted keys;                       /* struct key by kid */
    struct table_link by_number;
};

struct key {
    char kid[KID_BYTES];     /* first */
    bool revoked;            /* and then no longer in the table */
    int64_t expires_ms;      /* 0: never */
    _Atomic int64_t used_ms; /* to the minute; 0: never */
    uint8_t hash[SHA256_BYTES];
    int64_t created_ms;
    struct tenant *tenant;
    struct table_link by_hash;
    char label[]; /* NUL-terminated */
};

struct adapter {
    char name[NAME_MAX_BYTES + 1]; /* first */
    int64_t number;                /* of its row */
    int64_t created_ms;
    struct about about;
    struct tenant *tenant;           /* once it was added */
    const struct version *canary;    /* one of `versions`, or NULL; no reference of its own */
    const struct version **versions; /* [count] oldest first; one reference each */
    size_t count, capacity;
};

struct mirror_counts {
    size_t tenants, keys, adapters, versions, broken;
};

struct mirror {
    pthread_rwlock_t lock;
    struct sorted tenants;
    struct table tenants_by_number, keys_by_hash;
    struct mirror_counts counts;
    struct admin_keys admins;
    struct adapter *pinned[ADAPTERS_PINNED_MAX];
    size_t pinned_count;
};

int mirror_init(struct mirror *m, struct err *e);
void mirror_fini(struct mirror *m);
void mirror_read_lock(struct mirror *m);
void mirror_unlock(struct mirror *m);

/* ---- look-ups: for the writer, or under the lock; NULL: not there ---- */
struct tenant *mirror_tenant(const struct mirror *m, const char *id);
struct tenant *mirror_tenant_numbered(const struct mirror *m, uint32_t number);
struct adapter *mirror_adapter(const struct tenant *t, const char *name);
/* Who holds the key with this hash? Compares in constant time. */
struct key *mirror_key_in_force(const struct mirror *m, const uint8_t hash[SHA256_BYTES]);
const struct version *adapter_active(const struct adapter *a);
const struct version *adapter_version(const struct adapter *a, const char *digest);

/* ---- new objects, not yet seen by anybody; NULL when memory ran out ---- */
struct tenant *tenant_new(const char *id, int64_t created_ms);
void tenant_free(struct tenant *t); /* with its keys and adapters */
struct key *key_new(struct tenant *t, const char *kid, const char *label);
struct adapter *adapter_new(const char *name, int64_t created_ms);
void adapter_free(struct adapter *a);

/* ---- changes, by the writer; each locks ---- */
int mirror_reserve(struct mirror *m, struct sorted *s, struct err *e); /* room for one more in `s` */
int mirror_reserve_version(struct mirror *m, struct adapter *a, struct err *e);

void mirror_add_tenant(struct mirror *m, struct tenant *t);
void mirror_remove_tenant(struct mirror *m, struct tenant *t); /* the caller frees it */
void mirror_change_tenant(struct mirror *m, struct tenant *t, const struct quota *quota,
                          const char *default_adapter);
void mirror_set_admins(struct mirror *m, const struct admin_keys *admins);
void mirror_add_key(struct mirror *m, struct key *k);
void mirror_expire_key(struct mirror *m, struct key *k, int64_t expires_ms);
void mirror_revoke_key(struct mirror *m, struct key *k);
void mirror_remove_key(struct mirror *m, struct key *k); /* the caller frees it */
void mirror_add_adapter(struct mirror *m, struct tenant *t,
                        struct adapter *a); /* with what versions it has */
void mirror_remove_adapter(struct mirror *m, struct tenant *t, struct adapter *a); /* the caller frees it */
/* Takes over the reference to the labels. There is room for one more pinned one where it becomes that. */
void mirror_change_about(struct mirror *m, struct adapter *a, const struct about *about);

void mirror_remove_version(struct mirror *m, struct adapter *a, const struct version *v);

/* Several versions of one adapter at once, so that no reader sees it without an active one. Each change puts
 * `after` (one reference, taken over) in the place of `before`, or at the end where `before` is NULL. */
struct mirror_change {
    const struct version *before, *after;
};
void mirror_change_versions(struct mirror *m, struct adapter *a, const struct mirror_change *changes,
                            size_t count);
