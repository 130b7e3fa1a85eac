/* One writer at a time. */
#include "adapters/registry/registry_private.h"

int writer_begin(struct registry *r, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    if (!atomic_load(&r->failed))
        return 0;
    pthread_mutex_unlock(&r->writer);
    err_set(e, "storage_failed", "the registry is closed for changes after an error of the disk");
    return err_hint(e, "check the disk of the data directory, then restart the daemon");
}

void writer_end(struct registry *r)
{
    if (store_failed(r->store))
        atomic_store(&r->failed, true);
    pthread_mutex_unlock(&r->writer);
}
