#include "adapters/registry/registry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry_private.h"
#include "adapters/blobs/version.h"
#include "core/system/clock.h"
#include "core/system/file.h"

enum { REMOVED_AT_ONCE = 64, PAUSE_NS = 100000 }; /* versions whose files go, while others wait */

/* ---- the writer ---- */

int registry_write_begin(struct registry *r, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    if (!atomic_load(&r->failed))
        return 0;
    pthread_mutex_unlock(&r->writer);
    err_set(e, "storage_failed", "the registry is closed for changes after an error of the disk");
    return err_hint(e, "check the disk of the data directory, then restart the daemon");
}

void registry_write_end(struct registry *r)
{
    if (store_failed(r->store))
        atomic_store(&r->failed, true);
    pthread_mutex_unlock(&r->writer);
}

bool registry_failed(const struct registry *r)
{
    return atomic_load(&r->failed);
}

/* ---- files that nobody needs any more ---- */

int registry_blob_used(struct registry *r, const char *digest, bool *out, struct err *e)
{
    *out = true;
    return retired_uses(&r->retired, digest) ? 0 : store_blob_used(r->store, digest, out, e);
}

static void remove_unused(struct registry *r, const char *digest, bool touched[256])
{
    bool used = true;
    uint8_t bytes[SHA256_BYTES];
    struct err ignored; /* a file that stays behind is swept by the next start */
    if (r->holds > 0) {
        r->sweep_due = true;
        return;
    }
    if (registry_blob_used(r, digest, &used, &ignored) != 0 || used)
        return;
    blobs_remove(&r->blobs, digest);
    if (hex_decode(digest, bytes, sizeof bytes) == 0)
        touched[bytes[0]] = true;
}

static void sync_shelves(struct registry *r, const bool touched[256])
{
    for (unsigned shelf = 0; shelf < 256; shelf++) {
        char name[3];
        struct err ignored;
        snprintf(name, sizeof name, "%02x", shelf & 0xff);
        if (touched[shelf] && blobs_sync(&r->blobs, name, &ignored) != 0)
            atomic_store(&r->failed, true);
    }
}

void registry_retire(struct registry *r, const struct version *v)
{
    retired_add(&r->retired, v);
}

/* As many as go at once; are there more? */
static bool remove_some(struct registry *r, bool touched[256])
{
    struct version_files *f = NULL;
    for (int i = 0; i < REMOVED_AT_ONCE && (f = retired_take(&r->retired)); i++) {
        /* In doubt about what is on disk nothing is removed: the next start decides. */
        if (!store_failed(r->store) && !atomic_load(&r->failed)) {
            remove_unused(r, f->config_blob, touched);
            remove_unused(r, f->weights_blob, touched);
        }
        free(f);
    }
    return f != NULL;
}

void registry_remove_retired(struct registry *r)
{
    bool touched[256] = {false};
    remove_some(r, touched);
    sync_shelves(r, touched);
}

