/* Which version a name means: activating, rolling back, its history. */
#include <stdio.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"
#include "adapters/blobs/version.h"
#include "core/system/clock.h"

int registry_audit_version(struct registry *r, const char *action, const struct version *v, const char *more,
                           struct err *e)
{
    char detail[SHA256_HEX + 64];
    snprintf(detail, sizeof detail, "sha256:%s%s", v->digest, more);
    return audit_add(r->store, action, v->tenant_id, v->name, detail, e);
}

int registry_note_activation(struct registry *r, const struct adapter *a, const char *digest, struct err *e)
{
    struct activation row = {.at_ms = clock_unix_ms()};
    strcpy(row.digest, digest);
    snprintf(row.by, sizeof row.by, "%s", audit_acting());
    return store_activation_insert(r->store, a->number, &row, e);
}

/* ---- swap ---- */

static int activate_row(struct registry *r, const struct adapter *a, const struct version *v, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_version_activate(r->store, a->number, v->digest, e) == 0 &&
                registry_note_activation(r, a, v->digest, e) == 0 &&
                registry_audit_version(r, "adapter.activate", v, "", e) == 0;
    return store_end(r->store, done, e);
}

int registry_make_active(struct registry *r, struct adapter *a, const struct version *v,
                         const struct version **out, struct err *e)
{
    const struct version *demoted = adapter_active(a);
    if (demoted == v) {
        version_ref(v);
        *out = v;
        return 0;
    }
    struct catalog_change changes[2] = {
        {.before = v, .after = version_with_active(v, true)},
        {.before = demoted, .after = demoted ? version_with_active(demoted, false) : NULL}};
    int result =
        changes[0].after && (!demoted || changes[1].after) ? activate_row(r, a, v, e) : err_memory(e);
    if (result != 0) {
        version_unref(changes[0].after);
        version_unref(changes[1].after);
        return -1;
    }
    version_ref(changes[0].after);
    *out = changes[0].after;
    catalog_change_versions(&r->catalog, a, changes, demoted ? 2 : 1);
    return 0;
}

static int activate_named(struct registry *r, uint32_t tenant, const char *name, const char *digest,
                          const struct version **out, struct err *e)
{
    struct adapter *a = find_adapter(r, tenant, name, e);
    if (!a)
        return -1;
    const struct version *v = adapter_version(a, digest);
    if (!v)
        return err_set(e, "version_not_found", "adapter \"%s\" has no version of this digest", a->name);
    return find_usable(v, e) == 0 ? registry_make_active(r, a, v, out, e) : -1;
}

int registry_activate(struct registry *r, uint32_t tenant, const char *name, const char *digest,
                      const struct version **out, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = activate_named(r, tenant, name, digest, out, e);
    writer_end(r);
    return result;
}

/* The version that was active last before the present one and is still there. Going back twice leads to where
 * one was: going back is an activation like any other. */
static const struct version *find_previous(struct registry *r, const struct adapter *a, struct err *e)
{
    struct activation history[ADAPTER_HISTORY_MAX];
    size_t count;
    const struct version *active = adapter_active(a);
    if (store_activation_list(r->store, a->number, history, &count, e) != 0)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        const struct version *v = history[i].digest[0] ? adapter_version(a, history[i].digest) : NULL;
        if (v && v != active)
            return v;
    }
    err_set(e, "no_previous_version",
            "no other version of adapter \"%s\" that is still there was active before", a->name);
    err_hint(e, "name the version to activate");
    return NULL;
}

/* ---- canary ---- */

static int canary_row(struct registry *r, const struct adapter *a, const struct version *canary, int share,
                      struct err *e)
{
    char more[32];
    snprintf(more, sizeof more, ", %d.%02d %%", share / 100, share % 100);
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_version_canary(r->store, a->number, canary->digest, share, e) == 0 &&
                registry_audit_version(r, "adapter.canary", canary, share ? more : ", off", e) == 0;
    return store_end(r->store, done, e);
}

/* `canary` with this share instead of the one that there is; share 0: that one ends. */
static int swap_canary(struct registry *r, struct adapter *a, const struct version *canary, int share,
                       struct err *e)
{
    const struct version *old = a->canary != canary ? a->canary : NULL;
    struct catalog_change changes[2] = {{.before = canary, .after = version_with_canary(canary, share)},
                                        {.before = old, .after = old ? version_with_canary(old, 0) : NULL}};
    bool made = changes[0].after && (!old || changes[1].after);
    if ((made ? canary_row(r, a, canary, share, e) : err_memory(e)) != 0) {
        version_unref(changes[0].after);
        version_unref(changes[1].after);
        return -1;
    }
    catalog_change_versions(&r->catalog, a, changes, old ? 2 : 1);
    return 0;
}

static int change_canary(struct registry *r, struct adapter *a, const struct adapter_change *c, struct err *e)
{
    if (!c->canary)
        return a->canary ? swap_canary(r, a, a->canary, 0, e) : 0;
    const struct version *v = find_version(a, c->canary, e);
    if (!v)
        return err_param(e, "canary");
    if (v->active) {
        err_set(e, "version_active", "version %.12s of adapter \"%s\" is the active one", v->digest, a->name);
        err_hint(e, "a canary is another version than the active one");
        return err_param(e, "canary");
    }
    if (!adapter_active(a)) {
        err_set(e, "version_not_found",
                "adapter \"%s\" has no active version that a canary could be tried against", a->name);
        return err_param(e, "canary");
    }
    if (find_usable(v, e) != 0)
        return -1;
    return v->canary == c->canary_share ? 0 : swap_canary(r, a, v, c->canary_share, e);
}

