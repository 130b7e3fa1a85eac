#include "tests/fault/power/disk.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/system/file.h"

enum { PAGE = 4096, SECTOR = 512, PATH_BYTES = 512, DEPTH_MAX = 8 };

struct entry {
    char name[OP_NAME_BYTES];
    int object;
};

/* What of one file or directory is on the disk, and the operations that need not be. */
struct node {
    bool is_directory, owes;
    struct buf bytes;
    struct entry *entries; /* owned */
    size_t entry_count;
    size_t *pending; /* owned: numbers of operations */
    size_t pending_count;
};

struct disk {
    const struct oplog *log;
    size_t at;
    int omitted;
    struct node *nodes; /* by object */
};

static void *grow(void *list, size_t count, size_t size)
{
    if (count & (count - 1)) /* full at powers of two */
        return list;
    void *larger = realloc(list, (count ? 2 * count : 1) * size);
    if (!larger)
        abort();
    return larger;
}

/* ---- applying one operation ---- */

static void set_size(struct buf *b, size_t size)
{
    if (size > b->length) {
        if (buf_reserve(b, size - b->length) != 0)
            abort();
        memset(b->data + b->length, 0, size - b->length);
    }
    b->length = size;
}

static void put_bytes(struct buf *b, const uint8_t *data, size_t length, size_t offset)
{
    if (offset + length > b->length)
        set_size(b, offset + length);
    memcpy(b->data + offset, data, length);
}

static void remove_entry(struct node *n, const char *name)
{
    for (size_t i = 0; i < n->entry_count; i++)
        if (strcmp(n->entries[i].name, name) == 0) {
            n->entries[i] = n->entries[--n->entry_count];
            n->entries[n->entry_count] = (struct entry){.object = -1};
            return;
        }
}

static void add_entry(struct node *n, const char *name, int object)
{
    remove_entry(n, name);
    n->entries = grow(n->entries, n->entry_count, sizeof *n->entries);
    struct entry *added = &n->entries[n->entry_count++];
    added->object = object;
    strcpy(added->name, name);
}

static void apply_entry(struct node *n, const struct op *op)
{
    if (op->kind == OP_MOVE)
        remove_entry(n, op->from);
    if (op->kind == OP_REMOVE)
        remove_entry(n, op->name);
    else
        add_entry(n, op->name, op->object);
}

static void apply_bytes(struct buf *b, const struct op *op)
{
    if (op->kind == OP_WRITE)
        put_bytes(b, op->data, op->length, op->offset);
    else
        set_size(b, op->offset);
}

/* ---- the log ---- */

static void settle(struct disk *d, struct node *n)
{
    for (size_t i = 0; i < n->pending_count; i++) {
        const struct op *op = &d->log->ops[n->pending[i]];
        if (n->is_directory)
            apply_entry(n, op);
        else
            apply_bytes(&n->bytes, op);
    }
    n->pending_count = 0;
    n->owes = false;
}

static void add_pending(struct disk *d, struct node *n)
{
    n->pending = grow(n->pending, n->pending_count, sizeof *n->pending);
    n->pending[n->pending_count++] = d->at;
}

bool disk_step(struct disk *d)
{
    if (d->at == d->log->count)
        return false;
    const struct op *op = &d->log->ops[d->at];
    switch (op->kind) {
    case OP_ADD:
        d->nodes[op->object].is_directory = op->is_directory;
        add_pending(d, &d->nodes[op->directory]);
        break;
    case OP_REMOVE:
    case OP_MOVE:
        add_pending(d, &d->nodes[op->directory]);
        break;
    case OP_WRITE:
    case OP_TRUNCATE:
        add_pending(d, &d->nodes[op->object]);
        break;
    case OP_SYNC:
        if (op->site == d->omitted)
            d->nodes[op->object].owes = d->nodes[op->object].pending_count > 0;
        else
            settle(d, &d->nodes[op->object]);
        break;
    default:
        break;
    }
    d->at++;
    return true;
}

struct disk *disk_new(const struct oplog *log, int omitted)
{
    struct disk *d = calloc(1, sizeof *d);
    if (!d)
        abort();
    *d = (struct disk){
        .log = log, .omitted = omitted, .nodes = calloc((size_t)log->objects, sizeof *d->nodes)};
    if (!d->nodes)
        abort();
    d->nodes[0].is_directory = true;
    while (d->at < log->base)
        disk_step(d);
    for (int i = 0; i < log->objects; i++)
        settle(d, &d->nodes[i]);
    return d;
}

void disk_free(struct disk *d)
{
    for (int i = 0; i < d->log->objects; i++) {
        buf_fini(&d->nodes[i].bytes);
        free(d->nodes[i].entries);
        free(d->nodes[i].pending);
    }
    free(d->nodes);
    free(d);
}

size_t disk_at(const struct disk *d)
{
    return d->at;
}

bool disk_owes(const struct disk *d)
{
    for (int i = 0; i < d->log->objects; i++)
        if (d->nodes[i].owes)
            return true;
    return false;
}

/* ---- a crash ---- */

struct crash {
    const struct disk *disk;
    struct chance chance;
    struct buf *image;
};

static bool happens(struct crash *c, unsigned percent)
{
    uint64_t *s = &c->chance.seed;
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (*s >> 33) % 100 < percent;
}

