/* The two small products of attention over one page of 32 keys and values of one KV head. Any thread.
 *
 * Queries that share the KV head (of several tokens of a sequence, of several heads) are done together; each
 * one's sums have a fixed order of their own: over the head's dimensions for scores, over the keys in order
 * for the mix. A key page is [dim, 32] and a value page [32, dim]. */
#pragma once
#include <stddef.h>

enum { ATTENTION_KEYS = 32 };
enum kv_type {
    KV_F32,
    KV_BF16,
    KV_INT8 /* one f32 scale per key and per value, behind the page */
};

/* Bytes of one head's keys, or values, in one page. */
size_t attention_page_bytes(enum kv_type t, int dim);
/* Put one token's key and value [dim] into slot `slot` of the page. */
void attention_put(enum kv_type type, void *keys, void *values, int slot, const float *key,
                   const float *value, int dim);
/* scores[i][j] = scale * (query i . key j), for all 32 keys. */
void attention_scores(enum kv_type type, const float *queries, int query_stride, int count, const void *keys,
                      int dim, float scale, float *scores, int score_stride);
/* out[i] += sum over the first `used` keys of weights[i][j] * value j; out: [count, dim]. */
void attention_mix(enum kv_type type, const float *weights, int weight_stride, int count, int used,
                   const void *values, int dim, float *out);
