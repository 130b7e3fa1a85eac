#include "adapters/maintenance/fsck.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/registry_private.h"
#include "adapters/store/files.h"

struct fsck {
    struct registry *registry;
    const struct fsck_handler *handler;
    struct fsck_report report;
    struct blob_list blobs; /* with a reference to each version */
    struct blob_list files; /* blobs of files to train with */
    size_t seen[4];         /* rows of the database: tenants, keys, adapters, versions */
};

static void report(struct fsck *f, enum fsck_kind kind, const struct version *v, const char *message)
{
    struct fsck_problem p = {.kind = kind,
                             .tenant = v ? v->tenant_id : "",
                             .name = v ? v->name : "",
                             .version = v ? v->digest : "",
                             .message = message};
    f->report.problems++;
    f->handler->found(f->handler->arg, &p);
}

/* ---- the database and the memory ---- */

static void mismatch(struct fsck *f, const char *what, const char *id)
{
    char message[192];
    snprintf(message, sizeof message, "%s %.80s: the row and the memory differ; restart the daemon", what,
             id);
    report(f, FSCK_MISMATCH, NULL, message);
}

/* What counts against the tenant's quota. */
static uint64_t bytes_of(const struct tenant *t)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < t->adapters.count; i++) {
        const struct adapter *a = t->adapters.items[i];
        for (size_t k = 0; k < a->count; k++)
            bytes += a->versions[k]->config_bytes + a->versions[k]->weights_bytes;
    }
    return bytes;
}

static int check_tenant(void *arg, const struct store_tenant *row, struct err *e)
{
    (void)e;
    struct fsck *f = arg;
    const struct tenant *t = catalog_tenant(&f->registry->catalog, row->id);
    f->seen[0]++;
    if (!t || t->number != row->number || t->created_ms != row->created_ms ||
        memcmp(&t->quota, &row->quota, sizeof t->quota) != 0 ||
        strcmp(t->default_adapter, row->default_adapter) != 0 || t->bytes != bytes_of(t))
        mismatch(f, "tenant", row->id);
    return 0;
}

static int check_key(void *arg, const struct store_key *row, struct err *e)
{
    (void)e;
    struct fsck *f = arg;
    const struct tenant *t = catalog_tenant_numbered(&f->registry->catalog, row->tenant);
    const struct key *k = t ? ordered_get(&t->keys, row->kid) : NULL;
    f->seen[1]++;
    if (!k || k->revoked != row->revoked || memcmp(k->hash, row->hash, sizeof k->hash) != 0 ||
        strcmp(k->label, row->label) != 0)
        mismatch(f, "key", row->kid);
    return 0;
}

static int check_adapter(void *arg, const struct store_adapter *row, struct err *e)
{
    (void)e;
    struct fsck *f = arg;
    const struct tenant *t = catalog_tenant_numbered(&f->registry->catalog, row->tenant);
    const struct adapter *a = t ? catalog_adapter(t, row->name) : NULL;
    f->seen[2]++;
    if (!a || a->number != row->number)
        mismatch(f, "adapter", row->name);
    return 0;
}

static int check_version(void *arg, const struct store_version *row, struct err *e)
{
    (void)e;
    struct fsck *f = arg;
    const struct tenant *t = catalog_tenant_numbered(&f->registry->catalog, row->tenant);
    const struct adapter *a = t ? catalog_adapter(t, row->adapter) : NULL;
    const struct version *v = a ? adapter_version(a, row->values.digest) : NULL;
    f->seen[3]++;
    if (!v || v->active != row->values.active || strcmp(v->config_blob, row->values.config_blob) != 0 ||
        strcmp(v->weights_blob, row->values.weights_blob) != 0 ||
        v->config_bytes != row->values.config_bytes || v->weights_bytes != row->values.weights_bytes)
        mismatch(f, "version", row->values.digest);
    return 0;
}

