#include "core/model/weights.h"

#include <fcntl.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/format/filetype.h"
#include "core/system/file.h"

enum { HEADER_LIMIT = 64 << 20, INDEX_LIMIT = 64 << 20, SHARDS_MAX = 1000 };

/* One file. */
struct shard {
    char *name; /* owned */
    int fd;
    struct stat status; /* when it was opened */
    struct safetensors *file;
};

struct entry {
    const struct tensor *tensor;
    const struct shard *shard;
    uint64_t place; /* where its bytes begin in the memory of all */
    bool taken, kept;
};

struct weights {
    struct shard *shards; /* owned */
    size_t count;
    struct entry *entries; /* owned, by name */
    size_t entry_count;
    unsigned char *memory; /* owned: a place for every tensor, each from a page's begin */
    uint64_t bytes;        /* of it */
};

static void shard_close(struct shard *s)
{
    safetensors_close(s->file);
    if (s->fd >= 0)
        close(s->fd);
    free(s->name);
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++)
        shard_close(&w->shards[i]);
    if (w->memory)
        munmap(w->memory, w->bytes);
    free(w->shards);
    free(w->entries);
    free(w);
}

/* ---- opening ---- */

static int read_header(struct shard *s, const char *path, struct err *e)
{
    s->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (s->fd < 0) {
        err_errno(e, "cannot open %s", path);
        return err_hint(
            e, "Weights are read from model.safetensors or model.safetensors.index.json and its shards.");
    }
    if (fstat(s->fd, &s->status) != 0)
        return err_errno(e, "cannot look at %s", s->name);
    return safetensors_open(&s->file, s->fd, HEADER_LIMIT, e);
}

/* Name the file in an error about it. */
static int in_shard(const struct shard *s, struct err *e)
{
    struct err inner = *e;
    err_set(e, inner.code, "%.100s: %.380s", s->name, inner.message);
    return err_hint(e, "%s", inner.hint);
}

static int open_shard(struct shard *s, const char *directory, const char *name, struct err *e)
{
    char *path = file_join(directory, name);
    s->fd = -1;
    s->name = strdup(name);
    int result = path && s->name ? 0 : err_memory(e);
    if (result == 0 && read_header(s, path, e) != 0)
        result = in_shard(s, e);
    free(path);
    return result;
}

static int add_shard(struct weights *w, const char *directory, const char *name, struct err *e)
{
    for (size_t i = 0; i < w->count; i++)
        if (strcmp(w->shards[i].name, name) == 0)
            return 0;
    if (!name[0] || strchr(name, '/') || name[0] == '.' || w->count == SHARDS_MAX)
        return err_set(e, "model_malformed",
                       "model.safetensors.index.json: %.100s is not the name of a shard", name);
    struct shard *shards = realloc(w->shards, (w->count + 1) * sizeof *shards);
    if (!shards)
        return err_memory(e);
    w->shards = shards;
    w->shards[w->count] = (struct shard){0};
    return open_shard(&w->shards[w->count++], directory, name, e);
}

/* Every tensor of the index must be in the shard it names. */
static int check_index(struct weights *w, const json_t *map, struct err *e)
{
    const char *tensor;
    json_t *file;
    json_object_foreach((json_t *)map, tensor, file)
    {
        bool found = false;
        for (size_t i = 0; i < w->count && !found; i++)
            found = strcmp(w->shards[i].name, json_string_value(file)) == 0 &&
                    safetensors_find(w->shards[i].file, tensor);
        if (!found)
            return err_set(e, "model_malformed", "model.safetensors.index.json: %.200s is not in %.100s",
                           tensor, json_string_value(file));
    }
    return 0;
}

static int open_index(struct weights *w, const char *directory, const struct buf *text, struct err *e)
{
    json_error_t error;
    json_t *root = json_loadb(text->data, text->length, JSON_REJECT_DUPLICATES, &error), *file;
    const json_t *map = json_object_get(root, "weight_map");
    const char *tensor;
    int result = 0;
    if (!json_is_object(map) || json_object_size(map) == 0)
        result = err_set(e, "model_malformed", "model.safetensors.index.json has no weight_map");
    json_object_foreach((json_t *)map, tensor, file)
    {
        if (result == 0 && !json_is_string(file))
            result = err_set(e, "model_malformed",
                             "model.safetensors.index.json: the shard of %.200s is no name", tensor);
        if (result == 0)
            result = add_shard(w, directory, json_string_value(file), e);
    }
    if (result == 0)
        result = check_index(w, map, e);
    json_decref(root);
    return result;
}

/* Only a torch checkpoint there: say so, rather than that a file is missing. */
static int refuse_pickle(const char *directory, struct err *e)
{
    static const char *const names[] = {"pytorch_model.bin", "pytorch_model.bin.index.json"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *path = file_join(directory, names[i]);
        if (!path)
            return err_memory(e);
        int result = file_exists(path) ? filetype_refuse_pickle(path, e) : 0;
        free(path);
        if (result != 0)
            return result;
    }
    return 0;
}

