/* Attention with AMX: scores and mixes are products of bf16 in tiles of 16 queries, summed in f32. Keys and
 * values are bf16 as they are kept; a query or a weight goes in as the sum of two, its upper and its lower
 * half, which is as good as f32. Sums have an order of their own, so the last bits are not those of other
 * kernels; they are the same whatever stands in the tile beside a query. Pages of other types, and odd sizes
 * of heads, are left to AVX-512. */
#define SIMD_LANES 16
#include <math.h>

#include "core/kernels/simd/simd.h"
#include "core/kernels/x86/amx.h"
#include "core/kernels/x86/x86.h"

enum {
    QUERIES = 16, /* of a tile */
    STEP = 32,    /* dimensions, or keys, that one instruction takes in */
    DIM_MAX = 256,
    PAIRS = ATTENTION_KEYS / 2
};

typedef uint16_t halves __attribute__((vector_size(2 * SIMD_LANES)));
typedef uint32_t words __attribute__((vector_size(4 * SIMD_LANES)));
typedef uint16_t many_halves __attribute__((vector_size(2 * STEP)));

static bool in_tiles(const struct attention_tile *t)
{
    return t->type == KV_BF16 && t->dim % STEP == 0 && t->dim <= DIM_MAX;
}

/* ---- right operands: pairs of dimensions by keys, pairs of keys by dimensions ---- */

/* Two rows of 32 bf16, number by number side by side: the first 16 of each to `first`, the others to
 * `second`. */
static inline void store_pairs(const uint16_t *even, const uint16_t *odd, uint32_t *first, uint32_t *second)
{
    many_halves e, o, low, high;
    __builtin_memcpy(&e, even, sizeof e);
    __builtin_memcpy(&o, odd, sizeof o);
    low = __builtin_shufflevector(e, o, 0, 32, 1, 33, 2, 34, 3, 35, 4, 36, 5, 37, 6, 38, 7, 39, 8, 40, 9, 41,
                                  10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47);
    high = __builtin_shufflevector(e, o, 16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55, 24,
                                   56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63);
    __builtin_memcpy(first, &low, sizeof low);
    __builtin_memcpy(second, &high, sizeof high);
}

/* [2, dim / 2, 16]: of the first and of the last 16 keys. */
static void pair_keys(const struct attention_tile *t, const uint16_t *keys)
{
    uint32_t *first = (uint32_t *)(void *)t->keys, *second = first + t->dim / 2 * SIMD_LANES;
    for (int d = 0; d < t->dim; d += 2, first += SIMD_LANES, second += SIMD_LANES)
        store_pairs(keys + d * ATTENTION_KEYS, keys + (d + 1) * ATTENTION_KEYS, first, second);
}

/* [dim / 16, 16, 16] */
static void pair_values(const uint16_t *values, int dim, uint32_t *to)
{
    for (int d = 0; d < dim; d += STEP, to += 2 * PAIRS * SIMD_LANES)
        for (int j = 0; j < PAIRS; j++)
            store_pairs(values + 2 * j * dim + d, values + (2 * j + 1) * dim + d, to + j * SIMD_LANES,
                        to + (PAIRS + j) * SIMD_LANES);
}

/* The same with zeros for the keys outside the span, whose values may be anything. */
static void pair_span(const uint16_t *values, int dim, struct attention_span keys, uint16_t *copy,
                      uint32_t *to)
{
    size_t begin = (size_t)(keys.begin * dim), end = (size_t)(keys.end * dim);
    memset(copy, 0, begin * sizeof *copy);
    memcpy(copy + begin, values + begin, (end - begin) * sizeof *copy);
    memset(copy + end, 0, ((size_t)(ATTENTION_KEYS * dim) - end) * sizeof *copy);
    pair_values(copy, dim, to);
}

static void page(struct attention_tile *t, const void *keys, const void *values)
{
    t->page_values = values;
    if (!in_tiles(t)) {
        attention_avx512.page(t, keys, values);
        return;
    }
    pair_keys(t, keys);
    pair_values(values, t->dim, (uint32_t *)(void *)t->values);
}

