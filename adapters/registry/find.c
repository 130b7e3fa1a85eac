/* Who is meant: in the catalog, for the writer or under its lock, with the errors that say that nobody is. */
#include <string.h>

#include "adapters/registry/registry_private.h"

enum { PREFIX_MIN = 4 };

static int tenant_missing(const char *id, struct err *e)
{
    if (name_valid(id))
        err_set(e, "tenant_not_found", "there is no tenant \"%s\"", id);
    else
        err_set(e, "tenant_not_found", "there is no tenant of this name");
    return err_param(e, "tenant");
}

int find_tenant_gone(struct err *e)
{
    err_set(e, "tenant_not_found", "the tenant was deleted meanwhile");
    return err_param(e, "tenant");
}

struct tenant *find_tenant(const struct registry *r, const char *id, struct err *e)
{
    struct tenant *t = name_valid(id) ? catalog_tenant(&r->catalog, id) : NULL;
    if (!t)
        tenant_missing(id, e);
    return t;
}

int find_adapter_missing(const char *name, struct err *e)
{
    if (name_valid(name))
        err_set(e, "adapter_not_found", "there is no adapter \"%s\"", name);
    else
        err_set(e, "adapter_not_found", "there is no adapter of this name");
    return err_param(e, "adapter");
}

struct adapter *find_adapter(const struct registry *r, uint32_t tenant, const char *name, struct err *e)
{
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, tenant);
    struct adapter *a = t ? catalog_adapter(t, name) : NULL;
    if (!a)
        find_adapter_missing(name, e);
    return a;
}

static int check_prefix(const char *name, const char *prefix, struct err *e)
{
    size_t digits = strspn(prefix, "0123456789abcdef");
    if (prefix[digits] == '\0' && digits >= PREFIX_MIN && digits <= SHA256_HEX)
        return 0;
    return err_set(e, "version_not_found",
                   "a version of adapter \"%s\" is written as %d to %d hexadecimal digits of lower case",
                   name, PREFIX_MIN, SHA256_HEX);
}

const struct version *find_version(const struct adapter *a, const char *reference, struct err *e)
{
    const struct version *found = NULL;
    const char *prefix = strncmp(reference, "sha256:", 7) == 0 ? reference + 7 : reference;
    if (check_prefix(a->name, prefix, e) != 0)
        return NULL;
    size_t length = strlen(prefix);
    for (size_t i = 0; i < a->count; i++) {
        if (strncmp(a->versions[i]->digest, prefix, length) != 0)
            continue;
        if (found) {
            err_set(e, "version_ambiguous", "adapter \"%s\" has several versions that begin with %s", a->name,
                    prefix);
            return NULL;
        }
        found = a->versions[i];
    }
    if (!found)
        err_set(e, "version_not_found", "adapter \"%s\" has no version that begins with %s", a->name, prefix);
    return found;
}

int find_usable(const struct version *v, struct err *e)
{
    if (v->broken) {
        err_set(e, "adapter_broken", "version %.12s of adapter \"%s\" is damaged on disk", v->digest,
                v->name);
        return err_hint(e, "upload the same files again");
    }
    if (v->other_base) {
        err_set(e, "adapter_base_changed",
                "version %.12s of adapter \"%s\" was proved on another base than the one that is served",
                v->digest, v->name);
        return err_hint(
            e, "serve that base again, upload the same files again, or start once with --accept-base");
    }
    return 0;
}

int find_expected(const struct adapter *a, struct version_expected *expected, struct err *e)
{
    const struct version *active = adapter_active(a);
    const char *found = active ? active->digest : "";
    if (!expected || !expected->given)
        return 0;
    for (size_t i = 0; i < expected->count; i++)
        if (strcmp(expected->digest[i], found) == 0)
            return 0;
    strcpy(expected->found, found);
    err_set(e, "version_conflict", "the active version of adapter \"%s\" is another one: %s%s", a->name,
            active ? "sha256:" : "none", found);
    err_hint(e, "look at the adapter again and decide anew");
    return err_param(e, "If-Match");
}