/* All of them, without the writer's lock, with pauses in which other writers have their turn. */
static void remove_all(struct registry *r)
{
    bool touched[256] = {false}, more = true;
    while (more) {
        pthread_mutex_lock(&r->writer);
        more = remove_some(r, touched);
        registry_write_end(r);
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    sync_shelves(r, touched);
}

static void *remover_main(void *arg)
{
    struct registry *r = arg;
    while (retired_wait(&r->retired))
        remove_all(r);
    return NULL;
}

static int start_remover(struct registry *r, struct err *e)
{
    if (pthread_create(&r->remover, NULL, remover_main, r) != 0)
        return err_set(e, "out_of_memory", "cannot start a thread");
    pthread_setname_np(r->remover, "remover");
    r->has_remover = true;
    return 0;
}

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
    int result = store_open(&r->store, path, created, e);
    free(path);
    return result;
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

static int load_version(void *arg, const struct store_version *row, struct err *e)
{
    struct registry *r = arg;
    struct tenant *t = catalog_tenant_numbered(&r->catalog, row->tenant);
    struct adapter *a = t ? catalog_adapter(t, row->adapter) : NULL;
    if (!a)
        return orphan("versions", e);
    struct version values = row->values;
    strcpy(values.tenant_id, t->id);
    values.broken = !blobs_present(&r->blobs, values.config_blob, values.config_bytes) ||
                    !blobs_present(&r->blobs, values.weights_blob, values.weights_bytes);
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

/* Nothing that a lost database referred to may be swept: an empty registry beside blobs is not a first start.
 */
static int refuse_blob(void *arg, const char *digest, bool *out, struct err *e)
{
    (void)arg, (void)out;
    err_set(e, "registry_missing", "registry.db is missing or empty, but the data directory holds blob %s",
            digest);
    return err_hint(e, "restore registry.db from a backup, or remove the blobs folder to start anew");
}

static int sweep(struct registry *r, bool created, struct err *e)
{
    if (blobs_sweep_temporaries(&r->blobs, &r->swept_temporaries, e) != 0)
        return -1;
    return blobs_sweep(&r->blobs, created ? refuse_blob : blob_used, r, &r->swept_blobs, e);
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
    if (take_lock(r, data_directory, e) != 0 || refuse_partial(data_directory, e) != 0 ||
        blobs_open(&r->blobs, data_directory, e) != 0 || open_store(r, data_directory, &created, e) != 0 ||
        sweep(r, created, e) != 0)
        return -1;
    return store_load(r->store, &loader, r, e) == 0 ? start_remover(r, e) : -1;
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
    r->lock_fd = r->blobs.temporary_fd = r->blobs.shelves_fd = -1;
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
    if (r->has_remover) {
        retired_stop(&r->retired);
        pthread_join(r->remover, NULL);
        remove_all(r);
    }
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
                                   .pinned = pinned,
                                   .swept_temporaries = r->swept_temporaries,
                                   .swept_blobs = r->swept_blobs};
}

/* ---- tenants ---- */

static int tenant_missing(const char *id, struct err *e)
{
    if (name_valid(id))
        err_set(e, "tenant_not_found", "there is no tenant \"%s\"", id);
    else
        err_set(e, "tenant_not_found", "there is no tenant of this name");
    return err_param(e, "tenant");
}

int registry_tenant_gone(struct err *e)
{
    err_set(e, "tenant_not_found", "the tenant was deleted meanwhile");
    return err_param(e, "tenant");
}

struct tenant *registry_find_tenant(struct registry *r, const char *id, struct err *e)
{
    struct tenant *t = name_valid(id) ? catalog_tenant(&r->catalog, id) : NULL;
    if (!t)
        tenant_missing(id, e);
    return t;
}

static void fill_tenant(const struct tenant *t, struct tenant_row *out)
{
    *out = (struct tenant_row){.number = t->number,
                               .created_ms = t->created_ms,
                               .adapters = (int)t->adapters.count,
                               .adapter_bytes = t->bytes,
                               .quota = t->quota};
    strcpy(out->id, t->id);
    strcpy(out->default_adapter, t->default_adapter);
}

/* What a change sets, for the audit log. */
static void describe(const struct tenant_change *c, char *out, size_t size)
{
    quota_describe(&c->quota, out, size);
    size_t used = strlen(out);
    if (c->set_default_adapter)
        snprintf(out + used, size - used, "%sdefault_adapter=%s", used ? ", " : "",
                 c->default_adapter[0] ? c->default_adapter : "none");
}

static int insert_tenant(struct registry *r, struct tenant *t, const struct tenant_change *change,
                         struct err *e)
{
    char detail[256];
    struct store_tenant row = {
        .id = t->id, .created_ms = t->created_ms, .quota = t->quota, .default_adapter = t->default_adapter};
    describe(change, detail, sizeof detail);
    if (store_begin(r->store, e) != 0)
        return -1;
    if (store_tenant_insert(r->store, &row, &t->number, e) == 0 &&
        audit_add(r->store, "tenant.create", t->id, "", detail, e) == 0)
        return store_commit(r->store, e);
    store_rollback(r->store);
    return -1;
}

static int create_tenant(struct registry *r, const char *id, const struct tenant_change *change,
                         struct tenant_row *out, struct err *e)
{
    if (catalog_tenant(&r->catalog, id)) {
        err_set(e, "tenant_exists", "tenant \"%s\" exists already", id);
        return err_param(e, "id");
    }
    if (r->catalog.tenants.count >= TENANTS_MAX)
        return err_set(e, "limit_reached", "there are %d tenants, the most that one daemon holds",
                       TENANTS_MAX);
    if (catalog_reserve(&r->catalog, &r->catalog.tenants, e) != 0)
        return -1;
    struct tenant *t = tenant_new(id, clock_unix_ms());
    if (!t)
        return err_memory(e);
    quota_merge(&t->quota, &change->quota);
    if (change->set_default_adapter)
        strcpy(t->default_adapter, change->default_adapter);
    if (insert_tenant(r, t, change, e) != 0) {
        tenant_free(t);
        return -1;
    }
    catalog_add_tenant(&r->catalog, t);
    fill_tenant(t, out);
    return 0;
}

int registry_tenant_create(struct registry *r, const char *id, const struct tenant_change *change,
                           struct tenant_row *out, struct err *e)
{
    struct tenant_change none = {0};
    quota_fill(&none.quota, QUOTA_UNCHANGED);
    if (!name_valid(id)) {
        err_set(e, "invalid_name", "a tenant's id must match [a-z0-9][a-z0-9._-]{0,63}");
        return err_param(e, "id");
    }
    if (registry_write_begin(r, e) != 0)
        return -1;
    int result = create_tenant(r, id, change ? change : &none, out, e);
    registry_write_end(r);
    return result;
}

static int change_row(struct registry *r, const struct store_tenant *row, const struct tenant_change *change,
                      struct err *e)
{
    char detail[256];
    describe(change, detail, sizeof detail);
    if (store_begin(r->store, e) != 0)
        return -1;
    if (store_tenant_change(r->store, row, e) == 0 &&
        audit_add(r->store, "tenant.change", row->id, "", detail, e) == 0)
        return store_commit(r->store, e);
    store_rollback(r->store);
    return -1;
}

static int change_tenant(struct registry *r, const char *id, const struct tenant_change *change,
                         struct tenant_row *out, struct err *e)
{
    struct tenant *t = registry_find_tenant(r, id, e);
    if (!t)
        return -1;
    char adapter[NAME_MAX_BYTES + 1];
    strcpy(adapter, change->set_default_adapter ? change->default_adapter : t->default_adapter);
    struct store_tenant row = {
        .number = t->number, .id = t->id, .quota = t->quota, .default_adapter = adapter};
    quota_merge(&row.quota, &change->quota);
    bool same =
        memcmp(&row.quota, &t->quota, sizeof row.quota) == 0 && strcmp(adapter, t->default_adapter) == 0;
    if (!same && change_row(r, &row, change, e) != 0)
        return -1;
    catalog_change_tenant(&r->catalog, t, &row.quota, adapter);
    fill_tenant(t, out);
    return 0;
}

int registry_tenant_change(struct registry *r, const char *id, const struct tenant_change *change,
                           struct tenant_row *out, struct err *e)
{
    if (registry_write_begin(r, e) != 0)
        return -1;
    int result = change_tenant(r, id, change, out, e);
    registry_write_end(r);
    return result;
}

int registry_tenant_find(struct registry *r, const char *id, struct tenant_row *out, struct err *e)
{
    catalog_read_lock(&r->catalog);
    struct tenant *t = registry_find_tenant(r, id, e);
    if (t)
        fill_tenant(t, out);
    catalog_unlock(&r->catalog);
    return t ? 0 : -1;
}

size_t registry_tenant_list(struct registry *r, const char *after, size_t limit, struct tenant_row *out,
                            bool *more)
{
    catalog_read_lock(&r->catalog);
    const struct ordered *tenants = &r->catalog.tenants;
    size_t first = ordered_after(tenants, after), count = 0;
    for (; count < limit && first + count < tenants->count; count++)
        fill_tenant(tenants->items[first + count], &out[count]);
    *more = first + count < tenants->count;
    catalog_unlock(&r->catalog);
    return count;
}

static int delete_tenant_rows(struct registry *r, const struct tenant *t, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    if (store_tenant_delete(r->store, t->number, e) == 0 &&
        audit_add(r->store, "tenant.delete", t->id, "", "", e) == 0)
        return store_commit(r->store, e);
    store_rollback(r->store);
    return -1;
}

static void retire_tenant(struct registry *r, const struct tenant *t)
{
    for (size_t i = 0; i < t->adapters.count; i++) {
        const struct adapter *a = t->adapters.items[i];
        for (size_t k = 0; k < a->count; k++)
            registry_retire(r, a->versions[k]);
    }
}

int registry_tenant_delete(struct registry *r, const char *id, struct err *e)
{
    if (registry_write_begin(r, e) != 0)
        return -1;
    struct tenant *t = registry_find_tenant(r, id, e);
    int result = t ? delete_tenant_rows(r, t, e) : -1;
    if (result == 0) {
        retire_tenant(r, t);
        catalog_remove_tenant(&r->catalog, t);
        tenant_free(t);
    }
    registry_write_end(r);
    if (result == 0)
        remove_all(r);
    return result;
}
