#include "core/kernels/attention.h"

#include <math.h>

#include "core/format/bf16.h"
#include "core/kernels/simd.h"

enum {
    PARTS = ATTENTION_KEYS / SIMD_LANES,
    ROWS = 6, /* queries whose sums fit into registers */
    STEP = 2 * SIMD_LANES
};

size_t attention_page_bytes(enum kv_type t, int dim)
{
    static const size_t sizes[] = {[KV_F32] = sizeof(float), [KV_BF16] = sizeof(uint16_t), [KV_INT8] = 1};
    return ATTENTION_KEYS * ((size_t)dim * sizes[t] + (t == KV_INT8 ? sizeof(float) : 0));
}

/* The scales of an int8 page. */
static float *scales_of(const void *page, int dim)
{
    return (float *)((char *)(uintptr_t)page + ATTENTION_KEYS * (size_t)dim);
}

/* Put number `index` of the page, divided by the scale where it is int8. */
static void put(enum kv_type type, void *page, size_t index, float x, float inverse)
{
    if (type == KV_F32)
        ((float *)page)[index] = x;
    else if (type == KV_BF16)
        ((uint16_t *)page)[index] = bf16_of(x);
    else
        ((int8_t *)page)[index] = (int8_t)lrintf(x * inverse);
}

/* One token's vector into its slot; `first` and `step` say where its numbers lie. */
static void put_vector(enum kv_type type, void *page, int slot, const float *x, int dim, size_t first,
                       size_t step)
{
    float largest = 0;
    for (int d = 0; type == KV_INT8 && d < dim; d++)
        largest = fabsf(x[d]) > largest ? fabsf(x[d]) : largest;
    float inverse = largest > 0 ? 127.0f / largest : 0;
    if (type == KV_INT8)
        scales_of(page, dim)[slot] = largest / 127.0f;
    for (int d = 0; d < dim; d++)
        put(type, page, first + (size_t)d * step, x[d], inverse);
}

void attention_put(enum kv_type type, void *keys, void *values, int slot, const float *key,
                   const float *value, int dim)
{
    put_vector(type, keys, slot, key, dim, (size_t)slot, ATTENTION_KEYS);
    put_vector(type, values, slot, value, dim, (size_t)slot * (size_t)dim, 1);
}

/* ---- the tile ---- */

static int padded(int dim)
{
    return (dim + STEP - 1) / STEP * STEP;
}

size_t attention_scratch(int dim)
{
    size_t query = (size_t)dim + (size_t)padded(dim) + ATTENTION_KEYS + 2;
    return ATTENTION_QUERIES * query + ATTENTION_KEYS * ((size_t)dim + (size_t)padded(dim));
}

void attention_begin(struct attention_tile *t, int dim, float *scratch)
{
    size_t width = (size_t)padded(dim);
    *t = (struct attention_tile){.dim = dim, .padded = (int)width, .scale = 1.0f / sqrtf((float)dim)};
    t->keys = scratch;
    t->values = t->keys + (size_t)dim * ATTENTION_KEYS;
    t->sum = t->values + ATTENTION_KEYS * width;
    t->weight = t->sum + ATTENTION_QUERIES * width;
    t->query = t->weight + ATTENTION_QUERIES * ATTENTION_KEYS;
    t->largest = t->query + ATTENTION_QUERIES * (size_t)dim;
    t->total = t->largest + ATTENTION_QUERIES;
}

void attention_query(struct attention_tile *t, int index, const float *query)
{
    memcpy(t->query + (size_t)index * (size_t)t->dim, query, (size_t)t->dim * sizeof *query);
    memset(t->sum + (size_t)index * (size_t)t->padded, 0, (size_t)t->padded * sizeof *t->sum);
    t->largest[index] = -INFINITY;
    t->total[index] = 0;
}

void attention_result(const struct attention_tile *t, int index, float *out)
{
    const float *sum = t->sum + (size_t)index * (size_t)t->padded;
    float inverse = 1.0f / t->total[index];
    for (int d = 0; d < t->dim; d++)
        out[d] = sum[d] * inverse;
}

/* ---- a page, widened ---- */

static inline simd load_int8(const int8_t *p)
{
    typedef int8_t bytes __attribute__((vector_size(8)));
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
    const float *key_scale = scales_of(keys, t->dim), *value_scale = scales_of(values, t->dim);
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

void attention_page(struct attention_tile *t, enum kv_type type, const void *keys, const void *values)
{
    if (type == KV_F32)
        widen(t, KV_F32, keys, values);
    else if (type == KV_BF16)
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
#pragma GCC unroll 6
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
    for (int d = 0; d < t->padded; d += STEP) {
        float *sum = t->sum + (size_t)first * (size_t)t->padded + (size_t)d;
        simd a[ROWS][2];
        for (int i = 0; i < count; i++) {
            a[i][0] = simd_load(sum + (size_t)i * (size_t)t->padded);
            a[i][1] = simd_load(sum + (size_t)i * (size_t)t->padded + SIMD_LANES);
        }
        for (int j = keys.begin; j < keys.end; j++) {
            const float *v = t->values + (size_t)j * (size_t)t->padded + (size_t)d;
            simd v0 = simd_load(v), v1 = simd_load(v + SIMD_LANES);
#pragma GCC unroll 6
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

static float largest_of(simd v)
{
    float largest = v[0];
    for (int i = 1; i < SIMD_LANES; i++)
        largest = v[i] > largest ? v[i] : largest;
    return largest;
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
    for (int j = 0; j < keys.begin; j++)
        s[j] = -INFINITY;
    for (int j = keys.end; j < ATTENTION_KEYS; j++)
        s[j] = -INFINITY;
    simd v[PARTS], total = {0};
    for (int i = 0; i < PARTS; i++)
        v[i] = simd_load(s + i * SIMD_LANES);
    float largest = largest_of(simd_max(simd_max(v[0], v[1]), simd_max(v[2], v[3])));
    if (largest > t->largest[index])
        rescale(t, index, largest);
    for (int i = 0; i < PARTS; i++) {
        simd e = simd_exp(v[i] - t->largest[index]);
        simd_store(s + i * SIMD_LANES, e);
        total += e;
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

void attention_add(struct attention_tile *t, int first, int count, struct attention_span keys)
{
    for (int left = count, some; left > 0; left -= some, first += some) {
        some = left > ROWS && left < 2 * ROWS ? (left + 1) / 2 : left < ROWS ? left : ROWS;
        switch (some) {
        case 6:
            add(t, first, 6, keys);
            break;
        case 5:
            add(t, first, 5, keys);
            break;
        case 4:
            add(t, first, 4, keys);
            break;
        case 3:
            add(t, first, 3, keys);
            break;
        case 2:
            add(t, first, 2, keys);
            break;
        default:
            add(t, first, 1, keys);
            break;
        }
    }
}
