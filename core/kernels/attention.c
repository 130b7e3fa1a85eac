#include "core/kernels/attention.h"

#include <math.h>

#include "core/kernels/bf16.h"
#include "core/kernels/lanes.h"

enum { PARTS = ATTENTION_KEYS / LANES };

size_t attention_page_bytes(enum kv_type t, int dim)
{
    static const size_t sizes[] = {[KV_F32] = sizeof(float), [KV_BF16] = sizeof(uint16_t), [KV_INT8] = 1};
    return ATTENTION_KEYS * ((size_t)dim * sizes[t] + (t == KV_INT8 ? sizeof(float) : 0));
}

/* The scales of an int8 page. */
static float *scales_of(void *page, int dim)
{
    return (float *)((char *)page + ATTENTION_KEYS * (size_t)dim);
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

static inline lanes load_int8(const int8_t *p)
{
    typedef int8_t bytes __attribute__((vector_size(8)));
    bytes b;
    memcpy(&b, p, sizeof b);
    return __builtin_convertvector(b, lanes);
}

static inline lanes load(enum kv_type type, const void *p, size_t index)
{
    return type == KV_F32    ? lanes_load((const float *)p + index)
           : type == KV_BF16 ? lanes_load_bf16((const uint16_t *)p + index)
                             : load_int8((const int8_t *)p + index);
}

static inline float load_one(enum kv_type type, const void *p, size_t index)
{
    return type == KV_F32    ? ((const float *)p)[index]
           : type == KV_BF16 ? bf16_widen(((const uint16_t *)p)[index])
                             : (float)((const int8_t *)p)[index];
}

/* One or two queries by all keys of the page, the keys in the lanes. */
static inline __attribute__((always_inline)) void score_tile(enum kv_type type, const float *q0,
                                                             const float *q1, const int two, const void *keys,
                                                             int dim, float scale, float *s0, float *s1)
{
    lanes a[PARTS] = {0}, b[PARTS] = {0};
    for (int d = 0; d < dim; d++) {
        lanes x = lanes_all(q0[d]), y = lanes_all(two ? q1[d] : 0);
        for (int i = 0; i < PARTS; i++) {
            lanes k = load(type, keys, (size_t)(d * ATTENTION_KEYS + i * LANES));
            a[i] = lanes_fma(x, k, a[i]);
            if (two)
                b[i] = lanes_fma(y, k, b[i]);
        }
    }
    for (int i = 0; i < PARTS; i++) {
        lanes factor = lanes_all(scale);
        if (type == KV_INT8)
            factor *= lanes_load(scales_of((void *)keys, dim) + i * LANES);
        lanes_store(s0 + i * LANES, a[i] * factor);
        if (two)
            lanes_store(s1 + i * LANES, b[i] * factor);
    }
}

static inline __attribute__((always_inline)) void scores_of(enum kv_type type, const float *queries,
                                                            int query_stride, int count, const void *keys,
                                                            int dim, float scale, float *scores,
                                                            int score_stride)
{
    for (int i = 0; i < count; i += 2) {
        const float *q = queries + (size_t)i * (size_t)query_stride;
        float *s = scores + (size_t)i * (size_t)score_stride;
        if (i + 1 < count)
            score_tile(type, q, q + query_stride, 1, keys, dim, scale, s, s + score_stride);
        else
            score_tile(type, q, NULL, 0, keys, dim, scale, s, NULL);
    }
}

void attention_scores(enum kv_type type, const float *queries, int query_stride, int count, const void *keys,
                      int dim, float scale, float *scores, int score_stride)
{
    if (type == KV_F32)
        scores_of(KV_F32, queries, query_stride, count, keys, dim, scale, scores, score_stride);
    else if (type == KV_BF16)
        scores_of(KV_BF16, queries, query_stride, count, keys, dim, scale, scores, score_stride);
    else
        scores_of(KV_INT8, queries, query_stride, count, keys, dim, scale, scores, score_stride);
}

enum { MIX = 4 }; /* registers along the dimensions, for each of two queries */

/* One or two queries: the sums stay in registers while the keys pass. */
static inline __attribute__((always_inline)) void mix_tile(enum kv_type type, const float *w0,
                                                           const float *w1, const int two, int used,
                                                           const void *values, int dim, float *o0, float *o1)
{
    int d = 0;
    for (; d + MIX * LANES <= dim; d += MIX * LANES) {
        lanes a[MIX], b[MIX];
        for (int i = 0; i < MIX; i++) {
            a[i] = lanes_load(o0 + d + i * LANES);
            b[i] = two ? lanes_load(o1 + d + i * LANES) : a[i];
        }
        for (int j = 0; j < used; j++) {
            float factor = type == KV_INT8 ? scales_of((void *)values, dim)[j] : 1;
            lanes x = lanes_all(w0[j] * factor), y = lanes_all(two ? w1[j] * factor : 0);
            for (int i = 0; i < MIX; i++) {
                lanes v = load(type, values, (size_t)(j * dim + d + i * LANES));
                a[i] = lanes_fma(x, v, a[i]);
                if (two)
                    b[i] = lanes_fma(y, v, b[i]);
            }
        }
        for (int i = 0; i < MIX; i++) {
            lanes_store(o0 + d + i * LANES, a[i]);
            if (two)
                lanes_store(o1 + d + i * LANES, b[i]);
        }
    }
    for (; d < dim; d++) /* what is left of an odd head */
        for (int j = 0; j < used; j++) {
            float v = load_one(type, values, (size_t)(j * dim + d));
            if (type == KV_INT8)
                v *= scales_of((void *)values, dim)[j];
            o0[d] += w0[j] * v;
            if (two)
                o1[d] += w1[j] * v;
        }
}

static inline __attribute__((always_inline)) void mix_of(enum kv_type type, const float *weights, int stride,
                                                         int count, int used, const void *values, int dim,
                                                         float *out)
{
    for (int i = 0; i < count; i += 2) {
        const float *w = weights + (size_t)i * (size_t)stride;
        float *o = out + (size_t)i * (size_t)dim;
        if (i + 1 < count)
            mix_tile(type, w, w + stride, 1, used, values, dim, o, o + dim);
        else
            mix_tile(type, w, NULL, 0, used, values, dim, o, NULL);
    }
}

void attention_mix(enum kv_type type, const float *weights, int weight_stride, int count, int used,
                   const void *values, int dim, float *out)
{
    if (type == KV_F32)
        mix_of(KV_F32, weights, weight_stride, count, used, values, dim, out);
    else if (type == KV_BF16)
        mix_of(KV_BF16, weights, weight_stride, count, used, values, dim, out);
    else
        mix_of(KV_INT8, weights, weight_stride, count, used, values, dim, out);
}
