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

#include "core/model/weights.h"
#include "core/system/file.h"
#include "core/system/pool.h"

enum { ALIGNMENT = 4096, HEADER_BYTES = 4096, CHUNK_BYTES = 8 << 20, PANELS_AT_ONCE = 64 };
static const char magic[] = "adapterd packed weights 2\n";

struct pack {
    char *memory; /* the block */
    size_t bytes;
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
    enum qgemm_bits bits;
    size_t offset;
};

struct plan {
    struct item *items; /* owned */
    size_t count, bytes;
    int panels; /* in all */
};

static void add_item(struct plan *p, struct linear *l, enum qgemm_bits bits)
{
    if (!l->weight.data)
        return;
    p->items[p->count++] = (struct item){l, bits, p->bytes};
    size_t bytes = qgemm_bytes(bits, l->weight.rows, l->weight.cols);
    p->bytes += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    p->panels += (l->weight.rows + R16_ROWS - 1) / R16_ROWS;
}

static int plan_items(struct plan *p, struct model *m, struct err *e)
{
    enum qgemm_bits bits = m->precision == PRECISION_INT4 ? R16_INT4 : R16_INT8;
    p->items = calloc((size_t)m->config.layers * LAYER_LINEARS + 1, sizeof *p->items);
    if (!p->items)
        return err_memory(e);
    for (int i = 0; i < m->config.layers; i++) {
        struct layer *l = &m->layers[i];
        struct linear *all[LAYER_LINEARS];
        int count = layer_linears(l, all);
        for (int j = 0; j < count; j++)
            add_item(p, all[j], bits);
    }
    add_item(p, &m->lm_head, R16_INT8);
    return 0;
}

static void lay_views(const struct plan *p, const char *memory)
{
    for (size_t i = 0; i < p->count; i++) {
        const struct matrix *w = &p->items[i].linear->weight;
        qgemm_view(&p->items[i].linear->packed, p->items[i].bits, w->rows, w->cols,
                   memory + p->items[i].offset);
    }
}

/* ---- packing ---- */

struct work {
    const struct plan *plan;
    const struct model *model;
    const struct model_options *options;
    atomic_int done;
    atomic_size_t item;
    atomic_bool failed;
    struct err error; /* of the first that failed */
};

/* Where rows [begin, end) of the stored matrix lie; of one that is transposed they lie everywhere. */
static struct stretch rows_stretch(const struct matrix *m, int begin, int end)
{
    uint64_t row = (uint64_t)m->cols * dtype_size(m->dtype);
    if (m->transposed)
        return (struct stretch){0, (uint64_t)m->rows * row};
    return (struct stretch){(uint64_t)begin * row, (uint64_t)((end < m->rows ? end : m->rows) - begin) * row};
}

static const struct tensor *stored(const struct model *m, const struct linear *l)
{
    return weights_find(m->weights, m->parameters[l->weight_parameter].tensor);
}

/* What is packed need not stay in memory beside its packed form: a few panels are brought at a time. */
static int pack_layer(struct work *w, const struct linear *l, float *scratch, bool report, struct err *e)
{
    const struct tensor *t = stored(w->model, l);
    for (int panel = 0; panel < l->packed.panels; panel += PANELS_AT_ONCE) {
        int left = l->packed.panels - panel, count = left < PANELS_AT_ONCE ? left : PANELS_AT_ONCE;
        struct stretch part = rows_stretch(&l->weight, panel * R16_ROWS, (panel + count) * R16_ROWS);
        if ((panel == 0 || !l->weight.transposed) && weights_bring(w->model->weights, t, part, e) != 0)
            return -1;
        qgemm_pack(&l->packed, &l->weight, panel, panel + count, scratch);
        if (!l->weight.transposed || panel + count == l->packed.panels)
            weights_forget(w->model->weights, t, part);
        int done = atomic_fetch_add(&w->done, count) + count;
        if (report && w->options->progress)
            w->options->progress(w->options->progress_arg, "packing", (double)done / w->plan->panels);
    }
    return 0;
}

