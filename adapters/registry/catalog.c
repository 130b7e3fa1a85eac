#include "adapters/registry/catalog.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/blobs/version.h"

int catalog_init(struct catalog *m, struct err *e)
{
    struct catalog made = {0};
    if (hashtable_init(&made.tenants_by_number, e) != 0)
        return -1;
    if (hashtable_init(&made.keys_by_hash, e) != 0) {
        hashtable_fini(&made.tenants_by_number);
        return -1;
    }
    *m = made;
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    /* Without this, readers that never pause would keep a writer out for ever. */
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&m->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    return 0;
}

void catalog_fini(struct catalog *m)
{
    for (size_t i = 0; i < m->tenants.count; i++)
        tenant_free(m->tenants.items[i]);
    ordered_fini(&m->tenants);
    hashtable_fini(&m->tenants_by_number);
    hashtable_fini(&m->keys_by_hash);
    pthread_rwlock_destroy(&m->lock);
}

void catalog_read_lock(struct catalog *m)
{
    pthread_rwlock_rdlock(&m->lock);
}

static void write_lock(struct catalog *m)
{
    pthread_rwlock_wrlock(&m->lock);
}

void catalog_unlock(struct catalog *m)
{
    pthread_rwlock_unlock(&m->lock);
}

/* ---- look-ups ---- */

struct tenant *catalog_tenant(const struct catalog *m, const char *id)
{
    return ordered_get(&m->tenants, id);
}

struct tenant *catalog_tenant_numbered(const struct catalog *m, uint32_t number)
{
    return HASHTABLE_ITEM(hashtable_first(&m->tenants_by_number, number), struct tenant, by_number);
}

struct adapter *catalog_adapter(const struct tenant *t, const char *name)
{
    return ordered_get(&t->adapters, name);
}

static uint64_t hash_start(const uint8_t hash[SHA256_BYTES])
{
    uint64_t start;
    memcpy(&start, hash, sizeof start);
    return start;
}

struct key *catalog_key_in_force(const struct catalog *m, const uint8_t hash[SHA256_BYTES])
{
    for (struct hashtable_link *l = hashtable_first(&m->keys_by_hash, hash_start(hash)); l;
         l = hashtable_next(l)) {
        struct key *k = HASHTABLE_ITEM(l, struct key, by_hash);
        if (!bytes_differ(k->hash, hash, SHA256_BYTES))
            return k;
    }
    return NULL;
}

const struct version *adapter_active(const struct adapter *a)
{
    for (size_t i = a->count; i > 0; i--) {
        if (a->versions[i - 1]->active)
            return a->versions[i - 1];
    }
    return NULL;
}

const struct version *adapter_version(const struct adapter *a, const char *digest)
{
    for (size_t i = a->count; i > 0; i--) {
        if (strcmp(a->versions[i - 1]->digest, digest) == 0)
            return a->versions[i - 1];
    }
    return NULL;
}

static int visit_adapter(const struct adapter *a,
                         int (*visit)(void *arg, const struct version *v, struct err *e), void *arg,
                         struct err *e)
{
    for (size_t i = 0; i < a->count; i++)
        if (visit(arg, a->versions[i], e) != 0)
            return -1;
    return 0;
}

int catalog_visit_versions(const struct catalog *c,
                           int (*visit)(void *arg, const struct version *v, struct err *e), void *arg,
                           struct err *e)
{
    for (size_t i = 0; i < c->tenants.count; i++) {
        const struct tenant *t = c->tenants.items[i];
        for (size_t k = 0; k < t->adapters.count; k++)
            if (visit_adapter(t->adapters.items[k], visit, arg, e) != 0)
                return -1;
    }
    return 0;
}

/* ---- objects ---- */

struct tenant *tenant_new(const char *id, int64_t created_ms)
{
    struct tenant *t = calloc(1, sizeof *t);
    if (t) {
        strcpy(t->id, id);
        t->created_ms = created_ms;
        quota_fill(&t->quota, QUOTA_UNSET);
    }
    return t;
}

void tenant_free(struct tenant *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->keys.count; i++)
        free(t->keys.items[i]);
    for (size_t i = 0; i < t->adapters.count; i++)
        adapter_free(t->adapters.items[i]);
    ordered_fini(&t->keys);
    ordered_fini(&t->adapters);
    free(t);
}

