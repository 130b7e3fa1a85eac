#include "adapters/blobs/version.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/blobs/retired.h"

struct counted {
    struct version version; /* first: a version's address is its object's */
    atomic_uint references;
};

static struct version_files *files_new(const struct version *values)
{
    struct version_files *f = calloc(1, sizeof *f);
    if (f) {
        atomic_init(&f->references, 1);
        strcpy(f->config_blob, values->config_blob);
        strcpy(f->weights_blob, values->weights_blob);
    }
    return f;
}

static void files_unref(struct version_files *f)
{
    unsigned before = atomic_fetch_sub_explicit(&f->references, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before != 1)
        return;
    struct retired *retired = atomic_load(&f->retired);
    if (retired)
        retired_release(retired, f);
    else
        free(f);
}

struct version *version_new(const struct version *values)
{
    struct counted *c = malloc(sizeof *c);
    if (!c)
        return NULL;
    c->version = *values;
    atomic_init(&c->references, 1);
    if (values->files)
        atomic_fetch_add_explicit(&values->files->references, 1, memory_order_relaxed);
    else
        c->version.files = files_new(values);
    if (!c->version.files) {
        free(c);
        return NULL;
    }
    c->version.config_blob = c->version.files->config_blob;
    c->version.weights_blob = c->version.files->weights_blob;
    return &c->version;
}

struct version *version_with_active(const struct version *v, bool active)
{
    struct version values = *v;
    values.active = active;
    if (active)
        values.canary = 0;
    return version_new(&values);
}

struct version *version_with_canary(const struct version *v, int share)
{
    struct version values = *v;
    values.canary = share;
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
    if (!c)
        return;
    unsigned before = atomic_fetch_sub_explicit(&c->references, 1, memory_order_acq_rel);
    assert(before > 0); /* else somebody gave back what was another's */
    if (before != 1)
        return;
    files_unref(c->version.files);
    free(c);
}