static int open_single(struct weights *w, const char *directory, struct err *e)
{
    char *path = file_join(directory, "model.safetensors");
    if (!path)
        return err_memory(e);
    bool there = file_exists(path);
    free(path);
    if (!there && refuse_pickle(directory, e) != 0)
        return -1;
    return add_shard(w, directory, "model.safetensors", e);
}

static int open_files(struct weights *w, const char *directory, struct err *e)
{
    char *index = file_join(directory, "model.safetensors.index.json");
    if (!index)
        return err_memory(e);
    struct buf text = {0};
    int result;
    if (!file_exists(index))
        result = open_single(w, directory, e);
    else if ((result = file_read(index, INDEX_LIMIT, &text, e)) == 0)
        result = open_index(w, directory, &text, e);
    buf_fini(&text);
    free(index);
    return result;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct entry *)a)->tensor->name, ((const struct entry *)b)->tensor->name);
}

static int list_tensors(struct weights *w, struct err *e)
{
    for (size_t i = 0; i < w->count; i++)
        w->entry_count += safetensors_count(w->shards[i].file);
    w->entries = calloc(w->entry_count + 1, sizeof *w->entries);
    if (!w->entries)
        return err_memory(e);
    struct entry *next = w->entries;
    for (size_t i = 0; i < w->count; i++)
        for (size_t j = 0; j < safetensors_count(w->shards[i].file); j++)
            *next++ = (struct entry){.tensor = safetensors_at(w->shards[i].file, j), .shard = &w->shards[i]};
    qsort(w->entries, w->entry_count, sizeof *w->entries, by_name);
    return 0;
}

