/* Attention on SIMD_LANES floats at a time. A file that defines VARIANT, the name of what this gives,
 * includes it once. */
#pragma once
#include <math.h>

#include "core/format/bf16.h"
#include "core/kernels/kernels.h"
#include "core/kernels/simd/simd.h"

enum {
    PARTS = ATTENTION_KEYS / SIMD_LANES,
    ROWS = SIMD_LANES == 16 ? 12 : 6, /* queries whose sums fit into registers */
    STEP = 2 * SIMD_LANES
};

/* The scales of an int8 page. */
static const float *scales_behind(const void *page, int dim)
{
    return (const float *)((const char *)page + ATTENTION_KEYS * (size_t)dim);
}

/* ---- a page, widened ---- */

static inline simd load_int8(const int8_t *p)
{
    typedef int8_t bytes __attribute__((vector_size(SIMD_LANES)));
    bytes b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b, simd);
}

static inline simd load(enum kv_type type, const void *p, size_t index)
{
    return type == KV_F32    ? simd_load((const float *)p + index)
           : type == KV_BF16 ? simd_load_bf16((const uint16_t *)p + index)
                             : load_int8((const int8_t *)p + index);
}

static inline float load_one(enum kv_type type, const void *p, size_t index)
{
    return type == KV_F32    ? ((const float *)p)[index]
           : type == KV_BF16 ? bf16_widen(((const uint16_t *)p)[index])
                             : (float)((const int8_t *)p)[index];
}

static inline __attribute__((always_inline)) void widen(const struct attention_tile *t, enum kv_type type,
                                                        const void *keys, const void *values)
{
    const float *key_scale = scales_behind(keys, t->dim), *value_scale = scales_behind(values, t->dim);
    for (int d = 0; d < t->dim; d++)
        for (int i = 0; i < ATTENTION_KEYS; i += SIMD_LANES) {
            size_t at = (size_t)d * ATTENTION_KEYS + (size_t)i;
            simd k = load(type, keys, at);
            simd_store(t->keys + at, type == KV_INT8 ? k * simd_load(key_scale + i) : k);
        }
    for (int j = 0; j < ATTENTION_KEYS; j++) {
        float *out = t->values + (size_t)j * (size_t)t->padded, scale = type == KV_INT8 ? value_scale[j] : 1;
        size_t at = (size_t)j * (size_t)t->dim;
        int d = 0;
        for (; d + SIMD_LANES <= t->dim; d += SIMD_LANES) {
            simd v = load(type, values, at + (size_t)d);
            simd_store(out + d, type == KV_INT8 ? v * scale : v);
        }
        for (; d < t->padded; d++)
            out[d] = d < t->dim ? load_one(type, values, at + (size_t)d) * scale : 0;
    }
}

static void query(struct attention_tile *t, int index, const float *from)
{
    memcpy(t->query + (size_t)index * (size_t)t->dim, from, (size_t)t->dim * sizeof *from);
}

static void page(struct attention_tile *t, const void *keys, const void *values)
{
    if (t->type == KV_F32)
        widen(t, KV_F32, keys, values);
    else if (t->type == KV_BF16)
        widen(t, KV_BF16, keys, values);
    else
        widen(t, KV_INT8, keys, values);
}

/* ---- scores, softmax, mix ---- */

/* Scores of `count` queries (a constant where this is inlined), 16 keys at a time in the lanes. */
static inline __attribute__((always_inline)) void score(const struct attention_tile *t, int first,
                                                        const int count)
{
    const float *q = t->query + (size_t)first * (size_t)t->dim;
    for (int j = 0; j < ATTENTION_KEYS; j += STEP) {
        simd a[ROWS][2] = {0};
        for (int d = 0; d < t->dim; d++) {
            const float *k = t->keys + (size_t)d * ATTENTION_KEYS + (size_t)j;
            simd k0 = simd_load(k), k1 = simd_load(k + SIMD_LANES);
#pragma GCC unroll 12
            for (int i = 0; i < count; i++) {
                simd x = simd_all(q[(size_t)i * (size_t)t->dim + (size_t)d]);
                a[i][0] = simd_fma(x, k0, a[i][0]);
                a[i][1] = simd_fma(x, k1, a[i][1]);
            }
        }
        for (int i = 0; i < count; i++) {
            float *s = t->weight + (size_t)(first + i) * ATTENTION_KEYS + (size_t)j;
            simd_store(s, a[i][0] * t->scale);
            simd_store(s + SIMD_LANES, a[i][1] * t->scale);
        }
    }
}