struct key *key_new(struct tenant *t, const char *kid, const char *label)
{
    size_t label_size = strlen(label) + 1;
    struct key *k = calloc(1, sizeof *k + label_size);
    if (k) {
        strcpy(k->kid, kid);
        memcpy(k->label, label, label_size);
        k->tenant = t;
    }
    return k;
}

struct adapter *adapter_new(const char *name, int64_t created_ms)
{
    struct adapter *a = calloc(1, sizeof *a);
    if (a) {
        strcpy(a->name, name);
        a->created_ms = created_ms;
    }
    return a;
}

void adapter_free(struct adapter *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->count; i++)
        version_unref(a->versions[i]);
    free(a->versions);
    labels_unref(a->metadata.labels);
    free(a);
}

/* ---- changes ---- */

int catalog_reserve(struct catalog *m, struct ordered *s, struct err *e)
{
    write_lock(m);
    int result = ordered_reserve(s, e);
    catalog_unlock(m);
    return result;
}

int catalog_reserve_version(struct catalog *m, struct adapter *a, struct err *e)
{
    if (a->count < a->capacity)
        return 0;
    size_t capacity = a->capacity ? a->capacity * 2 : 1;
    write_lock(m);
    const struct version **versions = reallocarray(a->versions, capacity, sizeof *versions);
    if (versions) {
        a->versions = versions;
        a->capacity = capacity;
    }
    catalog_unlock(m);
    return versions ? 0 : err_memory(e);
}

void catalog_add_tenant(struct catalog *m, struct tenant *t)
{
    write_lock(m);
    ordered_add(&m->tenants, t);
    hashtable_add(&m->tenants_by_number, &t->by_number, t->number);
    m->counts.tenants++;
    catalog_unlock(m);
}

void catalog_change_tenant(struct catalog *m, struct tenant *t, const struct quota *quota,
                           const char *default_adapter)
{
    write_lock(m);
    t->quota = *quota;
    strcpy(t->default_adapter, default_adapter);
    catalog_unlock(m);
}

static size_t broken_of(const struct adapter *a)
{
    size_t broken = 0;
    for (size_t i = 0; i < a->count; i++)
        broken += a->versions[i]->broken;
    return broken;
}

static size_t other_base_of(const struct adapter *a)
{
    size_t count = 0;
    for (size_t i = 0; i < a->count; i++)
        count += a->versions[i]->other_base;
    return count;
}

static uint64_t bytes_of(const struct version *v)
{
    return v->config_bytes + v->weights_bytes;
}

static uint64_t bytes_of_all(const struct adapter *a)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < a->count; i++)
        bytes += bytes_of(a->versions[i]);
    return bytes;
}

/* Keeps the list of those that are pinned. */
static void set_pinned(struct catalog *m, struct adapter *a, bool pinned)
{
    size_t kept = 0;
    for (size_t i = 0; i < m->pinned_count; i++)
        if (m->pinned[i] != a)
            m->pinned[kept++] = m->pinned[i];
    m->pinned_count = kept;
    if (pinned)
        m->pinned[m->pinned_count++] = a;
}

/* What is taken away was counted. */
static void check_counts(const struct catalog *c, const struct adapter *a)
{
    assert(c->counts.adapters > 0 && c->counts.versions >= a->count);
    assert(c->counts.broken >= broken_of(a) && c->counts.other_base >= other_base_of(a));
    assert(a->count <= a->capacity);
}

static void uncount_adapter(struct catalog *m, struct adapter *a)
{
    check_counts(m, a);
    set_pinned(m, a, false);
    m->counts.adapters--;
    m->counts.versions -= a->count;
    m->counts.broken -= broken_of(a);
    m->counts.other_base -= other_base_of(a);
}

void catalog_remove_tenant(struct catalog *m, struct tenant *t)
{
    write_lock(m);
    ordered_remove(&m->tenants, t);
    hashtable_remove(&m->tenants_by_number, &t->by_number);
    m->counts.tenants--;
    for (size_t i = 0; i < t->keys.count; i++) {
        struct key *k = t->keys.items[i];
        if (!k->revoked)
            hashtable_remove(&m->keys_by_hash, &k->by_hash);
        m->counts.keys--;
    }
    for (size_t i = 0; i < t->adapters.count; i++)
        uncount_adapter(m, t->adapters.items[i]);
    catalog_unlock(m);
}

