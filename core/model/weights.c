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

enum { HEADER_LIMIT = 64 << 20, INDEX_LIMIT = 64 << 20, SHARDS_MAX = 1000, SAMPLE_BYTES = 256 };

struct shard {
    char *name; /* owned */
    struct safetensors *file;
    unsigned char *map;
    size_t map_bytes;
    unsigned char *
        *copies;          /* [tensors] aligned copies of tensors that the file does not align; mostly NULL */
    unsigned char *taken; /* [tensors] */
};

struct weights {
    struct shard *shards; /* owned */
    size_t count;
};

static void shard_close(struct shard *s)
{
    for (size_t i = 0; s->copies && i < safetensors_count(s->file); i++)
        free(s->copies[i]);
    if (s->map)
        munmap(s->map, s->map_bytes);
    safetensors_close(s->file);
    free(s->copies);
    free(s->taken);
    free(s->name);
}

void weights_close(struct weights *w)
{
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++)
        shard_close(&w->shards[i]);
    free(w->shards);
    free(w);
}

/* A tensor whose file leaves it unaligned gets a copy of its own, so that all data can be read as numbers. */
static int align_tensors(struct shard *s, struct err *e)
{
    size_t count = safetensors_count(s->file);
    s->copies = calloc(count + 1, sizeof *s->copies);
    s->taken = calloc(count + 1, 1);
    if (!s->copies || !s->taken)
        return err_memory(e);
    for (size_t i = 0; i < count; i++) {
        const struct tensor *t = safetensors_at(s->file, i);
        if (t->offset % dtype_size(t->dtype) == 0)
            continue;
        s->copies[i] = malloc(t->bytes + 1);
        if (!s->copies[i])
            return err_memory(e);
        memcpy(s->copies[i], s->map + t->offset, t->bytes);
    }
    return 0;
}

static int map_shard(struct shard *s, int fd, struct err *e)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return err_errno(e, "cannot look at %s", s->name);
    if (safetensors_open(&s->file, fd, HEADER_LIMIT, e) != 0)
        return -1;
    s->map_bytes = (size_t)status.st_size;
    void *map = mmap(NULL, s->map_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return err_errno(e, "cannot map %s", s->name);
    s->map = map;
    return align_tensors(s, e);
}

static int open_shard(struct shard *s, const char *directory, const char *name, struct err *e)
{
    char *path = file_join(directory, name);
    s->name = strdup(name);
    if (!path || !s->name) {
        free(path);
        return err_memory(e);
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC), result;
    if (fd < 0) {
        result = err_errno(e, "cannot open %s", path);
        err_hint(e,
                 "Weights are read from model.safetensors or model.safetensors.index.json and its shards.");
    } else {
        result = map_shard(s, fd, e);
        close(fd);
    }
    if (result != 0) {
        struct err inner = *e;
        err_set(e, inner.code, "%.100s: %.380s", name, inner.message);
        err_hint(e, "%s", inner.hint);
    }
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

int weights_open(struct weights **out, const char *directory, struct err *e)
{
    struct weights *w = calloc(1, sizeof *w);
    if (!w)
        return err_memory(e);
    if (open_files(w, directory, e) != 0) {
        weights_close(w);
        return -1;
    }
    *out = w;
    return 0;
}

static const unsigned char *tensor_data(const struct shard *s, size_t index, const struct tensor *t)
{
    return s->copies[index] ? s->copies[index] : s->map + t->offset;
}

static const struct tensor *look_up(struct weights *w, const char *name, const void **data, bool take)
{
    for (size_t i = 0; i < w->count; i++) {
        struct shard *s = &w->shards[i];
        const struct tensor *t = safetensors_find(s->file, name);
        if (!t)
            continue;
        size_t index = (size_t)(t - safetensors_at(s->file, 0));
        *data = tensor_data(s, index, t);
        if (take)
            s->taken[index] = 1;
        return t;
    }
    return NULL;
}

const struct tensor *weights_find(struct weights *w, const char *name, const void **data)
{
    return look_up(w, name, data, false);
}

const struct tensor *weights_take(struct weights *w, const char *name, const void **data)
{
    return look_up(w, name, data, true);
}

const char *weights_left(const struct weights *w, int (*may_be_left)(const char *name))
{
    for (size_t i = 0; i < w->count; i++)
        for (size_t j = 0; j < safetensors_count(w->shards[i].file); j++) {
            const char *name = safetensors_at(w->shards[i].file, j)->name;
            if (!w->shards[i].taken[j] && !may_be_left(name))
                return name;
        }
    return NULL;
}

uint64_t weights_bytes(const struct weights *w)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < w->count; i++)
        for (size_t j = 0; j < safetensors_count(w->shards[i].file); j++)
            bytes += safetensors_at(w->shards[i].file, j)->bytes;
    return bytes;
}

int64_t weights_parameters(const struct weights *w)
{
    int64_t elements = 0;
    for (size_t i = 0; i < w->count; i++)
        for (size_t j = 0; j < safetensors_count(w->shards[i].file); j++)
            elements += tensor_elements(safetensors_at(w->shards[i].file, j));
    return elements;
}

static void hash_tensor(struct sha256 *hash, const struct tensor *t, const unsigned char *data)
{
    sha256_update(hash, t->name, strlen(t->name) + 1);
    sha256_update(hash, &t->dtype, sizeof t->dtype);
    sha256_update(hash, t->shape, (size_t)t->dimensions * sizeof *t->shape);
    for (int third = 0; third < 3; third++) {
        uint64_t start = t->bytes / 3 * (uint64_t)third;
        uint64_t length = t->bytes - start < SAMPLE_BYTES ? t->bytes - start : SAMPLE_BYTES;
        sha256_update(hash, data + start, length);
    }
}

/* Only whole pages, and only of the map: a tensor that was copied lives on the heap. */
void weights_forget(struct weights *w, const void *data, size_t bytes)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), begin = (uintptr_t)data, end = begin + bytes;
    for (size_t i = 0; i < w->count; i++) {
        uintptr_t map = (uintptr_t)w->shards[i].map;
        if (begin < map || end > map + w->shards[i].map_bytes)
            continue;
        begin = (begin + page - 1) / page * page;
        end = end / page * page;
        if (begin < end)
            madvise((void *)begin, end - begin, MADV_DONTNEED);
        return;
    }
}

void weights_forget_all(struct weights *w)
{
    for (size_t i = 0; i < w->count; i++)
        madvise(w->shards[i].map, w->shards[i].map_bytes, MADV_DONTNEED);
}

void weights_fingerprint(struct weights *w, uint8_t out[SHA256_BYTES])
{
    struct sha256 hash;
    sha256_init(&hash);
    for (size_t i = 0; i < w->count; i++)
        for (size_t j = 0; j < safetensors_count(w->shards[i].file); j++) {
            const struct tensor *t = safetensors_at(w->shards[i].file, j);
            hash_tensor(&hash, t, tensor_data(&w->shards[i], j, t));
            weights_forget(w, tensor_data(&w->shards[i], j, t),
                           t->bytes); /* a sample brings whole stretches with it */
        }
    sha256_final(&hash, out);
}
