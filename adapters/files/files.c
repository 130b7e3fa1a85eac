#include "adapters/files/files.h"

#include <string.h>

#include "adapters/files/files_private.h"
#include "adapters/registry/audit.h"
#include "adapters/store/files.h"
#include "core/system/clock.h"

static int find_locked(struct registry *r, uint32_t tenant, const char *id, struct file_row *out,
                       struct err *e)
{
    if (store_file_find(r->store, tenant, id, clock_unix_ms(), out, e) != 0)
        return -1;
    if (out->number)
        return 0;
    err_set(e, "file_not_found", "there is no file \"%s\"", id);
    return err_hint(e, "GET /v1/files lists what is there");
}

/* Reading goes on where changes are refused. */
int files_find(struct registry *r, uint32_t tenant, const char *id, struct file_row *out, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = find_locked(r, tenant, id, out, e);
    writer_end(r);
    return result;
}

int files_open(struct registry *r, uint32_t tenant, const char *id, struct file_row *out, int *fd,
               struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = find_locked(r, tenant, id, out, e);
    if (result == 0) {
        *fd = blobs_open_blob(&r->blobs, out->blob, out->bytes, e);
        result = *fd < 0 ? -1 : 0;
    }
    writer_end(r);
    if (result != 0 && strcmp(e->code, "adapter_broken") == 0)
        err_set(e, "file_broken", "file \"%s\" (%s) is damaged on the disk: upload it again", id, out->name);
    return result;
}

int files_list(struct registry *r, const struct file_query *q, struct file_row *out, size_t *count,
               bool *more, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = store_file_list(r->store, q, out, count, more, e);
    writer_end(r);
    return result;
}

static int delete_locked(struct registry *r, uint32_t tenant, const char *id, struct err *e)
{
    struct file_row row;
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, tenant);
    if (!t)
        return find_tenant_gone(e);
    if (find_locked(r, tenant, id, &row, e) != 0 || store_begin(r->store, e) != 0)
        return -1;
    bool done = store_file_delete(r->store, row.number, e) == 0 &&
                audit_add(r->store, "file.delete", t->id, row.id, row.name, e) == 0;
    if (store_end(r->store, done, e) != 0)
        return -1;
    gc_collect_files(r);
    return 0;
}

int files_delete(struct registry *r, uint32_t tenant, const char *id, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = delete_locked(r, tenant, id, e);
    writer_end(r);
    return result;
}

int files_expire(struct registry *r, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = store_begin(r->store, e);
    if (result == 0)
        result = store_end(r->store, store_file_delete_ended(r->store, clock_unix_ms(), e) == 0, e);
    if (result == 0)
        gc_collect_files(r);
    writer_end(r);
    return result;
}

static int over_quota(const struct tenant *t, uint64_t used, uint64_t bytes, struct err *e)
{
    err_set(
        e, "quota_exceeded",
        "with these %llu bytes the files of tenant \"%s\" would have %llu, its quota files_bytes_max is %lld",
        (unsigned long long)bytes, t->id, (unsigned long long)(used + bytes),
        (long long)t->quota.of[QUOTA_FILES_BYTES_MAX]);
    err_hint(e, "delete files, or ask for a larger quota");
    return err_param(e, "files_bytes_max");
}

int files_check_room(struct registry *r, const struct tenant *t, uint64_t bytes, struct err *e)
{
    uint64_t used;
    size_t count;
    int64_t most = t->quota.of[QUOTA_FILES_BYTES_MAX];
    if (store_file_usage(r->store, t->number, &used, &count, e) != 0)
        return -1;
    if (count >= TENANT_FILES_MAX)
        return err_set(e, "limit_reached", "tenant \"%s\" has %d files, the most that a tenant may have",
                       t->id, TENANT_FILES_MAX);
    return most != QUOTA_UNSET && used + bytes > (uint64_t)most ? over_quota(t, used, bytes, e) : 0;
}

int files_foresee(struct registry *r, uint32_t tenant, uint64_t bytes, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, tenant);
    int result = t ? files_check_room(r, t, bytes, e) : find_tenant_gone(e);
    writer_end(r);
    return result;
}
