/* Tenants, and the adapters and bytes that each may have: decided by the writer while it publishes, and
 * looked at before, so that nobody sends or proves in vain. */
#include <stdio.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"
#include "core/system/clock.h"

static void fill_tenant(const struct tenant *t, struct tenant_row *out)
{
    *out = (struct tenant_row){.number = t->number,
                               .created_ms = t->created_ms,
                               .adapters = (int)t->adapters.count,
                               .adapter_bytes = t->bytes,
                               .quota = t->quota};
    strcpy(out->id, t->id);
    strcpy(out->default_adapter, t->default_adapter);
}

/* What a change sets, for the audit log. */
static void describe(const struct tenant_change *c, char *out, size_t size)
{
    quota_describe(&c->quota, out, size);
    size_t used = strlen(out);
    if (c->set_default_adapter)
        snprintf(out + used, size - used, "%sdefault_adapter=%s", used ? ", " : "",
                 c->default_adapter[0] ? c->default_adapter : "none");
}

static int insert_tenant(struct registry *r, struct tenant *t, const struct tenant_change *change,
                         struct err *e)
{
    char detail[256];
    struct store_tenant row = {
        .id = t->id, .created_ms = t->created_ms, .quota = t->quota, .default_adapter = t->default_adapter};
    describe(change, detail, sizeof detail);
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_tenant_insert(r->store, &row, &t->number, e) == 0 &&
                audit_add(r->store, "tenant.create", t->id, "", detail, e) == 0;
    return store_end(r->store, done, e);
}

static int create_tenant(struct registry *r, const char *id, const struct tenant_change *change,
                         struct tenant_row *out, struct err *e)
{
    if (catalog_tenant(&r->catalog, id)) {
        err_set(e, "tenant_exists", "tenant \"%s\" exists already", id);
        return err_param(e, "id");
    }
    if (r->catalog.tenants.count >= TENANTS_MAX)
        return err_set(e, "limit_reached", "there are %d tenants, the most that one daemon holds",
                       TENANTS_MAX);
    if (catalog_reserve(&r->catalog, &r->catalog.tenants, e) != 0)
        return -1;
    struct tenant *t = tenant_new(id, clock_unix_ms());
    if (!t)
        return err_memory(e);
    quota_merge(&t->quota, &change->quota);
    if (change->set_default_adapter)
        strcpy(t->default_adapter, change->default_adapter);
    if (insert_tenant(r, t, change, e) != 0) {
        tenant_free(t);
        return -1;
    }
    catalog_add_tenant(&r->catalog, t);
    fill_tenant(t, out);
    return 0;
}

int registry_tenant_create(struct registry *r, const char *id, const struct tenant_change *change,
                           struct tenant_row *out, struct err *e)
{
    struct tenant_change none = {0};
    quota_fill(&none.quota, QUOTA_UNCHANGED);
    if (!name_valid(id))
        return name_refuse("the id of a tenant", "id", e);
    if (writer_begin(r, e) != 0)
        return -1;
    int result = create_tenant(r, id, change ? change : &none, out, e);
    writer_end(r);
    return result;
}

static int change_row(struct registry *r, const struct store_tenant *row, const struct tenant_change *change,
                      struct err *e)
{
    char detail[256];
    describe(change, detail, sizeof detail);
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_tenant_change(r->store, row, e) == 0 &&
                audit_add(r->store, "tenant.change", row->id, "", detail, e) == 0;
    return store_end(r->store, done, e);
}

static int change_tenant(struct registry *r, const char *id, const struct tenant_change *change,
                         struct tenant_row *out, struct err *e)
{
    struct tenant *t = find_tenant(r, id, e);
    if (!t)
        return -1;
    char adapter[NAME_MAX_BYTES + 1];
    strcpy(adapter, change->set_default_adapter ? change->default_adapter : t->default_adapter);
    struct store_tenant row = {
        .number = t->number, .id = t->id, .quota = t->quota, .default_adapter = adapter};
    quota_merge(&row.quota, &change->quota);
    bool same =
        memcmp(&row.quota, &t->quota, sizeof row.quota) == 0 && strcmp(adapter, t->default_adapter) == 0;
    if (!same && change_row(r, &row, change, e) != 0)
        return -1;
    catalog_change_tenant(&r->catalog, t, &row.quota, adapter);
    fill_tenant(t, out);
    return 0;
}

int registry_tenant_change(struct registry *r, const char *id, const struct tenant_change *change,
                           struct tenant_row *out, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = change_tenant(r, id, change, out, e);
    writer_end(r);
    return result;
}

int registry_tenant_find(struct registry *r, const char *id, struct tenant_row *out, struct err *e)
{
    catalog_read_lock(&r->catalog);
    struct tenant *t = find_tenant(r, id, e);
    if (t)
        fill_tenant(t, out);
    catalog_unlock(&r->catalog);
    return t ? 0 : -1;
}

