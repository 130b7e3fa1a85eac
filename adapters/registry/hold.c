#include "adapters/registry/registry_private.h"

enum { HOLDS_MAX = 4 };

int registry_hold_blobs(struct registry *r, struct err *e)
{
    if (r->holds >= HOLDS_MAX) {
        err_set(e, "overloaded", "%d backups and checks are running, the most at the same time", HOLDS_MAX);
        return err_hint(e, "wait until one of them is done");
    }
    r->holds++;
    return 0;
}

static int blob_used(void *arg, const char *digest, bool *out, struct err *e)
{
    return registry_blob_used(arg, digest, out, e);
}

void registry_release_blobs(struct registry *r)
{
    size_t removed = 0;
    struct err ignored; /* what stays behind is swept by the next start */
    pthread_mutex_lock(&r->writer);
    bool due = --r->holds == 0 && r->sweep_due && !atomic_load(&r->failed);
    if (due) {
        r->sweep_due = false;
        blobs_sweep(&r->blobs, blob_used, r, &removed, &ignored);
    }
    registry_write_end(r);
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

int registry_visit_versions(struct registry *r,
                            int (*visit)(void *arg, const struct version *v, struct err *e), void *arg,
                            struct err *e)
{
    for (size_t i = 0; i < r->catalog.tenants.count; i++) {
        const struct tenant *t = r->catalog.tenants.items[i];
        for (size_t k = 0; k < t->adapters.count; k++)
            if (visit_adapter(t->adapters.items[k], visit, arg, e) != 0)
                return -1;
    }
    return 0;
}