void catalog_set_admins(struct catalog *m, const struct admin_keys *admins)
{
    write_lock(m);
    m->admins = *admins;
    catalog_unlock(m);
}

void catalog_add_key(struct catalog *m, struct key *k)
{
    write_lock(m);
    ordered_add(&k->tenant->keys, k);
    if (!k->revoked)
        hashtable_add(&m->keys_by_hash, &k->by_hash, hash_start(k->hash));
    m->counts.keys++;
    catalog_unlock(m);
}

void catalog_expire_key(struct catalog *m, struct key *k, int64_t expires_ms)
{
    write_lock(m);
    k->expires_ms = expires_ms;
    catalog_unlock(m);
}

void catalog_revoke_key(struct catalog *m, struct key *k)
{
    write_lock(m);
    if (!k->revoked)
        hashtable_remove(&m->keys_by_hash, &k->by_hash);
    k->revoked = true;
    catalog_unlock(m);
}

void catalog_remove_key(struct catalog *m, struct key *k)
{
    write_lock(m);
    ordered_remove(&k->tenant->keys, k);
    if (!k->revoked)
        hashtable_remove(&m->keys_by_hash, &k->by_hash);
    m->counts.keys--;
    catalog_unlock(m);
}

void catalog_add_adapter(struct catalog *m, struct tenant *t, struct adapter *a)
{
    write_lock(m);
    ordered_add(&t->adapters, a);
    a->tenant = t;
    t->bytes += bytes_of_all(a);
    m->counts.adapters++;
    m->counts.versions += a->count;
    m->counts.broken += broken_of(a);
    m->counts.other_base += other_base_of(a);
    set_pinned(m, a, a->metadata.pinned);
    catalog_unlock(m);
}

void catalog_remove_adapter(struct catalog *m, struct tenant *t, struct adapter *a)
{
    write_lock(m);
    ordered_remove(&t->adapters, a);
    t->bytes -= bytes_of_all(a);
    uncount_adapter(m, a);
    catalog_unlock(m);
}

void catalog_change_metadata(struct catalog *m, struct adapter *a, const struct metadata *metadata)
{
    const struct labels *before = a->metadata.labels;
    write_lock(m);
    a->metadata = *metadata;
    set_pinned(m, a, metadata->pinned);
    catalog_unlock(m);
    labels_unref(before);
}

void catalog_remove_version(struct catalog *m, struct adapter *a, const struct version *v)
{
    size_t kept = 0;
    write_lock(m);
    for (size_t i = 0; i < a->count; i++)
        if (a->versions[i] != v)
            a->versions[kept++] = a->versions[i];
    a->count = kept;
    if (a->canary == v)
        a->canary = NULL;
    a->tenant->bytes -= bytes_of(v);
    m->counts.versions--;
    m->counts.broken -= v->broken;
    m->counts.other_base -= v->other_base;
    catalog_unlock(m);
    version_unref(v);
}

static void change_version(struct catalog *m, struct adapter *a, const struct catalog_change *c)
{
    size_t place = a->count;
    for (size_t i = 0; c->before && i < a->count; i++) {
        if (a->versions[i] == c->before)
            place = i;
    }
    if (place == a->count) {
        a->count++;
        m->counts.versions++;
    } else {
        m->counts.broken -= c->before->broken;
        m->counts.other_base -= c->before->other_base;
        a->tenant->bytes -= bytes_of(c->before);
    }
    a->tenant->bytes += bytes_of(c->after);
    a->versions[place] = c->after;
    if (c->before && a->canary == c->before)
        a->canary = NULL;
    if (c->after->canary)
        a->canary = c->after;
    m->counts.broken += c->after->broken;
    m->counts.other_base += c->after->other_base;
}

void catalog_change_versions(struct catalog *m, struct adapter *a, const struct catalog_change *changes,
                             size_t count)
{
    write_lock(m);
    for (size_t i = 0; i < count; i++)
        change_version(m, a, &changes[i]);
    catalog_unlock(m);
    for (size_t i = 0; i < count; i++)
        version_unref(changes[i].before);
}