/* ---- left operands: the upper and the lower half of a number ---- */

static inline words words_of(simd x)
{
    words w;
    __builtin_memcpy(&w, &x, sizeof w);
    return w;
}

static inline void split(simd x, uint16_t *upper, uint16_t *lower)
{
    words top = words_of(x) & 0xFFFF0000u;
    simd rest;
    __builtin_memcpy(&rest, &top, sizeof rest);
    rest = x - rest;
    halves high = __builtin_convertvector(top >> 16, halves),
           low = __builtin_convertvector(words_of(rest) >> 16, halves);
    __builtin_memcpy(upper, &high, sizeof high);
    __builtin_memcpy(lower, &low, sizeof low);
}

/* All upper halves, [ATTENTION_QUERIES, dim], then all lower ones. */
static uint16_t *upper_of(const struct attention_tile *t, int index)
{
    return (uint16_t *)(void *)t->query + (size_t)index * (size_t)t->dim;
}

static uint16_t *lower_of(const struct attention_tile *t, int index)
{
    return upper_of(t, ATTENTION_QUERIES + index);
}

static void query(struct attention_tile *t, int index, const float *from)
{
    if (!in_tiles(t)) {
        attention_avx512.query(t, index, from);
        return;
    }
    for (int d = 0; d < t->dim; d += SIMD_LANES)
        split(simd_load(from + d), upper_of(t, index) + d, lower_of(t, index) + d);
}

/* Up to sixteen queries. */
struct group {
    int first, count;
    float score[QUERIES * ATTENTION_KEYS];
    float factor[QUERIES];        /* what earlier pages weigh beside this one */
    float mix[QUERIES * DIM_MAX]; /* [QUERIES, dim]: of this page alone */
} __attribute__((aligned(64)));

struct work {
    struct group group;                           /* in hand */
    uint16_t weight[2][QUERIES * ATTENTION_KEYS]; /* upper and lower halves */
    uint16_t copy[ATTENTION_KEYS * DIM_MAX];      /* of the values of a page that is not seen whole */
    uint32_t values[PAIRS * DIM_MAX];             /* the same in pairs */
} __attribute__((aligned(64)));

/* ---- scores, softmax, mix ---- */

static void score(const struct attention_tile *t, struct group *g)
{
    const uint32_t *keys = (const uint32_t *)(const void *)t->keys;
    size_t row = (size_t)t->dim * sizeof(uint16_t), half = (size_t)(t->dim / 2) * SIMD_LANES;
    AMX_STORED();
    _tile_zero(0);
    _tile_zero(1);
    for (int d = 0; d < t->dim; d += STEP) {
        _tile_loadd(2, upper_of(t, g->first) + d, row);
        _tile_loadd(3, lower_of(t, g->first) + d, row);
        _tile_loadd(4, keys + d / 2 * SIMD_LANES, 64);
        _tile_loadd(5, keys + half + (size_t)(d / 2 * SIMD_LANES), 64);
        _tile_dpbf16ps(0, 2, 4);
        _tile_dpbf16ps(1, 2, 5);
        _tile_dpbf16ps(0, 3, 4);
        _tile_dpbf16ps(1, 3, 5);
    }
    _tile_stored(0, g->score, ATTENTION_KEYS * sizeof(float));
    _tile_stored(1, g->score + SIMD_LANES, ATTENTION_KEYS * sizeof(float));
}