size_t registry_tenant_list(struct registry *r, const char *after, size_t limit, struct tenant_row *out,
                            bool *more)
{
    catalog_read_lock(&r->catalog);
    const struct ordered *tenants = &r->catalog.tenants;
    size_t first = ordered_after(tenants, after), count = 0;
    for (; count < limit && first + count < tenants->count; count++)
        fill_tenant(tenants->items[first + count], &out[count]);
    *more = first + count < tenants->count;
    catalog_unlock(&r->catalog);
    return count;
}

static int delete_tenant_rows(struct registry *r, const struct tenant *t, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_tenant_delete(r->store, t->number, e) == 0 &&
                audit_add(r->store, "tenant.delete", t->id, "", "", e) == 0;
    return store_end(r->store, done, e);
}

static void retire_tenant(struct registry *r, const struct tenant *t)
{
    for (size_t i = 0; i < t->adapters.count; i++) {
        const struct adapter *a = t->adapters.items[i];
        for (size_t k = 0; k < a->count; k++)
            gc_retire(r, a->versions[k]);
    }
}

int registry_tenant_delete(struct registry *r, const char *id, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    struct tenant *t = find_tenant(r, id, e);
    int result = t ? delete_tenant_rows(r, t, e) : -1;
    if (result == 0) {
        gc_collect_files(r);
        retire_tenant(r, t);
        catalog_remove_tenant(&r->catalog, t);
        tenant_free(t);
    }
    writer_end(r);
    if (result == 0)
        gc_collect_all(r);
    return result;
}

/* ---- quotas ---- */

static int too_many(const struct tenant *t, struct err *e)
{
    err_set(e, "quota_exceeded", "tenant \"%s\" has %zu adapters, its quota adapters_max is %lld", t->id,
            t->adapters.count, (long long)t->quota.of[QUOTA_ADAPTERS_MAX]);
    err_hint(e, "delete an adapter, publish a version of one that is there, or ask for a larger quota");
    return err_param(e, "adapters_max");
}

static int too_large(const struct tenant *t, uint64_t bytes, struct err *e)
{
    err_set(e, "quota_exceeded",
            "with these %llu bytes tenant \"%s\" would have %llu, its quota adapter_bytes_max is %lld",
            (unsigned long long)bytes, t->id, (unsigned long long)(t->bytes + bytes),
            (long long)t->quota.of[QUOTA_ADAPTER_BYTES_MAX]);
    err_hint(e, "delete adapters or versions, or ask for a larger quota");
    return err_param(e, "adapter_bytes_max");
}

int registry_check_quota(const struct tenant *t, bool fresh, uint64_t bytes, struct err *e)
{
    int64_t adapters_max = t->quota.of[QUOTA_ADAPTERS_MAX], bytes_max = t->quota.of[QUOTA_ADAPTER_BYTES_MAX];
    if (fresh && adapters_max != QUOTA_UNSET && t->adapters.count >= (uint64_t)adapters_max)
        return too_many(t, e);
    if (bytes_max != QUOTA_UNSET && t->bytes + bytes > (uint64_t)bytes_max)
        return too_large(t, bytes, e);
    return 0;
}

int registry_quota_check(struct registry *r, uint32_t tenant, const char *name, const char *digest,
                         uint64_t bytes, struct err *e)
{
    int result = 0;
    catalog_read_lock(&r->catalog);
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, tenant);
    const struct adapter *a = t ? catalog_adapter(t, name) : NULL;
    if (!t)
        result = find_tenant_gone(e);
    else if (!(a && adapter_version(a, digest))) /* a repair adds nothing */
        result = registry_check_quota(t, !a, bytes, e);
    catalog_unlock(&r->catalog);
    return result;
}

static bool has_size(const struct tenant *t, uint64_t least, uint64_t most)
{
    for (size_t i = 0; i < t->adapters.count; i++) {
        const struct adapter *a = t->adapters.items[i];
        for (size_t j = 0; j < a->count; j++) {
            uint64_t bytes = a->versions[j]->config_bytes + a->versions[j]->weights_bytes;
            if (bytes >= least && bytes <= most)
                return true;
        }
    }
    return false;
}

int registry_quota_foresee(struct registry *r, uint32_t tenant, uint64_t least, uint64_t most, struct err *e)
{
    int result = 0;
    catalog_read_lock(&r->catalog);
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, tenant);
    bool fresh = t && t->adapters.count == 0; /* otherwise it may be a version of one that is there */
    if (t && registry_check_quota(t, fresh, least, e) != 0 && (fresh || !has_size(t, least, most)))
        result = -1;
    catalog_unlock(&r->catalog);
    return result;
}