static void check_counts(struct fsck *f)
{
    const struct catalog_counts *c = &f->registry->catalog.counts;
    const size_t known[4] = {c->tenants, c->keys, c->adapters, c->versions};
    static const char *const name[4] = {"tenants", "keys", "adapters", "versions"};
    for (size_t i = 0; i < 4; i++) {
        char message[128];
        snprintf(message, sizeof message, "%zu %s in the database, %zu in memory", f->seen[i], name[i],
                 known[i]);
        if (f->seen[i] != known[i])
            report(f, FSCK_MISMATCH, NULL, message);
    }
}

static int take_version(void *arg, const struct version *v, struct err *e)
{
    struct fsck *f = arg;
    if (blob_list_add(&f->blobs, v->config_blob, v->config_bytes, v, e) != 0)
        return -1;
    version_ref(v);
    if (blob_list_add(&f->blobs, v->weights_blob, v->weights_bytes, v, e) != 0)
        return -1;
    version_ref(v);
    f->report.versions++;
    return 0;
}

static int take_file(void *arg, const struct file_row *row, struct err *e)
{
    struct fsck *f = arg;
    return blob_list_add(&f->files, row->blob, row->bytes, NULL, e);
}

/* The writer's part: nothing changes meanwhile, and from here on no blob goes. */
static int look_locked(struct fsck *f, struct err *e)
{
    static const struct store_visitor visitor = {check_tenant, check_key, check_adapter, check_version};
    struct err damage;
    if (store_replaced(f->registry->store))
        report(f, FSCK_DATABASE, NULL,
               "registry.db was removed, replaced or changed by another program while the daemon runs; "
               "changes are refused");
    if (store_check(f->registry->store, &damage) != 0)
        report(f, FSCK_DATABASE, NULL, damage.message);
    else if (store_load(f->registry->store, &visitor, f, &damage) != 0)
        report(f, FSCK_DATABASE, NULL, damage.message);
    else
        check_counts(f);
    if (catalog_visit_versions(&f->registry->catalog, take_version, f, e) != 0)
        return -1;
    return store_file_each(f->registry->store, take_file, f, e);
}

/* ---- blobs ---- */

static size_t run_length(const struct blob_list *l, size_t first)
{
    size_t i = first + 1;
    while (i < l->count && strcmp(l->items[i].digest, l->items[first].digest) == 0)
        i++;
    return i - first;
}

/* All versions that need one damaged blob; one that was deleted meanwhile is no problem any more. */
static void report_blob(struct fsck *f, size_t first, size_t count, const struct err *damage)
{
    bool broken = strcmp(damage->code, "adapter_broken") == 0;
    for (size_t i = first; i < first + count; i++) {
        const struct version *v = f->blobs.items[i].version;
        if (i > first && f->blobs.items[i - 1].version == v)
            continue; /* both its files are the same blob */
        if (!broken)
            report(f, FSCK_UNREADABLE, v, damage->message);
        else if (registry_mark_broken(f->registry, v))
            report(f, FSCK_BROKEN, v, damage->message);
    }
}

static int check_blobs(struct fsck *f, struct err *e)
{
    blob_list_sort(&f->blobs);
    for (size_t i = 0, count; i < f->blobs.count; i += count) {
        const struct blob_entry *b = &f->blobs.items[i];
        struct err damage;
        count = run_length(&f->blobs, i);
        if (f->handler->stop(f->handler->arg))
            return err_set(e, "shutting_down", "the check was stopped");
        if (blobs_verify(&f->registry->blobs, b->digest, b->bytes, &damage) != 0)
            report_blob(f, i, count, &damage);
        f->report.blobs++;
        f->report.bytes += b->bytes;
    }
    return 0;
}

