/* Attention against a plain softmax in double, over pages of every type; and the promise that a query's bits
 * depend on its own pages alone, not on the tile. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/kernels/attention.h"
#include "core/format/bf16.h"

enum { PAGES = 4, LENGTH = PAGES * ATTENTION_KEYS, GUARD = 16 };
static const int dims[] = {1, 2, 5, 8, 12, 16, 31, 64, 80};
enum { DIMS = sizeof dims / sizeof *dims };
static const float guard_value = -12345.678f;

/* Keys and values of one head, in pages; queries; a tile with guards around its scratch. */
struct fixture {
    enum kv_type type;
    int dim;
    void *keys[PAGES], *values[PAGES];
    float *query; /* [ATTENTION_QUERIES, dim] */
    float *scratch;
    struct attention_tile tile;
};

static float pseudo_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

static void fixture_init(struct fixture *f, enum kv_type type, int dim, float span)
{
    uint32_t seed = (uint32_t)(dim * 10 + (int)type);
    size_t bytes = attention_page_bytes(type, dim), floats = attention_scratch(dim);
    *f = (struct fixture){.type = type, .dim = dim};
    for (int p = 0; p < PAGES; p++) {
        f->keys[p] = malloc(bytes);
        f->values[p] = malloc(bytes);
        /* What nobody has written may be anything, also not a number. */
        memset(f->keys[p], 0xFF, bytes);
        memset(f->values[p], 0xFF, bytes);
    }
    float *key = malloc((size_t)dim * sizeof *key), *value = malloc((size_t)dim * sizeof *value);
    for (int j = 0; j < LENGTH; j++) {
        for (int d = 0; d < dim; d++) {
            key[d] = pseudo_random(&seed) * span;
            value[d] = pseudo_random(&seed);
        }
        attention_put(type, f->keys[j / ATTENTION_KEYS], f->values[j / ATTENTION_KEYS], j % ATTENTION_KEYS,
                      key, value, dim);
    }
    free(key);
    free(value);
    f->query = malloc(ATTENTION_QUERIES * (size_t)dim * sizeof *f->query);
    for (int i = 0; i < ATTENTION_QUERIES * dim; i++)
        f->query[i] = pseudo_random(&seed);
    f->scratch = malloc((floats + 2 * GUARD) * sizeof *f->scratch);
    for (size_t i = 0; i < floats + 2 * GUARD; i++)
        f->scratch[i] = guard_value;
    attention_begin(&f->tile, type, dim, f->scratch + GUARD);
}

static void fixture_fini(struct fixture *f)
{
    size_t floats = attention_scratch(f->dim);
    for (int i = 0; i < GUARD; i++) {
        assert_true(f->scratch[i] == guard_value);
        assert_true(f->scratch[floats + GUARD + (size_t)i] == guard_value);
    }
    for (int p = 0; p < PAGES; p++) {
        free(f->keys[p]);
        free(f->values[p]);
    }
    free(f->query);
    free(f->scratch);
}

/* Number `index` of a page as it is kept; `slot` has its scale. */
static double kept(const struct fixture *f, const void *page, int index, int slot)
{
    if (f->type == KV_F32)
        return (double)((const float *)page)[index];
    if (f->type == KV_BF16)
        return (double)bf16_widen(((const uint16_t *)page)[index]);
    float scale;
    memcpy(&scale, (const char *)page + ATTENTION_KEYS * f->dim + slot * (int)sizeof scale, sizeof scale);
    return (double)scale * ((const int8_t *)page)[index];
}

static double score(const struct fixture *f, int query, int j)
{
    double sum = 0;
    int slot = j % ATTENTION_KEYS;
    for (int d = 0; d < f->dim; d++)
        sum += (double)f->query[query * f->dim + d] *
               kept(f, f->keys[j / ATTENTION_KEYS], d * ATTENTION_KEYS + slot, slot);
    double cap = (double)f->tile.cap;
    sum /= sqrt(f->dim);
    return cap > 0 ? cap * tanh(sum / cap) : sum;
}

/* Over the keys [begin, end). */
static void expected(const struct fixture *f, int query, int begin, int end, double *out)
{
    double scores[LENGTH], top = -INFINITY, total = 0;
    for (int j = begin; j < end; j++) {
        scores[j] = score(f, query, j);
        top = fmax(top, scores[j]);
    }
    for (int j = begin; j < end; j++)
        total += scores[j] = exp(scores[j] - top);
    for (int d = 0; d < f->dim; d++) {
        out[d] = 0;
        for (int j = begin; j < end; j++)
            out[d] +=
                scores[j] / total *
                kept(f, f->values[j / ATTENTION_KEYS], j % ATTENTION_KEYS * f->dim + d, j % ATTENTION_KEYS);
    }
}

static int within_page(int key, int start)
{
    return key < start ? 0 : key - start < ATTENTION_KEYS ? key - start : ATTENTION_KEYS;
}