static int change_adapter(struct registry *r, struct adapter *a, const struct adapter_change *c,
                          struct err *e)
{
    if (c->set_canary)
        return change_canary(r, a, c, e);
    if (c->labels || c->note || c->set_expires || c->set_pinned)
        return registry_change_metadata(r, a, c, e);
    const struct version *v = c->rollback ? find_previous(r, a, e) : find_version(a, c->version, e);
    const struct version *active;
    if (!v)
        return c->rollback ? -1 : err_param(e, "version");
    if (find_usable(v, e) != 0 || registry_make_active(r, a, v, &active, e) != 0)
        return -1;
    version_unref(active);
    return 0;
}

/* ---- delete ---- */

static int delete_version_row(struct registry *r, const struct adapter *a, const struct version *v,
                              struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_version_delete(r->store, a->number, v->digest, e) == 0 &&
                (!v->active || registry_note_activation(r, a, "", e) == 0) &&
                registry_audit_version(r, "version.delete", v, v->active ? ", active" : "", e) == 0;
    return store_end(r->store, done, e);
}

static int delete_version(struct registry *r, struct adapter *a, const char *version, bool force,
                          struct err *e)
{
    const struct version *v = find_version(a, version, e);
    if (!v)
        return err_param(e, "version");
    if (v->active && !force) {
        err_set(e, "version_active", "version %.12s of adapter \"%s\" is the active one", v->digest, a->name);
        return err_hint(e, "activate another one first, or add ?force=true: then the name means none");
    }
    if (delete_version_row(r, a, v, e) != 0)
        return -1;
    gc_retire(r, v);
    catalog_remove_version(&r->catalog, a, v);
    gc_collect(r);
    return 0;
}

int registry_version_delete(struct registry *r, uint32_t tenant, const char *name, const char *version,
                            bool force, struct version_expected *expected, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    struct adapter *a = find_adapter(r, tenant, name, e);
    int result = a && find_expected(a, expected, e) == 0 ? delete_version(r, a, version, force, e) : -1;
    writer_end(r);
    return result;
}

/* ---- looking ---- */

int registry_version_find(struct registry *r, uint32_t tenant, const char *name, const char *version,
                          const struct version **out, struct err *e)
{
    catalog_read_lock(&r->catalog);
    const struct adapter *a = find_adapter(r, tenant, name, e);
    const struct version *v = a ? find_version(a, version, e) : NULL;
    if (v)
        version_ref(v);
    catalog_unlock(&r->catalog);
    if (!v)
        return a ? err_param(e, "version") : -1;
    *out = v;
    return 0;
}

static int fill_proofs(struct registry *r, const struct adapter *a, struct adapter_detail *out, struct err *e)
{
    for (size_t i = 0; i < a->count; i++)
        if (store_proof_get(r->store, a->number, a->versions[a->count - 1 - i]->digest, false,
                            &out->proofs[i], e) != 0)
            return -1;
    return 0;
}

static int fill_detail(struct registry *r, const struct adapter *a, struct adapter_detail *out, struct err *e)
{
    if (fill_proofs(r, a, out, e) != 0 || store_note_get(r->store, a->number, &out->note, e) != 0 ||
        store_activation_list(r->store, a->number, out->activations, &out->activation_count, e) != 0) {
        adapter_detail_fini(out);
        return -1;
    }
    out->created_ms = a->created_ms;
    out->metadata = a->metadata;
    labels_ref(a->metadata.labels);
    out->version_count = a->count;
    for (size_t i = 0; i < a->count; i++) {
        out->versions[i] = a->versions[a->count - 1 - i];
        version_ref(out->versions[i]);
    }
    return 0;
}

/* A registry that is closed for changes can still be read. */
int registry_adapter_detail(struct registry *r, uint32_t tenant, const char *name, struct adapter_detail *out,
                            struct err *e)
{
    pthread_mutex_lock(&r->writer);
    const struct adapter *a = find_adapter(r, tenant, name, e);
    int result = a ? fill_detail(r, a, out, e) : -1;
    writer_end(r);
    return result;
}

void adapter_detail_fini(struct adapter_detail *d)
{
    for (size_t i = 0; i < d->version_count; i++)
        version_unref(d->versions[i]);
    for (size_t i = 0; i < ADAPTER_VERSIONS_MAX; i++)
        proof_fini(&d->proofs[i]);
    labels_unref(d->metadata.labels);
    d->metadata.labels = NULL;
    buf_fini(&d->note);
    d->version_count = 0;
}

int registry_version_proof(struct registry *r, const struct version *v, bool all, struct version_proof *out,
                           struct err *e)
{
    pthread_mutex_lock(&r->writer);
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, v->tenant);
    const struct adapter *a = t ? catalog_adapter(t, v->name) : NULL;
    int result = a ? store_proof_get(r->store, a->number, v->digest, all, out, e) : 0;
    writer_end(r);
    return result;
}

int registry_version_settings(struct registry *r, const struct version *v, struct buf *out, struct err *e)
{
    if (!v->settings[0])
        return 0;
    pthread_mutex_lock(&r->writer);
    int result = store_settings_get(r->store, v->settings, out, e);
    writer_end(r);
    return result;
}

/* ---- changing ---- */

int registry_adapter_change(struct registry *r, uint32_t tenant, const char *name,
                            const struct adapter_change *c, struct version_expected *expected,
                            struct adapter_detail *after, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    struct adapter *a = find_adapter(r, tenant, name, e);
    int result = a && find_expected(a, expected, e) == 0 ? change_adapter(r, a, c, e) : -1;
    if (result == 0 && after)
        result = fill_detail(r, a, after, e);
    writer_end(r);
    return result;
}
