/* The pass in parts is the pass: what a caller sees layer by layer ends in the same logits, to the last
 * bit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/forward/forward.h"
#include "tests/golden/fixture.h"

enum { TOKENS = 9, SEQUENCES = 2 };

struct subject {
    const char *model, *adapter;
    enum precision precision;
};

static const struct subject subjects[] = {
    {"llama", "r8-all", PRECISION_EXACT},  {"llama", "dora", PRECISION_INT8},
    {"gpt2", "r8-conv1d", PRECISION_INT8}, {"mistral-window", "r8-all", PRECISION_INT4},
    {"qwen3", "r8-all", PRECISION_EXACT},
};

/* What one pass needs. */
struct bench {
    struct model *m;
    struct delta *d;
    struct pool *pool;
    struct kvcache *kv;
    struct forward *f;
    struct kv_sequence sequences[SEQUENCES];
    int32_t token[TOKENS], position[TOKENS];
    struct kv_sequence *sequence[TOKENS];
    const struct delta *delta[TOKENS];
    uint8_t want[TOKENS];
    struct batch batch;
    float *streams; /* [layers, TOKENS, hidden]: behind each layer */
};

static void open_bench(struct bench *b, const struct subject *s, int threads)
{
    struct err e;
    memset(b, 0, sizeof *b);
    fixture_precision = s->precision;
    b->m = fixture_model(fixture_path("models/%s", s->model));
    fixture_precision = PRECISION_EXACT;
    b->d = fixture_delta(b->m, fixture_path("adapters/%s/%s", s->model, s->adapter), &e);
    assert_non_null(b->d);
    const struct model_info *info = model_info(b->m);
    assert_int_equal(pool_new(&b->pool, threads, &e), 0);
    assert_int_equal(kvcache_new(&b->kv, &info->kv, 16 * kvcache_page_bytes(&info->kv), &e), 0);
    assert_int_equal(forward_new(&b->f, b->m, b->pool, b->kv, TOKENS, TOKENS, &e), 0);
    for (int i = 0; i < TOKENS; i++) { /* five tokens of one sequence, four of the other */
        int which = i < 5 ? 0 : 1;
        b->token[i] = (i * 37 + 5) % info->vocab_size;
        b->position[i] = which ? i - 5 : i;
        b->sequence[i] = &b->sequences[which];
        b->delta[i] = which ? b->d : NULL;
        b->want[i] = i % 2 == 0;
    }
    for (int i = 0; i < SEQUENCES; i++)
        assert_true(kvcache_reserve(b->kv, &b->sequences[i], TOKENS));
    b->batch = (struct batch){.count = TOKENS,
                              .token = b->token,
                              .position = b->position,
                              .sequence = b->sequence,
                              .delta = b->delta,
                              .want_logits = b->want};
    b->streams = calloc((size_t)(info->layers * TOKENS * info->hidden_size), sizeof *b->streams);
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < SEQUENCES; i++)
        kvcache_release(b->kv, &b->sequences[i]);
    forward_free(b->f);
    kvcache_free(b->kv);
    pool_free(b->pool);
    delta_unref(b->d);
    model_close(b->m);
    free(b->streams);
}

static void in_parts(void *arg, int worker, int workers)
{
    struct bench *b = arg;
    const struct model_info *info = model_info(b->m);
    size_t floats = (size_t)(TOKENS * info->hidden_size);
    forward_embed(b->f, worker, workers);
    for (int layer = 0; layer < info->layers; layer++) {
        forward_layer(b->f, layer, worker, workers);
        if (worker == 0) /* nobody writes the stream before the next barrier */
            memcpy(b->streams + (size_t)layer * floats, forward_stream(b->f), floats * sizeof(float));
    }
    forward_head(b->f, worker, workers);
}

static void layers_one_by_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++)
        for (int threads = 1; threads <= 3; threads++) {
            struct bench b;
            open_bench(&b, &subjects[i], threads);
            const struct model_info *info = model_info(b.m);
            size_t floats = (size_t)(TOKENS / 2 + 1) * (size_t)info->vocab_size;
            float *whole = malloc(floats * sizeof *whole);
            memcpy(whole, forward_step(b.f, &b.batch), floats * sizeof *whole);
            forward_begin(b.f, &b.batch);
            pool_run(b.pool, in_parts, &b);
            assert_memory_equal(forward_logits(b.f), whole, floats * sizeof *whole);
            for (int layer = 1; layer < info->layers; layer++) /* each does something */
                assert_memory_not_equal(b.streams + layer * TOKENS * info->hidden_size,
                                        b.streams + (layer - 1) * TOKENS * info->hidden_size,
                                        (size_t)(TOKENS * info->hidden_size) * sizeof *b.streams);
            free(whole);
            close_bench(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(layers_one_by_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
