/* Adapters and bytes that a tenant may have: decided by the writer while it publishes, and looked at before,
 * so that nobody sends or proves in vain. */
#include "adapters/registry/registry_private.h"

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
        result = registry_tenant_gone(e);
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
