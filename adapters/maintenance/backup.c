#include "adapters/maintenance/backup.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry_private.h"
#include "adapters/store/files.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "core/format/tar.h"

enum { READ_BYTES = 65536, FIRST_BLOB = 2 /* behind SHA256SUMS and registry.db */ };

struct backup {
    struct registry *registry;
    bool held; /* blobs stay because of it */
    struct backup_info info;
    int64_t now; /* seconds, the time of all files in the archive */

    char copy[BLOBS_TEMPORARY_BYTES]; /* of the database, in DATA/tmp */
    int copy_fd;
    uint64_t copy_bytes;
    struct buf sums;
    struct blob_list blobs;

    size_t entry;       /* the next */
    int fd;             /* of the one under way */
    uint64_t at, size;  /* in it */
    struct buf pending; /* headers, padding, SHA256SUMS */
    size_t pending_sent;
};

/* ---- the copy ---- */

static int visit_version(void *arg, const struct version *v, struct err *e)
{
    struct backup *b = arg;
    if (v->broken) {
        b->info.left_out++;
        return 0;
    }
    if (blob_list_add(&b->blobs, v->config_blob, v->config_bytes, NULL, e) != 0)
        return -1;
    return blob_list_add(&b->blobs, v->weights_blob, v->weights_bytes, NULL, e);
}

static int visit_file(void *arg, const struct file_row *row, struct err *e)
{
    struct backup *b = arg;
    if (!blobs_present(&b->registry->blobs, row->blob, row->bytes)) {
        b->info.left_out++;
        return 0;
    }
    return blob_list_add(&b->blobs, row->blob, row->bytes, NULL, e);
}

static int audit_start(struct registry *r, struct err *e)
{
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = audit_add(r->store, "backup.start", "", "", "", e) == 0;
    return store_end(r->store, done, e);
}

/* The writer's part: from here on the copy is what it is, and its blobs stay. */
static int copy_locked(struct backup *b, const char *path, struct err *e)
{
    struct registry *r = b->registry;
    if (gc_hold(r, e) != 0)
        return -1;
    b->held = true;
    /* Where nothing can be written any more, a copy of what is held is the only one. */
    if ((!store_replaced(r->store) && audit_start(r, e) != 0) || store_copy(r->store, path, e) != 0)
        return -1;
    if (catalog_visit_versions(&r->catalog, visit_version, b, e) != 0)
        return -1;
    return store_file_each(r->store, visit_file, b, e);
}

static int copy_database(struct backup *b, struct err *e)
{
    char *path = NULL;
    if (asprintf(&path, "%s/tmp/%s", b->registry->directory, b->copy) < 0)
        return err_memory(e);
    int result = writer_begin(b->registry, e);
    if (result == 0) {
        result = copy_locked(b, path, e);
        writer_end(b->registry);
    }
    free(path);
    return result;
}

static int hash_copy(struct backup *b, uint8_t digest[SHA256_BYTES], struct err *e)
{
    char block[READ_BYTES];
    struct stat status;
    struct sha256 hash;
    if (fstat(b->copy_fd, &status) != 0)
        return err_errno(e, "cannot look at the copy of the database");
    sha256_init(&hash);
    b->copy_bytes = (uint64_t)status.st_size;
    for (uint64_t at = 0, length; at < b->copy_bytes; at += length) {
        length = b->copy_bytes - at < sizeof block ? b->copy_bytes - at : sizeof block;
        if (file_pread(b->copy_fd, block, (size_t)length, at, e) != 0)
            return -1;
        sha256_update(&hash, block, (size_t)length);
    }
    sha256_final(&hash, digest);
    return 0;
}

static uint64_t archived(uint64_t size)
{
    return TAR_BLOCK + size + tar_padding(size);
}

/* In the format of sha256sum, so that it can check a backup, too. */
static int write_sums(struct backup *b, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    if (hash_copy(b, digest, e) != 0)
        return -1;
    hex_encode(digest, sizeof digest, hex);
    int failed = buf_printf(&b->sums, "%s  registry.db\n", hex);
    b->info.bytes = archived(b->copy_bytes) + TAR_END_BYTES;
    for (size_t i = 0; i < b->blobs.count && !failed; i++) {
        const char *name = b->blobs.items[i].digest;
        failed = buf_printf(&b->sums, "%s  blobs/sha256/%.2s/%s\n", name, name, name);
        b->info.bytes += archived(b->blobs.items[i].bytes);
    }
    b->info.bytes += archived(b->sums.length);
    b->info.blobs = b->blobs.count;
    return failed ? err_memory(e) : 0;
}

static int prepare(struct backup *b, struct err *e)
{
    b->copy_fd = blobs_temporary(&b->registry->blobs, b->copy, e);
    if (b->copy_fd < 0 || copy_database(b, e) != 0)
        return -1;
    blob_list_sort(&b->blobs);
    blob_list_unique(&b->blobs);
    return write_sums(b, e);
}