/* One page of a write that was not synced. */
static void crash_page(struct crash *c, struct buf *b, const uint8_t *data, size_t length, size_t offset)
{
    if (happens(c, c->chance.bytes)) {
        put_bytes(b, data, length, offset);
    } else if (happens(c, c->chance.torn)) {
        size_t sectors = (length + SECTOR - 1) / SECTOR, kept = SECTOR - offset % SECTOR;
        while (sectors-- > 1 && happens(c, 50))
            kept += SECTOR;
        put_bytes(b, data, kept < length ? kept : length, offset);
    } else if (happens(c, c->chance.zeros) && offset + length > b->length) {
        set_size(b, offset + length);
    }
}

static void crash_write(struct crash *c, struct buf *b, const struct op *op)
{
    for (size_t done = 0; done < op->length;) {
        size_t offset = op->offset + done, room = PAGE - offset % PAGE;
        size_t length = op->length - done < room ? op->length - done : room;
        crash_page(c, b, op->data + done, length, offset);
        done += length;
    }
}

static void crash_file(struct crash *c, const struct node *n, struct buf *b)
{
    if (buf_append(b, n->bytes.data, n->bytes.length) != 0)
        abort();
    for (size_t i = 0; i < n->pending_count; i++) {
        const struct op *op = &c->disk->log->ops[n->pending[i]];
        if (op->kind == OP_WRITE)
            crash_write(c, b, op);
        else if (happens(c, c->chance.bytes))
            apply_bytes(b, op);
    }
}

static int by_name(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return strcmp(x->name, y->name);
}

/* The entries that are there, in order of their names. */
static struct node crash_entries(struct crash *c, const struct node *n)
{
    struct node there = {.is_directory = true};
    for (size_t i = 0; i < n->entry_count; i++)
        add_entry(&there, n->entries[i].name, n->entries[i].object);
    for (size_t i = 0; i < n->pending_count; i++)
        if (c->chance.newest ? i + 1 == n->pending_count : happens(c, c->chance.entries))
            apply_entry(&there, &c->disk->log->ops[n->pending[i]]);
    if (there.entry_count > 0)
        qsort(there.entries, there.entry_count, sizeof *there.entries, by_name);
    return there;
}

struct record { /* in an image: this, the path, the bytes */
    bool is_directory;
    size_t path, bytes;
};

static void put_record(struct crash *c, const char *path, bool is_directory, const struct buf *bytes)
{
    struct record r;
    memset(&r, 0, sizeof r); /* what lies between the fields, too: images are compared */
    r.is_directory = is_directory;
    r.path = strlen(path) + 1;
    r.bytes = bytes->length;
    if (buf_append(c->image, &r, sizeof r) != 0 || buf_append(c->image, path, r.path) != 0 ||
        buf_append(c->image, bytes->data, r.bytes) != 0)
        abort();
}

static void crash_node(struct crash *c, int object, const char *path, int depth)
{
    const struct node *n = &c->disk->nodes[object];
    struct buf bytes = {0};
    if (depth > DEPTH_MAX)
        abort();
    if (!n->is_directory)
        crash_file(c, n, &bytes);
    if (depth > 0)
        put_record(c, path, n->is_directory, &bytes);
    buf_fini(&bytes);
    if (!n->is_directory)
        return;
    struct node there = crash_entries(c, n);
    for (size_t i = 0; i < there.entry_count; i++) {
        char below[PATH_BYTES];
        snprintf(below, sizeof below, "%s/%s", path, there.entries[i].name);
        crash_node(c, there.entries[i].object, below, depth + 1);
    }
    free(there.entries);
}

void disk_crash(const struct disk *d, const struct chance *chance, struct buf *image)
{
    struct crash c = {.disk = d, .chance = *chance, .image = image};
    crash_node(&c, 0, "", 0);
}

/* ---- images ---- */

/* The record at *at, which moves behind it; false at the end. */
static bool next_record(const struct buf *image, size_t *at, struct record *r, const char **path,
                        const char **bytes)
{
    if (*at == image->length)
        return false;
    memcpy(r, image->data + *at, sizeof *r);
    *path = image->data + *at + sizeof *r;
    *bytes = *path + r->path;
    *at += sizeof *r + r->path + r->bytes;
    return true;
}

const char *disk_next_path(const struct buf *image, size_t *at)
{
    struct record r;
    const char *path, *bytes;
    return next_record(image, at, &r, &path, &bytes) ? path : NULL;
}

static void write_record(const struct record *r, const char *path, const char *bytes)
{
    struct err e;
    int fd = r->is_directory ? mkdir(path, 0700) : open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 || (!r->is_directory && file_write_all(fd, bytes, r->bytes, &e) != 0)) {
        perror(path);
        abort();
    }
    if (!r->is_directory)
        close(fd);
}

void disk_write(const struct buf *image, const char *directory)
{
    struct record r;
    const char *path, *bytes;
    for (size_t at = 0; next_record(image, &at, &r, &path, &bytes);) {
        char full[2 * PATH_BYTES];
        snprintf(full, sizeof full, "%s%s", directory, path);
        write_record(&r, full, bytes);
    }
}

bool disk_matches(const struct disk *d, const char *directory)
{
    struct buf expected = {0}, found = {0};
    recorder_begin(directory);
    struct oplog *log = recorder_end();
    struct disk *present = disk_new(log, -1);
    const struct chance all = {.entries = 100, .bytes = 100};
    disk_crash(d, &all, &expected);
    disk_crash(present, &all, &found);
    bool same = expected.length == found.length && memcmp(expected.data, found.data, found.length) == 0;
    buf_fini(&expected);
    buf_fini(&found);
    disk_free(present);
    oplog_free(log);
    return same;
}
