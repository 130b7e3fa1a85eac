#include <stdlib.h>
#include <string.h>

#include "adapters/blobs/incoming.h"
#include "adapters/files/files.h"
#include "adapters/files/files_private.h"
#include "adapters/registry/audit.h"
#include "adapters/store/files.h"
#include "adapters/training/dataset/dataset.h"
#include "core/base/utf8.h"
#include "core/system/clock.h"

struct files_upload {
    struct registry *registry;
    struct incoming blob;
    struct dataset_check *check; /* owned; NULL: its lines may be anything */
};

int files_upload_new(struct files_upload **out, struct registry *r, bool examples, struct err *e)
{
    struct files_upload *u = calloc(1, sizeof *u);
    if (!u)
        return err_memory(e);
    u->registry = r;
    u->blob.fd = -1;
    if (incoming_open(&u->blob, &r->blobs, e) != 0 || (examples && dataset_check_new(&u->check, e) != 0)) {
        files_upload_free(u);
        return -1;
    }
    *out = u;
    return 0;
}

void files_upload_free(struct files_upload *u)
{
    if (!u)
        return;
    incoming_close(&u->blob);
    dataset_check_free(u->check);
    free(u);
}

int files_upload_write(struct files_upload *u, const void *bytes, size_t length, struct err *e)
{
    if (length > TRAINING_FILE_BYTES_MAX - u->blob.bytes)
        return err_set(e, "body_too_large", "a file may have %llu bytes at most",
                       (unsigned long long)TRAINING_FILE_BYTES_MAX);
    if (u->check && dataset_check_feed(u->check, bytes, length, e) != 0)
        return -1;
    return incoming_write(&u->blob, bytes, length, e);
}

/* ---- accepting ---- */

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *backslash = strrchr(path, '\\');
    const char *last = slash > backslash ? slash : backslash;
    return last && last[1] ? last + 1 : path;
}

static void copy_name(const char *name, char out[FILE_NAME_BYTES])
{
    size_t length = strlen(name);
    if (length >= FILE_NAME_BYTES)
        length = utf8_before(name, FILE_NAME_BYTES);
    memcpy(out, name, length);
    out[length] = '\0';
}

static void make_id(char out[FILE_ID_BYTES])
{
    uint8_t random[12];
    memcpy(out, "file-", 5);
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, out + 5);
}

static struct file_row make_row(const struct files_upload *u, const struct files_new *n,
                                const struct dataset_summary *s)
{
    struct file_row row = {.tenant = n->tenant,
                           .bytes = u->blob.bytes,
                           .examples = (int64_t)s->examples,
                           .created_ms = clock_unix_ms(),
                           .expires_ms = n->expires_ms};
    make_id(row.id);
    copy_name(base_name(n->name), row.name);
    snprintf(row.purpose, sizeof row.purpose, "%s", n->purpose);
    strcpy(row.blob, u->blob.digest);
    return row;
}

static int insert(struct registry *r, const struct tenant *t, bool replaces, struct file_row *row,
                  struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = (!replaces || store_file_delete_named(r->store, row, e) == 0) &&
                store_file_insert(r->store, row, e) == 0 &&
                audit_add(r->store, "file.upload", t->id, row->id, row->name, e) == 0;
    return store_end(r->store, done, e);
}

static int accept_locked(struct files_upload *u, bool replaces, struct file_row *row, struct err *e)
{
    struct registry *r = u->registry;
    bool failed = false;
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, row->tenant);
    if (!t)
        return find_tenant_gone(e);
    if (files_check_room(r, t, row->bytes, e) != 0)
        return -1;
    if (incoming_put(&u->blob, &failed, e) == 0 && insert(r, t, replaces, row, e) == 0) {
        if (replaces)
            gc_collect_files(r);
        return 0;
    }
    if (failed)
        atomic_store(&r->failed, true);
    else
        gc_remove_blob(r, row->blob);
    return -1;
}

static int finish(struct files_upload *u, struct dataset_summary *out, struct err *e)
{
    bool failed = false;
    if (u->check && dataset_check_finish(u->check, out, e) != 0)
        return -1;
    if (incoming_sync(&u->blob, &failed, e) == 0)
        incoming_finish(&u->blob);
    else if (failed)
        atomic_store(&u->registry->failed, true);
    return u->blob.digest[0] ? 0 : -1;
}

int files_upload_accept(struct files_upload *u, const struct files_new *n, struct file_row *out,
                        struct err *e)
{
    struct dataset_summary summary = {0};
    int result = finish(u, &summary, e);
    if (result == 0)
        result = writer_begin(u->registry, e);
    if (result == 0) {
        struct file_row row = make_row(u, n, &summary);
        result = accept_locked(u, n->replaces, &row, e);
        writer_end(u->registry);
        if (result == 0)
            *out = row;
    }
    files_upload_free(u);
    return result;
}