/* Query i's scores become weights: e^(score - largest so far). NaN stays NaN. */
static void soften(struct attention_tile *t, struct attention_span keys, struct group *g, int i,
                   struct work *w)
{
    int index = g->first + i;
    float *s = g->score + i * ATTENTION_KEYS;
    for (int j = 0; j < ATTENTION_KEYS; j += SIMD_LANES) {
        simd scaled = simd_load(s + j) * t->scale;
        simd_store(s + j, t->cap > 0 ? simd_cap(scaled, t->cap) : scaled);
    }
    for (int j = 0; j < keys.begin; j++)
        s[j] = -INFINITY;
    for (int j = keys.end; j < ATTENTION_KEYS; j++)
        s[j] = -INFINITY;
    simd low = simd_load(s), high = simd_load(s + SIMD_LANES);
    float top = simd_largest(simd_max(low, high));
    g->factor[i] = 1;
    if (top > t->largest[index]) {
        g->factor[i] = simd_exp(simd_all(t->largest[index] - top))[0];
        t->largest[index] = top;
    }
    low = simd_exp(low - t->largest[index]);
    high = simd_exp(high - t->largest[index]);
    simd both = low + high;
    t->total[index] = t->total[index] * g->factor[i] + simd_sum(simd_part(both, 0) + simd_part(both, 1));
    uint16_t *upper = w->weight[0] + i * ATTENTION_KEYS, *lower = w->weight[1] + i * ATTENTION_KEYS;
    split(low, upper, lower);
    split(high, upper + SIMD_LANES, lower + SIMD_LANES);
}

static void mix(const struct attention_tile *t, const uint32_t *values, struct group *g, const struct work *w)
{
    size_t row = (size_t)t->dim * sizeof(float);
    AMX_STORED();
    _tile_loadd(2, w->weight[0], ATTENTION_KEYS * sizeof(uint16_t));
    _tile_loadd(3, w->weight[1], ATTENTION_KEYS * sizeof(uint16_t));
    for (int d = 0; d < t->dim; d += STEP, values += 2 * PAIRS * SIMD_LANES) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_loadd(4, values, 64);
        _tile_loadd(5, values + PAIRS * SIMD_LANES, 64);
        _tile_dpbf16ps(0, 2, 4);
        _tile_dpbf16ps(1, 2, 5);
        _tile_dpbf16ps(0, 3, 4);
        _tile_dpbf16ps(1, 3, 5);
        _tile_stored(0, g->mix + d, row);
        _tile_stored(1, g->mix + d + SIMD_LANES, row);
    }
}

/* The sums so far, and this page's. */
static void sum(struct attention_tile *t, const struct group *g)
{
    for (int i = 0; i < g->count; i++) {
        float *to = t->sum + (size_t)(g->first + i) * (size_t)t->padded;
        const float *mixed = g->mix + i * t->dim;
        simd factor = simd_all(g->factor[i]);
        for (int d = 0; d < t->dim; d += SIMD_LANES)
            simd_store(to + d, simd_fma(simd_load(to + d), factor, simd_load(mixed + d)));
    }
}

static void add_group(struct attention_tile *t, struct attention_span keys, const uint32_t *values,
                      struct work *w)
{
    struct group *g = &w->group;
    score(t, g);
    for (int i = 0; i < g->count; i++)
        soften(t, keys, g, i, w);
    mix(t, values, g, w);
    sum(t, g);
}

static void add_queries(struct attention_tile *t, int first, int count, struct attention_span keys)
{
    if (!in_tiles(t)) {
        attention_avx512.add(t, first, count, keys);
        return;
    }
    struct work w __attribute__((uninitialized));
    const uint32_t *values = (const uint32_t *)(const void *)t->values;
    amx_configure();
    if (count % QUERIES != 0)
        memset(w.weight, 0, sizeof w.weight);
    if (keys.begin > 0 || keys.end < ATTENTION_KEYS) {
        pair_span(t->page_values, t->dim, keys, w.copy, w.values);
        values = w.values;
    }
    for (int end = first + count; first < end; first += QUERIES) {
        w.group.first = first;
        w.group.count = end - first < QUERIES ? end - first : QUERIES;
        add_group(t, keys, values, &w);
    }
}

const struct attention_kernels attention_amx = {
    .own_order = true, .query = query, .page = page, .add = add_queries};
