#include <math.h>
#include <stdio.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"
#include "adapters/registry/staged.h"
#include "adapters/blobs/version.h"
#include "adapters/types/settings_files.h"
#include "core/system/clock.h"

/* ---- a new version ---- */

struct publication {
    struct tenant *tenant;
    struct adapter *adapter;
    bool fresh;                     /* the adapter is not in the catalog yet */
    const struct version *replaced; /* the same content, which cannot be served; NULL: a new version */
    bool activated;                 /* the name means it from now on and did not before */
    const struct version
        *demoted; /* the active version until now, with its copy that is not active; or NULL */
    struct version *demoted_after;
    struct version *version;
};

static void publication_fini(struct publication *p)
{
    if (p->fresh)
        adapter_free(p->adapter);
    version_unref(p->version);
    version_unref(p->demoted_after);
}

static struct version *make_version(const struct publication *n, const struct staged *s,
                                    const struct publish *p)
{
    struct version values = {.tenant = n->tenant->number,
                             .config_bytes = staged_bytes(s, STAGED_CONFIG),
                             .weights_bytes = staged_bytes(s, STAGED_WEIGHTS),
                             .rank_max = p->rank_max,
                             .sites = p->sites,
                             .task = p->task,
                             .vocab = p->vocab,
                             .parameters = p->parameters,
                             .created_ms = clock_unix_ms(),
                             .proof_max = p->proof_max,
                             .proof_mean = p->proof_mean,
                             .active = p->activate};
    if (n->replaced) {
        values.created_ms = n->replaced->created_ms;
        values.active = values.active || n->replaced->active;
        values.canary = values.active ? 0 : n->replaced->canary;
    }
    strcpy(values.tenant_id, n->tenant->id);
    strcpy(values.name, p->name);
    hex_encode(p->digest, SHA256_BYTES, values.digest);
    if (p->settings)
        settings_files_digest(p->settings, values.settings);
    values.config_blob = staged_digest(s, STAGED_CONFIG);
    values.weights_blob = staged_digest(s, STAGED_WEIGHTS);
    return version_new(&values);
}

static int check_room(const struct publication *n, const char *name, uint64_t bytes, struct err *e)
{
    if (!n->adapter && n->tenant->adapters.count >= TENANT_ADAPTERS_MAX)
        return err_set(e, "limit_reached", "tenant \"%s\" has %d adapters, the most that a tenant may have",
                       n->tenant->id, TENANT_ADAPTERS_MAX);
    if (n->adapter && !n->replaced && n->adapter->count >= ADAPTER_VERSIONS_MAX) {
        err_set(e, "limit_reached", "adapter \"%s\" has %d versions, the most that an adapter may have", name,
                ADAPTER_VERSIONS_MAX);
        return err_hint(e, "delete the adapter, or publish under another name");
    }
    return n->replaced ? 0 : registry_check_quota(n->tenant, !n->adapter, bytes, e);
}

/* Everything that can run out of memory happens here, before the disk is touched. */
static int publication_prepare(struct publication *n, struct registry *r, const struct staged *s,
                               const struct publish *p, struct err *e)
{
    if (check_room(n, p->name, staged_bytes(s, STAGED_CONFIG) + staged_bytes(s, STAGED_WEIGHTS), e) != 0)
        return -1;
    if (!n->adapter) {
        n->adapter = adapter_new(p->name, clock_unix_ms());
        n->fresh = true;
        if (!n->adapter || catalog_reserve(&r->catalog, &n->tenant->adapters, e) != 0)
            return err_memory(e);
    }
    n->demoted = p->activate ? adapter_active(n->adapter) : NULL;
    n->activated = p->activate && !(n->replaced && n->replaced->active);
    if (n->demoted == n->replaced)
        n->demoted = NULL;
    n->demoted_after = n->demoted ? version_with_active(n->demoted, false) : NULL;
    n->version = make_version(n, s, p);
    if (!n->version || (n->demoted && !n->demoted_after))
        return err_memory(e);
    return n->replaced ? 0 : catalog_reserve_version(&r->catalog, n->adapter, e);
}

static int write_version(struct publication *n, struct registry *r, struct err *e)
{
    struct store *store = r->store;
    int64_t adapter = n->adapter->number;
    if ((n->replaced ? store_version_replace_blobs(store, adapter, n->version, e)
                     : store_version_insert(store, adapter, n->version, e)) != 0 ||
        store_version_proved(store, adapter, n->version, r->base, e) != 0)
        return -1;
    if (!n->replaced)
        return 0;
    return n->version->active ? store_version_activate(store, adapter, n->version->digest, e) : 0;
}