/* Sums of `count` queries plus the weighted values, 16 dimensions at a time. */
static inline __attribute__((always_inline)) void mix(const struct attention_tile *t, int first,
                                                      const int count, struct attention_span keys)
{
    const float *w = t->weight + (size_t)first * ATTENTION_KEYS;
    for (int d = 0; d < t->dim; d += STEP) {
        float *sum = t->sum + (size_t)first * (size_t)t->padded + (size_t)d;
        simd a[ROWS][2];
        for (int i = 0; i < count; i++) {
            a[i][0] = simd_load(sum + (size_t)i * (size_t)t->padded);
            a[i][1] = simd_load(sum + (size_t)i * (size_t)t->padded + SIMD_LANES);
        }
        for (int j = keys.begin; j < keys.end; j++) {
            const float *v = t->values + (size_t)j * (size_t)t->padded + (size_t)d;
            simd v0 = simd_load(v), v1 = simd_load(v + SIMD_LANES);
#pragma GCC unroll 12
            for (int i = 0; i < count; i++) {
                simd x = simd_all(w[i * ATTENTION_KEYS + j]);
                a[i][0] = simd_fma(x, v0, a[i][0]);
                a[i][1] = simd_fma(x, v1, a[i][1]);
            }
        }
        for (int i = 0; i < count; i++) {
            simd_store(sum + (size_t)i * (size_t)t->padded, a[i][0]);
            simd_store(sum + (size_t)i * (size_t)t->padded + SIMD_LANES, a[i][1]);
        }
    }
}

/* A larger score has come: the sums so far weigh less. */
static void rescale(const struct attention_tile *t, int index, float largest)
{
    simd factor = simd_exp(simd_all(t->largest[index] - largest));
    float *sum = t->sum + (size_t)index * (size_t)t->padded;
    for (int d = 0; d < t->padded; d += SIMD_LANES)
        simd_store(sum + d, simd_load(sum + d) * factor);
    t->total[index] *= factor[0];
    t->largest[index] = largest;
}

/* One query's scores become weights: e^(score - largest so far). NaN stays NaN. */
static void soften(const struct attention_tile *t, int index, struct attention_span keys)
{
    float *s = t->weight + (size_t)index * ATTENTION_KEYS;
    for (int i = 0; t->cap > 0 && i < ATTENTION_KEYS; i += SIMD_LANES)
        simd_store(s + i, simd_cap(simd_load(s + i), t->cap));
    for (int j = 0; j < keys.begin; j++)
        s[j] = -INFINITY;
    for (int j = keys.end; j < ATTENTION_KEYS; j++)
        s[j] = -INFINITY;
    simd v[PARTS], top;
    simd_eight total = {0};
    for (int i = 0; i < PARTS; i++)
        v[i] = simd_load(s + i * SIMD_LANES);
    top = v[0];
    for (int i = 1; i < PARTS; i++)
        top = simd_max(top, v[i]);
    float largest = simd_largest(top);
    if (largest > t->largest[index])
        rescale(t, index, largest);
    for (int i = 0; i < PARTS; i++) {
        simd e = simd_exp(v[i] - t->largest[index]);
        simd_store(s + i * SIMD_LANES, e);
        for (int k = 0; k < SIMD_EIGHTS; k++)
            total += simd_part(e, k);
    }
    t->total[index] += simd_sum(total);
}

static inline __attribute__((always_inline)) void add(const struct attention_tile *t, int first,
                                                      const int count, struct attention_span keys)
{
    score(t, first, count);
    for (int i = 0; i < count; i++)
        soften(t, first + i, keys);
    mix(t, first, count, keys);
}

static void add_queries(struct attention_tile *t, int first, int count, struct attention_span keys)
{
    for (int left = count, some; left > 0; left -= some, first += some) {
        some = left > ROWS && left < 2 * ROWS ? (left + 1) / 2 : left < ROWS ? left : ROWS;
        switch (some) {
#define SOME(N)                 \
    case N:                     \
        add(t, first, N, keys); \
        break;
#if SIMD_LANES == 16
            SOME(12)
            SOME(11)
            SOME(10)
            SOME(9)
            SOME(8)
            SOME(7)
#endif
            SOME(6)
            SOME(5)
            SOME(4)
            SOME(3)
            SOME(2)
            SOME(1)
#undef SOME
        }
    }
}

const struct attention_kernels VARIANT = {.query = query, .page = page, .add = add_queries};
