#include "core/model/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/file.h"

enum { ALIGNMENT = 4096, HEADER_BYTES = 4096, CHUNK_BYTES = 8 << 20, PANELS_AT_ONCE = 64 };
static const char magic[] = "adapterd packed weights 2\n";

struct pack {
    char *memory; /* the block */
    size_t bytes;
    void *map; /* what munmap takes: the block, or the file around it */
    size_t map_bytes;
};

struct header {
    char magic[32];
    uint64_t bytes;
    uint8_t fingerprint[SHA256_BYTES];
    uint8_t hashes[SHA256_BYTES]; /* SHA-256 of the chunks' hashes */
};

/* ---- which layers ---- */

struct item {
    struct linear *linear;
    enum r16_bits bits;
    size_t offset;
};

struct plan {
    struct item *items; /* owned */
    size_t count, bytes;
    int panels; /* in all */
};

static void add_item(struct plan *p, struct linear *l, enum r16_bits bits)
{
    if (!l->weight.data)
        return;
    p->items[p->count++] = (struct item){l, bits, p->bytes};
    size_t bytes = r16_bytes(bits, l->weight.rows, l->weight.cols);
    p->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    p->panels += (l->weight.rows + R16_ROWS - 1) / R16_ROWS;
}

static int plan_items(struct plan *p, struct model *m, struct err *e)
{
    enum r16_bits bits = m->precision == PRECISION_INT4 ? R16_INT4 : R16_INT8;
    p->items = calloc((size_t)m->config.layers * 7 + 1, sizeof *p->items);
    if (!p->items)
        return err_memory(e);
    for (int i = 0; i < m->config.layers; i++) {
        struct layer *l = &m->layers[i];
        struct linear *all[] = {&l->qkv[0], &l->qkv[1], &l->qkv[2], &l->o, &l->gate, &l->up, &l->down};
        for (size_t j = 0; j < sizeof all / sizeof *all; j++)
            add_item(p, all[j], bits);
    }
    add_item(p, &m->lm_head, R16_INT8);
    return 0;
}

static void lay_views(const struct plan *p, const char *memory)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct matrix *w = &p->items[i].linear->weight;
        r16_view(&p->items[i].linear->packed, p->items[i].bits, w->rows, w->cols,
                 memory + p->items[i].offset);
    }
}

/* ---- packing ---- */

struct work {
    const struct plan *plan;
    struct weights *weights;
    const struct model_options *options;
    atomic_int done;
    atomic_size_t item;
    atomic_bool failed;
};

/* What is packed need not stay in memory beside its packed form. */
static void forget_rows(struct work *w, const struct matrix *m, int begin, int end)
{
    size_t row = (size_t)m->cols * dtype_size(m->dtype);
    if (end > m->rows)
        end = m->rows;
    if (!m->transposed)
        weights_forget(w->weights, (const char *)m->data + (size_t)begin * row, (size_t)(end - begin) * row);
    else if (end == m->rows)
        weights_forget(w->weights, m->data, (size_t)m->rows * row);
}

static void pack_layer(struct work *w, const struct linear *l, float *scratch, bool report)
{
    for (int panel = 0; panel < l->packed.panels; panel += PANELS_AT_ONCE) {
        int left = l->packed.panels - panel, count = left < PANELS_AT_ONCE ? left : PANELS_AT_ONCE;
        r16_pack(&l->packed, &l->weight, panel, panel + count, scratch);
        forget_rows(w, &l->weight, panel * R16_ROWS, (panel + count) * R16_ROWS);
        int done = atomic_fetch_add(&w->done, count) + count;
        if (report && w->options->progress)
            w->options->progress(w->options->progress_arg, (double)done / w->plan->panels);
    }
}

/* Workers take layers in turn. */
static void pack_layers(void *arg, int worker, int workers)
{
    (void)workers;
    struct work *w = arg;
    for (size_t i; (i = atomic_fetch_add(&w->item, 1)) < w->plan->count;) {
        const struct linear *l = w->plan->items[i].linear;
        float *scratch = malloc((size_t)l->weight.cols * sizeof *scratch);
        if (!scratch) {
            atomic_store(&w->failed, true);
            return;
        }
        pack_layer(w, l, scratch, worker == 0);
        free(scratch);
    }
}

