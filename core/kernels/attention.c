#include "core/kernels/attention.h"

#include "core/kernels/bf16.h"
#include "core/kernels/lanes.h"

enum { PARTS = ATTENTION_KEYS / LANES };

size_t kv_type_size(enum kv_type t)
{
    return t == KV_F32 ? sizeof(float) : sizeof(uint16_t);
}

void attention_put(enum kv_type type, void *keys, void *values, int slot, const float *key,
                   const float *value, int dim)
{
    if (type == KV_F32) {
        for (int d = 0; d < dim; d++)
            ((float *)keys)[d * ATTENTION_KEYS + slot] = key[d];
        memcpy((float *)values + (size_t)slot * (size_t)dim, value, (size_t)dim * sizeof *value);
        return;
    }
    for (int d = 0; d < dim; d++)
        ((uint16_t *)keys)[d * ATTENTION_KEYS + slot] = bf16_of(key[d]);
    for (int d = 0; d < dim; d++)
        ((uint16_t *)values)[slot * dim + d] = bf16_of(value[d]);
}

static inline lanes load(enum kv_type type, const void *p, size_t index)
{
    return type == KV_F32 ? lanes_load((const float *)p + index)
                          : lanes_load_bf16((const uint16_t *)p + index);
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
        lanes_store(s0 + i * LANES, a[i] * scale);
        if (two)
            lanes_store(s1 + i * LANES, b[i] * scale);
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
    else
        scores_of(KV_BF16, queries, query_stride, count, keys, dim, scale, scores, score_stride);
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
            lanes x = lanes_all(w0[j]), y = lanes_all(two ? w1[j] : 0);
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
            float v = type == KV_F32 ? ((const float *)values)[j * dim + d]
                                     : bf16_widen(((const uint16_t *)values)[j * dim + d]);
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
    else
        mix_of(KV_BF16, weights, weight_stride, count, used, values, dim, out);
}