/* Workers take layers in turn. */
static void pack_layers(void *arg, int worker, int workers)
{
    (void)workers;
    struct work *w = arg;
    int result = 0;
    struct err e;
    for (size_t i; result == 0 && (i = atomic_fetch_add(&w->item, 1)) < w->plan->count;) {
        const struct linear *l = w->plan->items[i].linear;
        float *scratch = malloc((size_t)l->weight.cols * sizeof *scratch);
        result = !scratch                  ? err_memory(&e)
                 : atomic_load(&w->failed) ? 0
                                           : pack_layer(w, l, scratch, worker == 0, &e);
        free(scratch);
    }
    if (result != 0 && !atomic_exchange(&w->failed, true))
        w->error = e;
}

static int pack_all(const struct plan *p, const struct model *m, const struct model_options *o,
                    struct pool *pool, struct err *e)
{
    struct work w = {.plan = p, .model = m, .options = o};
    pool_run(pool, pack_layers, &w);
    if (!atomic_load(&w.failed))
        return 0;
    *e = w.error;
    return -1;
}

/* In huge pages where the machine has them: with small ones, finding the pages takes a fifth of the time of
 * reading them. */
static int make_block(struct pack *p, size_t bytes, struct err *e)
{
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (block == MAP_FAILED)
        return err_set(e, "out_of_memory", "cannot get %zu bytes of memory for packed weights", bytes);
    madvise(block, bytes, MADV_HUGEPAGE);
    *p = (struct pack){block, bytes};
    return 0;
}

/* ---- the file ---- */

/* Its chunks, each read or hashed by one worker. */
struct chunks {
    int fd; /* they are read from here; -1: they are there */
    char *memory;
    size_t bytes, count;
    uint8_t *hashes; /* owned, [count, SHA256_BYTES] */
    atomic_bool failed;
};

static size_t chunk_count(size_t bytes)
{
    return (bytes + CHUNK_BYTES - 1) / CHUNK_BYTES;
}

static int chunks_init(struct chunks *c, const struct pack *p, int fd, struct err *e)
{
    *c = (struct chunks){.fd = fd, .memory = p->memory, .bytes = p->bytes, .count = chunk_count(p->bytes)};
    c->hashes = malloc(c->count * SHA256_BYTES);
    return c->hashes ? 0 : err_memory(e);
}

static void hash_chunks(void *arg, int worker, int workers)
{
    struct chunks *c = arg;
    struct err ignored;
    for (size_t i = (size_t)worker; i < c->count && !atomic_load(&c->failed); i += (size_t)workers) {
        size_t start = i * CHUNK_BYTES, left = c->bytes - start,
               length = left < CHUNK_BYTES ? left : CHUNK_BYTES;
        if (c->fd >= 0 && file_pread(c->fd, c->memory + start, length, HEADER_BYTES + start, &ignored) != 0)
            atomic_store(&c->failed, true);
        else
            sha256_of(c->memory + start, length, c->hashes + i * SHA256_BYTES);
    }
}

static void fill_header(struct header *out, const struct model *m, const struct chunks *c)
{
    *out = (struct header){.bytes = c->bytes};
    memcpy(out->magic, magic, sizeof magic);
    memcpy(out->fingerprint, m->info.fingerprint, SHA256_BYTES);
    sha256_of(c->hashes, c->count * SHA256_BYTES, out->hashes);
}

static bool hashes_are_there(const struct chunks *c)
{
    size_t bytes = c->count * SHA256_BYTES;
    uint8_t *found = malloc(bytes);
    struct err ignored;
    bool same = found && file_pread(c->fd, found, bytes, HEADER_BYTES + c->bytes, &ignored) == 0 &&
                memcmp(found, c->hashes, bytes) == 0;
    free(found);
    return same;
}

/* Is the file what this model, packed by this program, looks like, to the last byte? Then the block has
 * it. */
static bool read_chunks(struct chunks *c, const struct model *m, struct pool *pool)
{
    struct stat status;
    struct header wanted, found;
    struct err ignored;
    size_t whole = HEADER_BYTES + c->bytes + c->count * SHA256_BYTES;
    if (fstat(c->fd, &status) != 0 || (size_t)status.st_size != whole ||
        file_pread(c->fd, &found, sizeof found, 0, &ignored) != 0 ||
        memcmp(found.fingerprint, m->info.fingerprint, SHA256_BYTES) != 0)
        return false;
    pool_run(pool, hash_chunks, c);
    fill_header(&wanted, m, c);
    if (!atomic_load(&c->failed) && memcmp(&wanted, &found, sizeof wanted) == 0 && hashes_are_there(c))
        return true;
    memset(c->memory, 0, c->bytes); /* also between the layers */
    return false;
}

