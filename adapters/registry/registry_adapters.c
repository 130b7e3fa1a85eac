#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"
#include "adapters/blobs/version.h"

/* ---- resolving ---- */

/* Splits "name@prefix"; *prefix is NULL without "@". */
static int split_reference(const char *reference, char name[NAME_MAX_BYTES + 1], const char **prefix,
                           struct err *e)
{
    const char *at = strchr(reference, '@');
    size_t length = at ? (size_t)(at - reference) : strlen(reference);
    if (length > NAME_MAX_BYTES)
        return find_adapter_missing("", e);
    memcpy(name, reference, length);
    name[length] = '\0';
    if (!name_valid(name))
        return find_adapter_missing(name, e);
    *prefix = at ? at + 1 : NULL;
    return 0;
}

static const struct version *find_active(const struct adapter *a, struct err *e)
{
    const struct version *v = adapter_active(a);
    if (!v) {
        err_set(e, "version_not_found", "adapter \"%s\" has no active version", a->name);
        if (a->count)
            err_hint(e, "activate one, or name one: %s@%.8s", a->name, a->versions[a->count - 1]->digest);
        else
            err_hint(e, "upload one");
    }
    return v;
}

/* Who asks: nobody (the canary has no share), or a request with its key. */
struct asker {
    bool request;
    const char *affinity; /* NULL: without one */
    size_t affinity_length;
};

/* Where between 0 and CANARY_SHARE_MAX - 1 a key stands with this canary. */
static int place_of(const struct version *canary, const struct asker *k)
{
    struct sha256 s;
    uint8_t hash[SHA256_BYTES];
    uint64_t number;
    if (!k->affinity) {
        random_bytes(&number, sizeof number);
        return (int)(number % CANARY_SHARE_MAX);
    }
    sha256_init(&s);
    sha256_update(&s, canary->digest, SHA256_HEX);
    sha256_update(&s, canary->name, strlen(canary->name) + 1);
    sha256_update(&s, k->affinity, k->affinity_length);
    sha256_final(&s, hash);
    memcpy(&number, hash, sizeof number);
    return (int)(number % CANARY_SHARE_MAX);
}

static const struct version *find_named(const struct adapter *a, const struct asker *k, struct err *e)
{
    const struct version *active = find_active(a, e), *canary = a->canary;
    bool usable = canary && !canary->broken && !canary->other_base;
    bool taken = active && usable && k->request && place_of(canary, k) < canary->canary;
    return taken ? canary : active;
}

static const struct version *find_served(const struct registry *r, uint32_t tenant, const char *name,
                                         const char *prefix, const struct asker *k, struct err *e)
{
    const struct adapter *a = find_adapter(r, tenant, name, e);
    if (!a)
        return NULL;
    if (k->request && registry_expired(a->metadata.expires_ms)) {
        err_set(e, "adapter_expired", "adapter \"%s\" has expired", a->name);
        err_hint(e, "give it another time with PATCH {\"expires_at\": ...}");
        return NULL;
    }
    const struct version *v = prefix ? find_version(a, prefix, e) : find_named(a, k, e);
    return v && find_usable(v, e) == 0 ? v : NULL;
}

static int resolve(struct registry *r, uint32_t tenant, const char *reference, const struct asker *k,
                   const struct version **out, struct err *e)
{
    char name[NAME_MAX_BYTES + 1];
    const char *prefix = NULL;
    if (split_reference(reference, name, &prefix, e) != 0)
        return -1;
    catalog_read_lock(&r->catalog);
    const struct version *v = find_served(r, tenant, name, prefix, k, e);
    if (v)
        version_ref(v);
    catalog_unlock(&r->catalog);
    if (!v)
        return err_param(e, "adapter");
    *out = v;
    return 0;
}

int registry_resolve(struct registry *r, uint32_t tenant, const char *reference, const struct version **out,
                     struct err *e)
{
    return resolve(r, tenant, reference, &(struct asker){0}, out, e);
}

int registry_resolve_request(struct registry *r, uint32_t tenant, const char *reference, const char *affinity,
                             size_t affinity_length, const struct version **out, struct err *e)
{
    return resolve(r, tenant, reference, &(struct asker){true, affinity, affinity_length}, out, e);
}

/* ---- lists ---- */

static void fill_adapter(const struct adapter *a, struct adapter_row *out)
{
    *out = (struct adapter_row){.versions = (int)a->count,
                                .created_ms = a->created_ms,
                                .active = adapter_active(a),
                                .metadata = a->metadata};
    strcpy(out->name, a->name);
    labels_ref(a->metadata.labels);
    if (out->active)
        version_ref(out->active);
}

size_t registry_adapter_list(struct registry *r, uint32_t tenant, const char *after, const char *label,
                             size_t limit, struct adapter_row *out, bool *more)
{
    static const struct ordered none = {0};
    size_t count = 0;
    *more = false;
    catalog_read_lock(&r->catalog);
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, tenant);
    const struct ordered *adapters = t ? &t->adapters : &none;
    for (size_t i = ordered_after(adapters, after); i < adapters->count && !*more; i++) {
        const struct adapter *a = adapters->items[i];
        if (label && !labels_match(a->metadata.labels, label))
            continue;
        *more = count == limit;
        if (!*more)
            fill_adapter(a, &out[count++]);
    }
    catalog_unlock(&r->catalog);
    return count;
}

