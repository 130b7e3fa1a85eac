#include "adapters/blobs/modes.h"
#include "adapters/registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "adapters/registry/registry_private.h"
#include "adapters/store/sqlite/sqlite.h"
#include "adapters/blobs/version.h"
#include "core/system/file.h"

/* ---- opening ---- */

static int take_lock(struct registry *r, const char *data_directory, struct err *e)
{
    char *path = file_join(data_directory, "lock");
    if (!path)
        return err_memory(e);
    r->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int result = 0;
    if (r->lock_fd < 0) {
        result = err_errno(e, "cannot open %s", path);
    } else if (flock(r->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        result =
            errno == EWOULDBLOCK
                ? err_set(e, "data_locked", "%s is locked: another adapterd uses this data directory", path)
                : err_errno(e, "cannot lock %s", path);
    }
    free(path);
    return result;
}

static int open_store(struct registry *r, const char *data_directory, bool *created, struct err *e)
{
    char *path = file_join(data_directory, "registry.db");
    if (!path)
        return err_memory(e);
    struct database *database;
    int result = sqlite_open(&database, path, created, e);
    free(path);
    return result == 0 ? store_open(&r->store, database, e) : -1;
}

static int load_tenant(void *arg, const struct store_tenant *row, struct err *e)
{
    struct registry *r = arg;
    struct tenant *t = catalog_reserve(&r->catalog, &r->catalog.tenants, e) == 0
                           ? tenant_new(row->id, row->created_ms)
                           : NULL;
    if (!t)
        return err_memory(e);
    t->number = row->number;
    t->quota = row->quota;
    strcpy(t->default_adapter, row->default_adapter);
    catalog_add_tenant(&r->catalog, t);
    return 0;
}

static int orphan(const char *what, struct err *e)
{
    return err_set(e, "registry_malformed", "registry: a row of %s has no parent", what);
}

static int load_key(void *arg, const struct store_key *row, struct err *e)
{
    struct registry *r = arg;
    struct tenant *t = catalog_tenant_numbered(&r->catalog, row->tenant);
    if (!t)
        return orphan("keys", e);
    struct key *k = catalog_reserve(&r->catalog, &t->keys, e) == 0 ? key_new(t, row->kid, row->label) : NULL;
    if (!k)
        return err_memory(e);
    k->revoked = row->revoked;
    k->expires_ms = row->expires_ms;
    atomic_init(&k->used_ms, row->used_ms);
    k->created_ms = row->created_ms;
    memcpy(k->hash, row->hash, sizeof k->hash);
    catalog_add_key(&r->catalog, k);
    return 0;
}

static int load_adapter(void *arg, const struct store_adapter *row, struct err *e)
{
    struct registry *r = arg;
    struct tenant *t = catalog_tenant_numbered(&r->catalog, row->tenant);
    if (!t)
        return orphan("adapters", e);
    struct adapter *a =
        catalog_reserve(&r->catalog, &t->adapters, e) == 0 ? adapter_new(row->name, row->created_ms) : NULL;
    if (!a)
        return err_memory(e);
    a->number = row->number;
    a->metadata.expires_ms = row->expires_ms;
    a->metadata.pinned = row->pinned && r->catalog.pinned_count < ADAPTERS_PINNED_MAX;
    if (row->labels[0] && labels_parse(&a->metadata.labels, row->labels, e) != 0) {
        adapter_free(a);
        return -1;
    }
    catalog_add_adapter(&r->catalog, t, a);
    return 0;
}

/* What a damaged or older database once left unnamed is in the quarantine. */
static bool present(struct registry *r, const char *blob, uint64_t bytes)
{
    if (blobs_present(&r->blobs, blob, bytes))
        return true;
    bool recovered = blobs_recover(&r->blobs, blob, bytes);
    r->recovered_blobs += recovered;
    return recovered;
}

static int load_version(void *arg, const struct store_version *row, struct err *e)
{
    struct registry *r = arg;
    struct tenant *t = catalog_tenant_numbered(&r->catalog, row->tenant);
    struct adapter *a = t ? catalog_adapter(t, row->adapter) : NULL;
    if (!a)
        return orphan("versions", e);
    struct version values = row->values;
    strcpy(values.tenant_id, t->id);
    values.broken = !present(r, values.config_blob, values.config_bytes) ||
                    !present(r, values.weights_blob, values.weights_bytes);
    struct version *v = catalog_reserve_version(&r->catalog, a, e) == 0 ? version_new(&values) : NULL;
    if (!v)
        return err_memory(e);
    catalog_change_versions(&r->catalog, a, &(struct catalog_change){.after = v}, 1);
    return 0;
}

static int blob_used(void *arg, const char *digest, bool *out, struct err *e)
{
    struct registry *r = arg;
    return store_blob_used(r->store, digest, out, e);
}

/* Nothing that a lost database referred to may be swept: an empty registry beside blobs is not a first
 * start. */
static int refuse_blob(void *arg, const char *digest, bool *out, struct err *e)
{
    (void)arg, (void)out;
    err_set(e, "registry_missing", "registry.db is missing or empty, but the data directory holds blob %s",
            digest);
    return err_hint(e, "restore registry.db from a backup, or remove the blobs folder to start anew");
}

static int sweep(struct registry *r, bool created, struct err *e)
{
    gc_collect_files(r); /* what was deleted is not swept into the quarantine */
    if (blobs_sweep_temporaries(&r->blobs, &r->swept_temporaries, e) != 0)
        return -1;
    return blobs_sweep(&r->blobs, true, created ? refuse_blob : blob_used, r, &r->swept_blobs, e);
}

/* What a restore that was interrupted leaves is not a registry with nothing in it. */
static int refuse_partial(const char *data_directory, struct err *e)
{
    char *path = file_join(data_directory, "registry.db.partial");
    if (!path)
        return err_memory(e);
    int result = 0;
    if (access(path, F_OK) == 0) {
        err_set(e, "registry_missing", "%s is there: the restore of a backup did not come to its end", path);
        result = err_hint(e, "remove the data directory, then restore again");
    }
    free(path);
    return result;
}

static int open_parts(struct registry *r, const char *data_directory, struct err *e)
{
    static const struct store_visitor loader = {load_tenant, load_key, load_adapter, load_version};
    bool created = false;
    if (take_lock(r, data_directory, e) != 0 || modes_tighten(data_directory, e) != 0 ||
        refuse_partial(data_directory, e) != 0 || blobs_open(&r->blobs, data_directory, e) != 0 ||
        open_store(r, data_directory, &created, e) != 0 || sweep(r, created, e) != 0)
        return -1;
    if (store_load(r->store, &loader, r, e) != 0 || quarantine_expire(&r->blobs.quarantine, e) != 0)
        return -1;
    return gc_start(r, e);
}

int registry_open(struct registry **out, const char *data_directory, struct err *e)
{
    if (file_make_directories(data_directory, e) != 0)
        return -1;
    struct registry *r = calloc(1, sizeof *r);
    if (!r)
        return err_memory(e);
    if (catalog_init(&r->catalog, e) != 0) {
        free(r);
        return -1;
    }
    if (retired_init(&r->retired, e) != 0) {
        catalog_fini(&r->catalog);
        free(r);
        return -1;
    }
    r->lock_fd = r->blobs.temporary_fd = r->blobs.shelves_fd = r->blobs.quarantine.fd = -1;
    pthread_mutex_init(&r->writer, NULL);
    pthread_mutex_init(&r->used_lock, NULL);
    r->directory = strdup(data_directory);
    if ((!r->directory && err_memory(e) != 0) || open_parts(r, data_directory, e) != 0) {
        registry_close(r);
        return -1;
    }
    *out = r;
    return 0;
}

void registry_close(struct registry *r)
{
    if (!r)
        return;
    gc_stop(r);
    store_close(r->store);
    blobs_close(&r->blobs);
    free(r->directory);
    catalog_fini(&r->catalog);
    retired_fini(&r->retired);
    pthread_mutex_destroy(&r->writer);
    pthread_mutex_destroy(&r->used_lock);
    if (r->lock_fd >= 0)
        close(r->lock_fd); /* last: gives the directory free */
    free(r);
}

void registry_look(struct registry *r)
{
    /* A writer looks, too, and while it writes the file is between two states. */
    if (pthread_mutex_trylock(&r->writer) != 0)
        return;
    if (store_replaced(r->store))
        atomic_store(&r->replaced, true);
    pthread_mutex_unlock(&r->writer);
}

bool registry_replaced(const struct registry *r)
{
    return atomic_load(&r->replaced);
}

bool registry_failed(const struct registry *r)
{
    return atomic_load(&r->failed);
}

void registry_stats(struct registry *r, struct registry_stats *out)
{
    catalog_read_lock(&r->catalog);
    struct catalog_counts counts = r->catalog.counts;
    size_t pinned = r->catalog.pinned_count;
    catalog_unlock(&r->catalog);
    *out = (struct registry_stats){.tenants = counts.tenants,
                                   .keys = counts.keys,
                                   .adapters = counts.adapters,
                                   .versions = counts.versions,
                                   .broken = counts.broken,
                                   .other_base = counts.other_base,
                                   .pinned = pinned,
                                   .swept_temporaries = r->swept_temporaries,
                                   .swept_blobs = r->swept_blobs,
                                   .recovered_blobs = r->recovered_blobs};
}
