#include "adapters/version.h"

#include <stdatomic.h>
#include <stdlib.h>

struct counted {
    struct version version; /* first: a version's address is its object's */
    atomic_uint references;
};

struct version *version_new(const struct version *values)
{
    struct counted *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    c->version = *values;
    atomic_init(&c->references, 1);
    return &c->version;
}

struct version *version_with_active(const struct version *v, bool active)
{
    struct version values = *v;
    values.active = active;
    return version_new(&values);
}

void version_ref(const struct version *v)
{
    struct counted *c = (struct counted *)(uintptr_t)v;
    atomic_fetch_add_explicit(&c->references, 1, memory_order_relaxed);
}

void version_unref(const struct version *v)
{
    struct counted *c = (struct counted *)(uintptr_t)v;
    if (c && atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel) == 1)
        free(c);
}