void adapter_rows_fini(struct adapter_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        version_unref(rows[i].active);
        labels_unref(rows[i].metadata.labels);
    }
}

int registry_adapter_versions(struct registry *r, uint32_t tenant, const char *name, size_t limit,
                              const struct version **out, size_t *count, struct err *e)
{
    catalog_read_lock(&r->catalog);
    const struct adapter *a = find_adapter(r, tenant, name, e);
    size_t n = 0;
    for (; a && n < limit && n < a->count; n++) {
        out[n] = a->versions[a->count - 1 - n];
        version_ref(out[n]);
    }
    catalog_unlock(&r->catalog);
    if (a)
        *count = n;
    return a ? 0 : -1;
}

static bool is_broken(const struct version *v)
{
    return v->broken;
}

static bool is_of_other_base(const struct version *v)
{
    return v->other_base;
}

static size_t take(const struct adapter *a, bool (*wanted)(const struct version *v), size_t limit,
                   const struct version **out)
{
    size_t n = 0;
    for (size_t i = 0; i < a->count && n < limit; i++) {
        if (wanted(a->versions[i])) {
            version_ref(a->versions[i]);
            out[n++] = a->versions[i];
        }
    }
    return n;
}

static size_t take_all(struct registry *r, bool (*wanted)(const struct version *v), size_t limit,
                       const struct version **out)
{
    size_t n = 0;
    catalog_read_lock(&r->catalog);
    for (size_t i = 0; i < r->catalog.tenants.count; i++) {
        const struct tenant *t = r->catalog.tenants.items[i];
        for (size_t j = 0; j < t->adapters.count; j++)
            n += take(t->adapters.items[j], wanted, limit - n, out + n);
    }
    catalog_unlock(&r->catalog);
    return n;
}

size_t registry_broken(struct registry *r, size_t limit, const struct version **out)
{
    return take_all(r, is_broken, limit, out);
}

size_t registry_other_base(struct registry *r, size_t limit, const struct version **out)
{
    return take_all(r, is_of_other_base, limit, out);
}

/* ---- changes of what is there ---- */

static int delete_row(struct registry *r, const struct adapter *a, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_adapter_delete(r->store, a->number, e) == 0 &&
                audit_add(r->store, "adapter.delete", a->tenant->id, a->name, "", e) == 0;
    return store_end(r->store, done, e);
}

static void forget_adapter(struct registry *r, struct adapter *a)
{
    for (size_t i = 0; i < a->count; i++)
        gc_retire(r, a->versions[i]);
    catalog_remove_adapter(&r->catalog, a->tenant, a);
    adapter_free(a);
    gc_collect(r);
}

int registry_adapter_delete(struct registry *r, uint32_t tenant, const char *name,
                            struct version_expected *expected, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    struct adapter *a = find_adapter(r, tenant, name, e);
    int result = a && find_expected(a, expected, e) == 0 ? delete_row(r, a, e) : -1;
    if (result == 0)
        forget_adapter(r, a);
    writer_end(r);
    return result;
}

/* ---- blobs ---- */

int registry_open_blobs(struct registry *r, const struct version *v, int *config_fd, int *weights_fd,
                        struct err *e)
{
    int config = blobs_open_blob(&r->blobs, v->config_blob, v->config_bytes, e);
    if (config < 0)
        return -1;
    int weights = blobs_open_blob(&r->blobs, v->weights_blob, v->weights_bytes, e);
    if (weights < 0) {
        close(config);
        return -1;
    }
    *config_fd = config;
    *weights_fd = weights;
    return 0;
}

/* By their names: a pipe in the place of one would be waited for. */
int registry_check_files(struct registry *r, const struct version *v, struct err *e)
{
    if (blobs_present(&r->blobs, v->config_blob, v->config_bytes) &&
        blobs_present(&r->blobs, v->weights_blob, v->weights_bytes))
        return 0;
    registry_mark_broken(r, v);
    return err_set(e, "adapter_broken", "a file of version %.12s of adapter \"%s\" is missing or damaged",
                   v->digest, v->name);
}

static bool mark_broken(struct registry *r, const struct version *v)
{
    struct tenant *t = catalog_tenant_numbered(&r->catalog, v->tenant);
    struct adapter *a = t ? catalog_adapter(t, v->name) : NULL;
    const struct version *present = a ? adapter_version(a, v->digest) : NULL;
    if (!present || present->created_ms != v->created_ms ||
        strcmp(present->config_blob, v->config_blob) != 0 ||
        strcmp(present->weights_blob, v->weights_blob) != 0)
        return false;
    if (present->broken)
        return true;
    struct version values = *present;
    values.broken = true;
    struct catalog_change change = {.before = present, .after = version_new(&values)};
    if (change.after) /* without memory: the next load finds it broken again */
        catalog_change_versions(&r->catalog, a, &change, 1);
    return true;
}

bool registry_mark_broken(struct registry *r, const struct version *v)
{
    pthread_mutex_lock(&r->writer);
    bool present = mark_broken(r, v);
    pthread_mutex_unlock(&r->writer);
    return present;
}