static int pack_all(const struct plan *p, struct weights *weights, const struct model_options *o,
                    struct pool *pool, struct err *e)
{
    struct work w = {.plan = p, .weights = weights, .options = o};
    pool_run(pool, pack_layers, &w);
    return atomic_load(&w.failed) ? err_memory(e) : 0;
}

static int anonymous_block(struct pack *p, size_t bytes, struct err *e)
{
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED)
        return err_set(e, "out_of_memory", "cannot get %zu bytes of memory for packed weights", bytes);
    madvise(map, bytes, MADV_HUGEPAGE);
    *p = (struct pack){.memory = map, .bytes = bytes, .map = map, .map_bytes = bytes};
    return 0;
}

/* ---- the file ---- */

static size_t chunk_count(size_t bytes)
{
    return (bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
}

static size_t file_bytes(size_t bytes)
{
    return HEADER_BYTES + bytes + chunk_count(bytes) * SHA256_BYTES;
}

struct hashing {
    const char *memory;
    size_t bytes;
    uint8_t *out; /* [chunks, SHA256_BYTES] */
};

static void hash_chunks(void *arg, int worker, int workers)
{
    const struct hashing *h = arg;
    for (size_t i = (size_t)worker; i < chunk_count(h->bytes); i += (size_t)workers) {
        size_t start = i * CHUNK_BYTES, left = h->bytes - start;
        sha256_of(h->memory + start, left < CHUNK_BYTES ? left : CHUNK_BYTES, h->out + i * SHA256_BYTES);
    }
}

static void fill_header(struct header *out, const struct model *m, size_t bytes, const uint8_t *hashes)
{
    *out = (struct header){.bytes = bytes};
    memcpy(out->magic, magic, sizeof magic);
    memcpy(out->fingerprint, m->info.fingerprint, SHA256_BYTES);
    sha256_of(hashes, chunk_count(bytes) * SHA256_BYTES, out->hashes);
}

/* Is the mapped file what this model, packed by this program, looks like, to the last byte? */
static bool file_is_good(const struct model *m, const char *map, size_t bytes, struct pool *pool)
{
    size_t hash_bytes = chunk_count(bytes) * SHA256_BYTES;
    uint8_t *hashes = malloc(hash_bytes);
    struct header wanted;
    if (!hashes)
        return false;
    struct hashing h = {map + HEADER_BYTES, bytes, hashes};
    pool_run(pool, hash_chunks, &h);
    fill_header(&wanted, m, bytes, hashes);
    bool good = memcmp(&wanted, map, sizeof wanted) == 0 &&
                memcmp(hashes, map + HEADER_BYTES + bytes, hash_bytes) == 0;
    free(hashes);
    return good;
}

static bool map_file(struct pack *p, int fd, size_t bytes, int protection)
{
    void *map = mmap(NULL, file_bytes(bytes), protection, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return false;
    *p = (struct pack){
        .memory = (char *)map + HEADER_BYTES, .bytes = bytes, .map = map, .map_bytes = file_bytes(bytes)};
    return true;
}

static bool read_file(struct pack *p, const struct model *m, const char *path, size_t bytes,
                      struct pool *pool)
{
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = fstat(fd, &status) == 0 && (size_t)status.st_size == file_bytes(bytes) &&
                map_file(p, fd, bytes, PROT_READ);
    close(fd);
    if (good && !file_is_good(m, p->map, bytes, pool)) {
        munmap(p->map, p->map_bytes);
        *p = (struct pack){0};
        return false;
    }
    return good;
}

static int new_file(struct pack *p, const char *path, size_t bytes, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), result = 0;
    if (fd < 0)
        return err_errno(e, "cannot create %s", path);
    int failed = posix_fallocate(fd, 0, (off_t)file_bytes(bytes));
    if (failed) {
        errno = failed;
        result = err_errno(e, "cannot reserve %zu bytes for %s", file_bytes(bytes), path);
    } else if (!map_file(p, fd, bytes, PROT_READ | PROT_WRITE)) {
        result = err_errno(e, "cannot map %s", path);
    }
    close(fd);
    if (result != 0)
        unlink(path);
    return result;
}

/* The block is packed: add hashes and header, make it durable and give it its name. */
static int seal_file(struct pack *p, const struct model *m, const char *temporary, const char *path,
                     struct pool *pool, struct err *e)
{
    uint8_t *hashes = (uint8_t *)p->map + HEADER_BYTES + p->bytes;
    struct hashing h = {p->memory, p->bytes, hashes};
    pool_run(pool, hash_chunks, &h);
    fill_header(p->map, m, p->bytes, hashes);
    if (msync(p->map, p->map_bytes, MS_SYNC) != 0 || rename(temporary, path) != 0)
        return err_errno(e, "cannot keep %s", path);
    return mprotect(p->map, p->map_bytes, PROT_READ) == 0 ? 0 : err_errno(e, "cannot protect packed weights");
}

/* ---- the whole ---- */

static int write_cache(struct pack *p, struct model *m, const struct plan *plan,
                       const struct model_options *o, const char *path, struct pool *pool, struct err *e)
{
    char temporary[4200];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    if (file_make_directories(o->packed_cache, e) != 0 || new_file(p, temporary, plan->bytes, e) != 0)
        return -1;
    lay_views(plan, p->memory);
    int result = pack_all(plan, m->weights, o, pool, e);
    if (result == 0)
        result = seal_file(p, m, temporary, path, pool, e);
    if (result != 0) {
        unlink(temporary);
        munmap(p->map, p->map_bytes);
        *p = (struct pack){0};
    }
    return result;
}

static int fill_pack(struct pack *p, struct model *m, const struct plan *plan, const struct model_options *o,
                     struct pool *pool, struct err *e)
{
    char path[4100], fingerprint[SHA256_HEX + 1];
    hex_encode(m->info.fingerprint, SHA256_BYTES, fingerprint);
    snprintf(m->info.packed_state, sizeof m->info.packed_state, "in memory");
    if (o->packed_cache) {
        snprintf(path, sizeof path, "%s/%s-%s", o->packed_cache, fingerprint,
                 m->precision == PRECISION_INT4 ? "int4" : "int8");
        if (read_file(p, m, path, plan->bytes, pool)) {
            snprintf(m->info.packed_state, sizeof m->info.packed_state, "mapped from the cache");
            lay_views(plan, p->memory);
            return 0;
        }
        struct err why;
        if (write_cache(p, m, plan, o, path, pool, &why) == 0) {
            snprintf(m->info.packed_state, sizeof m->info.packed_state, "packed and kept in the cache");
            return 0;
        }
        snprintf(m->info.packed_state, sizeof m->info.packed_state,
                 "in memory, the cache cannot be written: %.150s", why.message);
    }
    if (anonymous_block(p, plan->bytes, e) != 0)
        return -1;
    lay_views(plan, p->memory);
    return pack_all(plan, m->weights, o, pool, e);
}

int pack_model(struct model *m, const struct model_options *o, struct err *e)
{
    struct plan plan = {0};
    struct pool *pool = NULL;
    if (m->info.numeric) {
        err_set(e, "precision_unsupported", "a numeric model is computed in precision exact only");
        return err_param(e, "precision");
    }
    m->pack = calloc(1, sizeof *m->pack);
    int result = m->pack ? plan_items(&plan, m, e) : err_memory(e);
    if (result == 0)
        result = pool_new(&pool, o->threads, e);
    if (result == 0)
        result = fill_pack(m->pack, m, &plan, o, pool, e);
    m->info.packed_bytes = plan.bytes;
    pool_free(pool);
    free(plan.items);
    if (result == 0 && m->config.tied)
        m->embed.packed = &m->lm_head.packed;
    if (result == 0)
        weights_forget_all(m->weights);
    return result;
}

void pack_free(struct pack *p)
{
    if (p && p->map)
        munmap(p->map, p->map_bytes);
    free(p);
}