/* One file that was deleted meanwhile is no problem any more; backups may be the reason why it is there. */
static void report_file(struct fsck *f, const struct blob_entry *b, const struct err *damage)
{
    bool used = false;
    struct err ignored;
    char message[sizeof damage->message + 64];
    struct registry *r = f->registry;
    pthread_mutex_lock(&r->writer);
    bool known = store_blob_used(r->store, b->digest, &used, &ignored) == 0;
    writer_end(r);
    snprintf(message, sizeof message, "a file to train with: %s", damage->message);
    if (used || !known)
        report(f, strcmp(damage->code, "adapter_broken") == 0 ? FSCK_BROKEN : FSCK_UNREADABLE, NULL, message);
}

static int check_training_files(struct fsck *f, struct err *e)
{
    blob_list_sort(&f->files);
    blob_list_unique(&f->files);
    for (size_t i = 0; i < f->files.count; i++) {
        const struct blob_entry *b = &f->files.items[i];
        struct err damage;
        if (f->handler->stop(f->handler->arg))
            return err_set(e, "shutting_down", "the check was stopped");
        if (blobs_verify(&f->registry->blobs, b->digest, b->bytes, &damage) != 0)
            report_file(f, b, &damage);
        f->report.blobs++;
        f->report.bytes += b->bytes;
    }
    return 0;
}

static int check_file(void *arg, const char *shelf, const char *name, struct err *e)
{
    struct fsck *f = arg;
    uint8_t digest[SHA256_BYTES];
    bool used = false;
    char message[320];
    if (hex_decode(name, digest, sizeof digest) == 0 && strncmp(name, shelf, 2) == 0 &&
        gc_blob_used(f->registry, name, &used, e) != 0)
        return -1;
    snprintf(message, sizeof message,
             "blobs/sha256/%s/%s: nothing needs this file; the next start moves it to the quarantine", shelf,
             name);
    if (!used)
        report(f, FSCK_ORPHAN, NULL, message);
    return 0;
}

/* Under the mutex no upload is between its files and its row. What a backup keeps is no orphan. */
static int check_files_locked(struct fsck *f, struct err *e)
{
    if (f->registry->holds > 1 || f->registry->sweep_due)
        return 0;
    return blobs_visit(&f->registry->blobs, check_file, f, e);
}

/* What waits there is no problem, but whoever misses something looks here. */
static int look_at_quarantine_locked(struct fsck *f, struct err *e)
{
    struct quarantine *q = &f->registry->blobs.quarantine;
    struct quarantine_file *files;
    size_t count;
    if (quarantine_expire(q, e) != 0 || quarantine_list(q, &files, &count, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        f->report.quarantined_bytes += files[i].bytes;
        if (f->handler->quarantined)
            f->handler->quarantined(f->handler->arg, &files[i]);
    }
    f->report.quarantined = count;
    free(files);
    return 0;
}

/* ---- all of it ---- */

static int locked(struct fsck *f, int (*work)(struct fsck *f, struct err *e), struct err *e)
{
    if (writer_begin(f->registry, e) != 0)
        return -1;
    int result = work(f, e);
    writer_end(f->registry);
    return result;
}

static int hold(struct fsck *f, struct err *e)
{
    return gc_hold(f->registry, e);
}

int fsck_run(struct registry *r, const struct fsck_handler *h, struct fsck_report *out, struct err *e)
{
    struct fsck f = {.registry = r, .handler = h};
    if (locked(&f, hold, e) != 0)
        return -1;
    int result = locked(&f, look_locked, e);
    if (result == 0)
        result = check_blobs(&f, e);
    if (result == 0)
        result = check_training_files(&f, e);
    if (result == 0)
        result = locked(&f, check_files_locked, e);
    if (result == 0)
        result = locked(&f, look_at_quarantine_locked, e);
    gc_release(r);
    for (size_t i = 0; i < f.blobs.count; i++)
        version_unref(f.blobs.items[i].version);
    blob_list_fini(&f.blobs);
    blob_list_fini(&f.files);
    if (result == 0)
        *out = f.report;
    return result;
}