static uint64_t page_bytes(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

/* A place for every tensor, which costs nothing yet. Nobody can look there before something was brought: what
 * somebody forgot to bring is no silent zero. */
static int reserve(struct weights *w, struct err *e)
{
    uint64_t page = page_bytes();
    for (size_t i = 0; i < w->entry_count; i++) {
        struct entry *entry = &w->entries[i];
        entry->place = w->bytes;
        w->bytes += (entry->tensor->bytes + page - 1) / page * page;
    }
    w->bytes += page; /* also of a model without weights */
    void *memory = mmap(NULL, w->bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return err_set(e, "out_of_memory", "cannot get %llu bytes of addresses for the weights",
                       (unsigned long long)w->bytes);
    w->memory = memory;
    return 0;
}

int weights_open(struct weights **out, const char *directory, struct err *e)
{
    struct weights *w = calloc(1, sizeof *w);
    if (!w)
        return err_memory(e);
    if (open_files(w, directory, e) != 0 || list_tensors(w, e) != 0 || reserve(w, e) != 0) {
        weights_close(w);
        return -1;
    }
    *out = w;
    return 0;
}

/* ---- tensors ---- */

size_t weights_count(const struct weights *w)
{
    return w->entry_count;
}

const struct tensor *weights_at(const struct weights *w, size_t index)
{
    return w->entries[index].tensor;
}

static int named(const void *name, const void *entry)
{
    return strcmp(name, ((const struct entry *)entry)->tensor->name);
}

const struct tensor *weights_find(const struct weights *w, const char *name)
{
    const struct entry *entry = bsearch(name, w->entries, w->entry_count, sizeof *w->entries, named);
    return entry ? entry->tensor : NULL;
}

/* Of a tensor that weights_find or weights_at gave. A name that is in two files is there twice. */
static struct entry *entry_of(const struct weights *w, const struct tensor *t)
{
    struct entry *entry = bsearch(t->name, w->entries, w->entry_count, sizeof *w->entries, named);
    while (entry > w->entries && by_name(entry - 1, entry) == 0)
        entry--;
    while (entry->tensor != t)
        entry++;
    return entry;
}

const struct tensor *weights_take(struct weights *w, const char *name)
{
    const struct tensor *t = weights_find(w, name);
    if (t)
        entry_of(w, t)->taken = true;
    return t;
}

const char *weights_left(const struct weights *w, bool (*may_be_left)(const void *arg, const char *name),
                         const void *arg)
{
    for (size_t i = 0; i < w->entry_count; i++) {
        const struct entry *entry = &w->entries[i];
        if (!entry->taken && !may_be_left(arg, entry->tensor->name))
            return entry->tensor->name;
    }
    return NULL;
}

uint64_t weights_bytes(const struct weights *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->entry_count; i++)
        bytes += w->entries[i].tensor->bytes;
    return bytes;
}

int64_t weights_parameters(const struct weights *w)
{
    int64_t elements = 0;
    for (size_t i = 0; i < w->entry_count; i++)
        elements += tensor_elements(w->entries[i].tensor);
    return elements;
}

/* ---- files that change ---- */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Links and permissions may change: the bytes stay what they are. */
static int check_unchanged(const struct shard *s, struct err *e)
{
    struct stat now;
    if (fstat(s->fd, &now) != 0)
        return err_errno(e, "cannot look at %s", s->name);
    if (now.st_size == s->status.st_size && same_time(&now.st_mtim, &s->status.st_mtim))
        return 0;
    err_set(e, "io_error", "%.100s has changed since it was opened", s->name);
    return err_hint(e, "Start the daemon again once the model's files are whole.");
}

/* ---- which files these are ---- */

int weights_describe(const struct weights *w, struct buf *out, struct err *e)
{
    for (size_t i = 0; i < w->count; i++) {
        const struct stat *s = &w->shards[i].status;
        if (buf_printf(out, "%s %llu bytes, inode %llu, written %lld.%09ld, changed %lld.%09ld\n",
                       w->shards[i].name, (unsigned long long)s->st_size, (unsigned long long)s->st_ino,
                       (long long)s->st_mtim.tv_sec, s->st_mtim.tv_nsec, (long long)s->st_ctim.tv_sec,
                       s->st_ctim.tv_nsec) != 0)
            return err_memory(e);
    }
    return 0;
}

int64_t weights_changed_s(const struct weights *w)
{
    int64_t latest = 0;
    for (size_t i = 0; i < w->count; i++)
        if (w->shards[i].status.st_ctim.tv_sec > latest)
            latest = w->shards[i].status.st_ctim.tv_sec;
    return latest;
}

/* ---- reading ---- */

static int read_part(const struct entry *entry, struct stretch part, void *out, struct err *e)
{
    const struct shard *s = entry->shard;
    if (file_pread(s->fd, out, part.bytes, entry->tensor->offset + part.at, e) == 0)
        return 0;
    return in_shard(s, e);
}

int weights_read(const struct weights *w, const struct tensor *t, struct stretch part, void *out,
                 struct err *e)
{
    const struct entry *entry = entry_of(w, t);
    return check_unchanged(entry->shard, e) == 0 ? read_part(entry, part, out, e) : -1;
}

/* ---- places ---- */

static unsigned char *place_of(const struct weights *w, const struct entry *entry)
{
    return w->memory + entry->place;
}

const void *weights_place(const struct weights *w, const struct tensor *t)
{
    return place_of(w, entry_of(w, t));
}

/* Make the pages of a part readable and writable. */
static int open_pages(unsigned char *place, struct stretch part, struct err *e)
{
    uint64_t page = page_bytes(), begin = part.at / page * page;
    if (part.bytes == 0 || mprotect(place + begin, part.at + part.bytes - begin, PROT_READ | PROT_WRITE) == 0)
        return 0;
    return err_set(e, "out_of_memory", "cannot get %llu bytes of memory for weights",
                   (unsigned long long)part.bytes);
}

int weights_keep(struct weights *w, const struct tensor *t, struct err *e)
{
    struct entry *entry = entry_of(w, t);
    entry->kept = true;
    if (open_pages(place_of(w, entry), (struct stretch){0, t->bytes}, e) != 0)
        return -1;
    if (t->bytes)
        madvise(place_of(w, entry), t->bytes, MADV_HUGEPAGE); /* a wish: it works without */
    return 0;
}

bool weights_is_kept(const struct weights *w, const struct tensor *t)
{
    return entry_of(w, t)->kept;
}

int weights_bring(struct weights *w, const struct tensor *t, struct stretch part, struct err *e)
{
    const struct entry *entry = entry_of(w, t);
    unsigned char *place = place_of(w, entry);
    if (!entry->kept && open_pages(place, part, e) != 0)
        return -1;
    return read_part(entry, part, place + part.at, e);
}

void weights_forget(struct weights *w, const struct tensor *t, struct stretch part)
{
    const struct entry *entry = entry_of(w, t);
    uint64_t page = page_bytes(), begin = (part.at + page - 1) / page * page,
             end = (part.at + part.bytes) / page * page;
    if (!entry->kept && begin < end)
        madvise(place_of(w, entry) + begin, end - begin, MADV_DONTNEED);
}

/* Kept: read-only from now on. Otherwise as it was before anything was brought. */
static int seal_tensor(const struct weights *w, const struct entry *entry, struct err *e)
{
    unsigned char *place = place_of(w, entry);
    uint64_t page = page_bytes(), bytes = (entry->tensor->bytes + page - 1) / page * page;
    const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
    bool sealed = bytes == 0 || (entry->kept ? mprotect(place, bytes, PROT_READ) == 0
                                             : mmap(place, bytes, PROT_NONE, flags, -1, 0) != MAP_FAILED);
    return sealed ? 0 : err_errno(e, "cannot protect the weights");
}

int weights_seal(struct weights *w, struct err *e)
{
    for (size_t i = 0; i < w->count; i++)
        if (check_unchanged(&w->shards[i], e) != 0)
            return -1;
    for (size_t i = 0; i < w->entry_count; i++)
        if (seal_tensor(w, &w->entries[i], e) != 0)
            return -1;
    return 0;
}