/* Attention of `count` queries from `first` on over the keys [begin, end); out: [count, dim]. */
static void run_span(struct fixture *f, int first, int count, int begin, int end, float *out)
{
    for (int i = 0; i < count; i++)
        attention_query(&f->tile, i, f->query + (first + i) * f->dim);
    for (int start = 0; start < end; start += ATTENTION_KEYS) {
        struct attention_span keys = {within_page(begin, start), within_page(end, start)};
        attention_page(&f->tile, f->keys[start / ATTENTION_KEYS], f->values[start / ATTENTION_KEYS]);
        if (keys.begin < keys.end)
            attention_add(&f->tile, 0, count, keys);
    }
    for (int i = 0; i < count; i++)
        attention_result(&f->tile, i, out + i * f->dim);
}

/* Over the first `length` keys. */
static void run(struct fixture *f, int first, int count, int length, float *out)
{
    run_span(f, first, count, 0, length, out);
}

static void is_softmax_of_products(void **state)
{
    (void)state;
    static const struct attention_span keys[] = {{0, 1},   {0, 2},    {0, 31},  {0, 32},   {0, 33},
                                                 {0, 64},  {0, 100},  {0, 128}, {9, 10},   {31, 33},
                                                 {7, 100}, {96, 128}, {64, 65}, {127, 128}};
    static const float spans[] = {0.5f, 20, 1e4f};
    for (enum kv_type type = KV_F32; type <= KV_INT8; type++)
        for (int k = 0; k < DIMS * 3; k++) {
            struct fixture f;
            float span = spans[k % 3], out[128];
            double want[128];
            fixture_init(&f, type, dims[k / 3], span);
            f.tile.cap = k % 2 ? 3 : 0;
            for (size_t l = 0; l < sizeof keys / sizeof *keys; l++) {
                run_span(&f, 3, 1, keys[l].begin, keys[l].end, out);
                expected(&f, 3, keys[l].begin, keys[l].end, want);
                /* scores are rounded: the larger, the more it shows in the weights */
                double allowed = 2e-6 * (1 + (double)span * sqrt(f.dim));
                for (int d = 0; d < f.dim; d++)
                    if (!(fabs((double)out[d] - want[d]) <= allowed))
                        fail_msg("type %d, dim %d, keys %d to %d, number %d: %.9g, expected %.9g", type,
                                 f.dim, keys[l].begin, keys[l].end, d, (double)out[d], want[d]);
            }
            fixture_fini(&f);
        }
}

static void a_query_has_the_same_bits_in_every_tile(void **state)
{
    (void)state;
    static const int lengths[] = {1, 33, 100};
    for (enum kv_type type = KV_F32; type <= KV_INT8; type++)
        for (int k = 0; k < DIMS; k++)
            for (int l = 0; l < 3; l++) {
                struct fixture f;
                int dim = dims[k];
                float *all = malloc(ATTENTION_QUERIES * (size_t)dim * sizeof *all), alone[128];
                fixture_init(&f, type, dim, 3);
                for (int count = 1; count <= ATTENTION_QUERIES; count += count < 15 ? 1 : 11) {
                    run(&f, ATTENTION_QUERIES - count, count, lengths[l], all);
                    for (int i = 0; i < count; i++) {
                        run(&f, ATTENTION_QUERIES - count + i, 1, lengths[l], alone);
                        assert_memory_equal(alone, all + i * dim, (size_t)dim * sizeof *alone);
                    }
                }
                free(all);
                fixture_fini(&f);
            }
}

/* Tokens of one tile that see different keys of a page: each is added apart, over what is its own. */
static void other_keys_do_not_show(void **state)
{
    (void)state;
    struct fixture f;
    float alone[16], together[16];
    fixture_init(&f, KV_BF16, 16, 3);
    for (int slot = 0; slot < ATTENTION_KEYS; slot++)
        for (int d = 0; d < 16 && (slot < 4 || slot >= 20); d++) {
            ((uint16_t *)f.keys[0])[d * ATTENTION_KEYS + slot] = 0x7FC0; /* not a number */
            ((uint16_t *)f.values[0])[slot * 16 + d] = 0x7FC0;
        }
    run_span(&f, 5, 1, 4, 20, alone);
    for (int i = 0; i < 2; i++)
        attention_query(&f.tile, i, f.query + (5 + i) * 16);
    attention_page(&f.tile, f.keys[0], f.values[0]);
    attention_add(&f.tile, 0, 1, (struct attention_span){4, 20});
    attention_add(&f.tile, 1, 1, (struct attention_span){4, 32});
    attention_result(&f.tile, 0, together);
    assert_memory_equal(alone, together, sizeof alone);
    assert_true(isfinite(alone[0]));
    attention_result(&f.tile, 1, together);
    assert_true(isnan(together[0])); /* what is not a number stays visible */
    fixture_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(is_softmax_of_products),
        cmocka_unit_test(a_query_has_the_same_bits_in_every_tile),
        cmocka_unit_test(other_keys_do_not_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