static int write_rows(struct publication *n, struct registry *r, const struct publish *p, struct err *e)
{
    struct store *store = r->store;
    struct adapter *a = n->adapter;
    if (n->fresh &&
        store_adapter_insert(store, n->tenant->number, a->name, a->created_ms, &a->number, e) != 0)
        return -1;
    if (n->demoted && store_version_deactivate_all(store, a->number, e) != 0)
        return -1;
    if (n->activated && registry_note_activation(r, a, n->version->digest, e) != 0)
        return -1;
    if (p->settings && store_settings_put(store, n->version->settings, p->settings, e) != 0)
        return -1;
    if (write_version(n, r, e) != 0)
        return -1;
    return p->proof ? store_proof_set(store, a->number, n->version->digest, p->proof, e) : 0;
}

static int publication_commit(struct publication *n, struct registry *r, const struct publish *p,
                              struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    const char *more = n->replaced          ? (n->replaced->broken ? ", repaired" : ", proved anew")
                       : n->version->active ? ""
                                            : ", not active";
    bool done =
        write_rows(n, r, p, e) == 0 && registry_audit_version(r, "adapter.upload", n->version, more, e) == 0;
    return store_end(r->store, done, e);
}

/* The rows are on disk: let readers see them. The catalog takes over what the publication held. */
static void publication_show(struct publication *n, struct registry *r)
{
    struct catalog_change changes[2] = {{.before = n->replaced, .after = n->version},
                                        {.before = n->demoted, .after = n->demoted_after}};
    if (n->fresh) {
        n->adapter->versions[n->adapter->count++] = n->version;
        catalog_add_adapter(&r->catalog, n->tenant, n->adapter);
    } else {
        catalog_change_versions(&r->catalog, n->adapter, changes, n->demoted ? 2 : 1);
    }
    *n = (struct publication){0};
}

static int publish_new(struct publication *n, struct registry *r, struct staged *s, const struct publish *p,
                       const struct version **out, struct err *e)
{
    if (publication_prepare(n, r, s, p, e) != 0)
        return -1;
    if (staged_put(s, e) != 0 || publication_commit(n, r, p, e) != 0) {
        gc_retire(r, n->version);
        return -1;
    }
    if (n->replaced) /* where the repair came in other files, the old ones go */
        gc_retire(r, n->replaced);
    version_ref(n->version);
    *out = n->version;
    publication_show(n, r);
    return 0;
}

/* What is there already is proved anew only where somebody wants another sample. */
static int renew_proof(struct registry *r, const struct adapter *a, const struct version *v,
                       const struct publish *p, struct err *e)
{
    if (!p->proof || p->proof->prompt.length == 0)
        return 0;
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_proof_set(r->store, a->number, v->digest, p->proof, e) == 0 &&
                registry_audit_version(r, "adapter.sample", v, "", e) == 0;
    return store_end(r->store, done, e);
}

static int publish(struct registry *r, struct staged *s, const struct publish *p, const struct version **out,
                   bool *created, struct err *e)
{
    char digest[SHA256_HEX + 1];
    struct publication n = {.tenant = catalog_tenant_numbered(&r->catalog, p->tenant)};
    if (!n.tenant)
        return find_tenant_gone(e);
    n.adapter = catalog_adapter(n.tenant, p->name);
    hex_encode(p->digest, SHA256_BYTES, digest);
    const struct version *present = n.adapter ? adapter_version(n.adapter, digest) : NULL;
    int result = 0;
    if (!present || present->broken || present->other_base) {
        n.replaced = present;
        result = publish_new(&n, r, s, p, out, e);
        publication_fini(&n);
        gc_collect(r);
    } else if (renew_proof(r, n.adapter, present, p, e) != 0) {
        result = -1;
    } else if (p->activate) {
        result = registry_make_active(r, n.adapter, present, out, e);
    } else {
        version_ref(present);
        *out = present;
    }
    if (result == 0)
        *created = !present;
    return result;
}

int registry_publish(struct registry *r, struct staged *s, const struct publish *p,
                     const struct version **out, bool *created, struct err *e)
{
    if (!name_valid(p->name))
        return name_refuse("the name of an adapter", "name", e);
    if (!isfinite(p->proof_max) || !isfinite(p->proof_mean))
        return err_set(e, "adapter_not_finite", "the proof of adapter \"%s\" is not finite", p->name);
    if (staged_sync(s, e) != 0 || writer_begin(r, e) != 0)
        return -1;
    int result = publish(r, s, p, out, created, e);
    writer_end(r);
    return result;
}
