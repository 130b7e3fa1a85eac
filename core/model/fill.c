#include "core/model/fill.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/digest.h"
#include "core/system/clock.h"

enum { CHUNK_BYTES = 8 << 20 };

/* What one worker reads at a time. */
struct chunk {
    const struct tensor *tensor;
    struct stretch part;
    bool kept;
    uint8_t hash[SHA256_BYTES];
};

struct reading {
    struct weights *weights;
    const struct model_options *options;
    bool hashed;          /* all of it, else what is kept */
    struct chunk *chunks; /* owned */
    size_t count;
    atomic_size_t next;
    atomic_bool failed;
    struct err error; /* of the first that failed */
};

static size_t chunks_of(const struct tensor *t)
{
    return (size_t)((t->bytes + CHUNK_BYTES - 1) / CHUNK_BYTES);
}

static int list_chunks(struct reading *r, struct err *e)
{
    size_t all = 0;
    for (size_t i = 0; i < weights_count(r->weights); i++)
        all += chunks_of(weights_at(r->weights, i));
    r->chunks = calloc(all + 1, sizeof *r->chunks);
    if (!r->chunks)
        return err_memory(e);
    for (size_t i = 0; i < weights_count(r->weights); i++) {
        const struct tensor *t = weights_at(r->weights, i);
        bool kept = weights_is_kept(r->weights, t);
        for (uint64_t at = 0; (kept || r->hashed) && at < t->bytes; at += CHUNK_BYTES) {
            uint64_t left = t->bytes - at;
            r->chunks[r->count++] = (struct chunk){
                .tensor = t, .part = {at, left < CHUNK_BYTES ? left : CHUNK_BYTES}, .kept = kept};
        }
    }
    return 0;
}

/* scratch: for what is only hashed. */
static int read_chunk(struct reading *r, struct chunk *c, void *scratch, struct err *e)
{
    const char *bytes = scratch;
    if (c->kept) {
        if (weights_bring(r->weights, c->tensor, c->part, e) != 0)
            return -1;
        bytes = (const char *)weights_place(r->weights, c->tensor) + c->part.at;
    } else if (weights_read(r->weights, c->tensor, c->part, scratch, e) != 0) {
        return -1;
    }
    if (r->hashed)
        sha256_of(bytes, c->part.bytes, c->hash);
    return 0;
}

static void read_chunks(void *arg, int worker, int workers)
{
    (void)workers;
    struct reading *r = arg;
    struct err e;
    void *scratch = malloc(CHUNK_BYTES);
    int result = scratch ? 0 : err_memory(&e);
    for (size_t i; result == 0 && (i = atomic_fetch_add(&r->next, 1)) < r->count;) {
        result = atomic_load(&r->failed) ? 0 : read_chunk(r, &r->chunks[i], scratch, &e);
        if (worker == 0 && r->options->progress)
            r->options->progress(r->options->progress_arg, "reading", (double)(i + 1) / (double)r->count);
    }
    if (result != 0 && !atomic_exchange(&r->failed, true))
        r->error = e;
    free(scratch);
}

static void hash_tensors(const struct reading *r, uint8_t out[SHA256_BYTES])
{
    struct sha256 hash;
    const struct chunk *next = r->chunks;
    sha256_init(&hash);
    for (size_t i = 0; i < weights_count(r->weights); i++) {
        const struct tensor *t = weights_at(r->weights, i);
        sha256_update(&hash, t->name, strlen(t->name) + 1);
        sha256_update(&hash, dtype_name(t->dtype), strlen(dtype_name(t->dtype)) + 1);
        sha256_update(&hash, &t->dimensions, sizeof t->dimensions);
        sha256_update(&hash, t->shape, (size_t)t->dimensions * sizeof *t->shape);
        for (size_t k = 0; k < chunks_of(t); k++, next++)
            sha256_update(&hash, next->hash, SHA256_BYTES);
    }
    sha256_final(&hash, out);
}

int fill_weights(struct weights *w, const char *model, const struct model_options *o, struct pool *pool,
                 uint8_t digest[SHA256_BYTES], struct err *e)
{
    int64_t begun_s = clock_unix_ms() / 1000;
    struct reading r = {
        .weights = w, .options = o, .hashed = !digest_recall(w, o->packed_cache, model, digest)};
    if (list_chunks(&r, e) != 0)
        return -1;
    pool_run(pool, read_chunks, &r);
    int result = 0;
    if (atomic_load(&r.failed)) {
        *e = r.error;
        result = -1;
    } else if (r.hashed) {
        hash_tensors(&r, digest);
        digest_remember(w, o->packed_cache, model, begun_s, digest);
    }
    free(r.chunks);
    return result;
}
