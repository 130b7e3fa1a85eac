/* On which base versions were proved: those of another one than is served are refused, until they are proved
 * anew. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry.h"
#include "adapters/registry/registry_private.h"

/* Another object in the place of `v`, which is in the catalog. */
static int show(struct registry *r, struct adapter *a, const struct version *v, const struct version *values,
                struct err *e)
{
    struct catalog_change change = {.before = v, .after = version_new(values)};
    if (!change.after)
        return err_memory(e);
    catalog_change_versions(&r->catalog, a, &change, 1);
    return 0;
}

static int mark_other(void *arg, uint32_t tenant, const char *name, const char *digest, struct err *e)
{
    struct registry *r = arg;
    struct adapter *a = find_adapter(r, tenant, name, e);
    const struct version *v = a ? adapter_version(a, digest) : NULL;
    if (!v)
        return err_set(e, "internal_error", "a version of adapter \"%s\" has a row and is not in memory",
                       name);
    struct version values = *v;
    values.other_base = true;
    return show(r, a, v, &values, e);
}

/* Versions of before their bases were noted were served on whatever base there was; it is this one from now
 * on. */
static int adopt(struct registry *r, size_t *adopted, struct err *e)
{
    if (store_base_unknown(r->store, adopted, e) != 0)
        return -1;
    if (*adopted == 0)
        return 0;
    if (store_begin(r->store, e) != 0)
        return -1;
    return store_end(r->store, store_base_adopt(r->store, r->base, e) == 0, e);
}

int registry_set_base(struct registry *r, const uint8_t fingerprint[SHA256_BYTES], size_t *adopted,
                      size_t *others, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    hex_encode(fingerprint, SHA256_BYTES, r->base);
    int result = adopt(r, adopted, e) == 0 ? store_base_others(r->store, r->base, mark_other, r, e) : -1;
    *others = r->catalog.counts.other_base;
    writer_end(r);
    return result;
}

/* ---- proved anew ---- */

static int write_proof(struct registry *r, const struct adapter *a, const struct version *v,
                       const struct version_proof *sample, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_version_proved(r->store, a->number, v, r->base, e) == 0 &&
                (!sample || store_proof_set(r->store, a->number, v->digest, sample, e) == 0) &&
                registry_audit_version(r, "adapter.accept_base", v, "", e) == 0;
    return store_end(r->store, done, e);
}

static int accept(struct registry *r, const struct version *v, double proof_max, double proof_mean,
                  const struct version_proof *sample, struct err *e)
{
    struct adapter *a = find_adapter(r, v->tenant, v->name, e);
    const struct version *present = a ? adapter_version(a, v->digest) : NULL;
    if (!present)
        return a ? err_set(e, "version_not_found", "the version was deleted meanwhile") : -1;
    struct version values = *present;
    values.other_base = false;
    values.proof_max = proof_max;
    values.proof_mean = proof_mean;
    return write_proof(r, a, &values, sample, e) == 0 ? show(r, a, present, &values, e) : -1;
}

int registry_accept_base(struct registry *r, const struct version *v, double proof_max, double proof_mean,
                         const struct version_proof *sample, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = accept(r, v, proof_max, proof_mean, sample, e);
    writer_end(r);
    return result;
}