int backup_open(struct backup **out, struct registry *r, struct err *e)
{
    struct backup *b = calloc(1, sizeof *b);
    if (!b)
        return err_memory(e);
    b->registry = r;
    b->copy_fd = b->fd = -1;
    b->now = clock_unix_ms() / 1000;
    if (prepare(b, e) != 0) {
        backup_close(b);
        return -1;
    }
    *out = b;
    return 0;
}

const struct backup_info *backup_info(const struct backup *b)
{
    return &b->info;
}

void backup_close(struct backup *b)
{
    if (!b)
        return;
    if (b->held)
        gc_release(b->registry);
    if (b->copy_fd >= 0) {
        blobs_discard(&b->registry->blobs, b->copy);
        close(b->copy_fd);
    }
    if (b->fd >= 0 && b->fd != b->copy_fd)
        close(b->fd);
    blob_list_fini(&b->blobs);
    buf_fini(&b->sums);
    buf_fini(&b->pending);
    free(b);
}

/* ---- the archive ---- */

static int begin_entry(struct backup *b, const char *name, int fd, uint64_t size, struct err *e)
{
    char header[TAR_BLOCK];
    if (size > TAR_FILE_BYTES_MAX)
        return err_set(e, "internal_error", "%s has %llu bytes, more than an archive's entry can have", name,
                       (unsigned long long)size);
    tar_header(name, size, b->now, header);
    b->fd = fd;
    b->size = size;
    b->at = 0;
    return buf_append(&b->pending, header, sizeof header) == 0 ? 0 : err_memory(e);
}

static int pad(struct backup *b, size_t count, struct err *e)
{
    static const char zeros[TAR_END_BYTES];
    return buf_append(&b->pending, zeros, count) == 0 ? 0 : err_memory(e);
}

static int begin_sums(struct backup *b, struct err *e)
{
    if (begin_entry(b, "SHA256SUMS", -1, b->sums.length, e) != 0)
        return -1;
    if (buf_append(&b->pending, b->sums.data, b->sums.length) != 0)
        return err_memory(e);
    return pad(b, tar_padding(b->sums.length), e);
}

static int begin_blob(struct backup *b, const struct blob_entry *blob, struct err *e)
{
    char name[TAR_NAME_MAX + 1];
    snprintf(name, sizeof name, "blobs/sha256/%.2s/%s", blob->digest, blob->digest);
    int fd = blobs_open_blob(&b->registry->blobs, blob->digest, blob->bytes, e);
    return fd < 0 ? -1 : begin_entry(b, name, fd, blob->bytes, e);
}

/* Fill `pending`, and `fd` where a file follows; nothing at all behind the end. */
static int next_entry(struct backup *b, struct err *e)
{
    size_t i = b->entry++;
    if (i == 0)
        return begin_sums(b, e);
    if (i == 1)
        return begin_entry(b, "registry.db", b->copy_fd, b->copy_bytes, e);
    if (i < FIRST_BLOB + b->blobs.count)
        return begin_blob(b, &b->blobs.items[i - FIRST_BLOB], e);
    return i == FIRST_BLOB + b->blobs.count ? pad(b, TAR_END_BYTES, e) : 0;
}

static size_t take_pending(struct backup *b, char *out, size_t max)
{
    size_t count = b->pending.length - b->pending_sent;
    if (count > max)
        count = max;
    memcpy(out, b->pending.data + b->pending_sent, count);
    b->pending_sent += count;
    if (b->pending_sent == b->pending.length) {
        buf_clear(&b->pending);
        b->pending_sent = 0;
    }
    return count;
}

static int take_file(struct backup *b, char *out, size_t max, size_t *count, struct err *e)
{
    uint64_t left = b->size - b->at;
    *count = left < max ? (size_t)left : max;
    if (file_pread(b->fd, out, *count, b->at, e) != 0)
        return -1;
    b->at += *count;
    if (b->at < b->size)
        return 0;
    if (b->fd != b->copy_fd)
        close(b->fd);
    b->fd = -1;
    return pad(b, tar_padding(b->size), e);
}

int backup_read(struct backup *b, char *out, size_t max, size_t *count, struct err *e)
{
    size_t used = 0, end = FIRST_BLOB + b->blobs.count + 1;
    while (used < max) {
        size_t taken = 0;
        if (b->pending.length > 0)
            taken = take_pending(b, out + used, max - used);
        else if (b->fd >= 0) {
            if (take_file(b, out + used, max - used, &taken, e) != 0)
                return -1;
        } else if (b->entry == end)
            break;
        else if (next_entry(b, e) != 0)
            return -1;
        used += taken;
    }
    *count = used;
    return 0;
}