static bool read_file(const struct pack *p, const struct model *m, const char *path, struct pool *pool)
{
    struct chunks c;
    struct err ignored;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool good = chunks_init(&c, p, fd, &ignored) == 0 && read_chunks(&c, m, pool);
    free(c.hashes);
    close(fd);
    return good;
}

static int write_chunks(int fd, const struct chunks *c, const struct model *m, struct err *e)
{
    union {
        struct header header;
        char page[HEADER_BYTES];
    } first = {0};
    fill_header(&first.header, m, c);
    if (file_write_all(fd, &first, sizeof first, e) != 0 || file_write_all(fd, c->memory, c->bytes, e) != 0 ||
        file_write_all(fd, c->hashes, c->count * SHA256_BYTES, e) != 0)
        return -1;
    return fsync(fd) == 0 ? 0 : err_errno(e, "cannot sync packed weights");
}

/* Under its name when all of it is on disk. */
static int write_named(const struct chunks *c, const struct model *m, const char *path, struct err *e)
{
    char temporary[4200];
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(e, "cannot create %s", temporary);
    int result = write_chunks(fd, c, m, e);
    close(fd);
    if (result == 0 && rename(temporary, path) != 0)
        result = err_errno(e, "cannot keep %s", path);
    if (result != 0)
        unlink(temporary);
    return result;
}

static int write_file(const struct pack *p, const struct model *m, const char *directory, const char *path,
                      struct pool *pool, struct err *e)
{
    struct chunks c;
    if (file_make_directories(directory, e) != 0 || chunks_init(&c, p, -1, e) != 0)
        return -1;
    pool_run(pool, hash_chunks, &c);
    int result = write_named(&c, m, path, e);
    free(c.hashes);
    return result;
}

/* ---- the whole ---- */

static void note_state(struct model *m, const char *state, const char *why)
{
    snprintf(m->info.packed_state, sizeof m->info.packed_state, "%s%.150s", state, why);
}

static int fill_block(struct pack *p, struct model *m, const struct plan *plan, const struct model_options *o,
                      struct pool *pool, struct err *e)
{
    char path[4100], fingerprint[SHA256_HEX + 1];
    struct err why;
    hex_encode(m->info.fingerprint, SHA256_BYTES, fingerprint);
    snprintf(path, sizeof path, "%s/%s-%s", o->packed_cache ? o->packed_cache : "", fingerprint,
             m->precision == PRECISION_INT4 ? "int4" : "int8");
    if (o->packed_cache && read_file(p, m, path, pool)) {
        note_state(m, "read from the cache", "");
        return 0;
    }
    if (pack_all(plan, m, o, pool, e) != 0)
        return -1;
    if (!o->packed_cache)
        note_state(m, "in memory", "");
    else if (write_file(p, m, o->packed_cache, path, pool, &why) == 0)
        note_state(m, "packed and kept in the cache", "");
    else
        note_state(m, "in memory, the cache cannot be written: ", why.message);
    return 0;
}

static int fill_pack(struct pack *p, struct model *m, const struct plan *plan, const struct model_options *o,
                     struct pool *pool, struct err *e)
{
    if (make_block(p, plan->bytes, e) != 0)
        return -1;
    lay_views(plan, p->memory);
    if (fill_block(p, m, plan, o, pool, e) != 0)
        return -1;
    return mprotect(p->memory, p->bytes, PROT_READ) == 0 ? 0 : err_errno(e, "cannot protect packed weights");
}

int pack_model(struct model *m, const struct model_options *o, struct pool *pool, struct err *e)
{
    struct plan plan = {0};
    m->pack = calloc(1, sizeof *m->pack);
    int result = m->pack ? plan_items(&plan, m, e) : err_memory(e);
    if (result == 0)
        result = fill_pack(m->pack, m, &plan, o, pool, e);
    m->info.packed_bytes = plan.bytes;
    free(plan.items);
    if (result == 0 && m->config.tied)
        m->embed.packed = &m->lm_head.packed;
    return result;
}

void pack_free(struct pack *p)
{
    if (p && p->memory)
        munmap(p->memory, p->bytes);
    free(p);
}
