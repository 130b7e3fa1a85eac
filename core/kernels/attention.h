/* softmax(scale q K^T) V over pages of 32 keys and values of one KV head. Any thread.
 *
 * A tile is the queries that share these pages: of heads that share the KV head, and of neighbouring tokens
 * of one sequence. A page is widened to f32 once for the whole tile. Pages are added one by one, and the
 * softmax is carried on from page to page (Milakov and Gimelshein 2018): sums so far are scaled down when a
 * larger score comes. Each query's numbers have an order of their own - dimensions, keys, pages - whatever
 * the tile is. A key page is [dim, 32] and a value page [32, dim]. */
#pragma once
#include "core/kernels/kernels.h"

/* Bytes of one head's keys, or values, in one page. */
size_t attention_page_bytes(enum kv_type t, int dim);
/* Put one token's key and value [dim] into slot `slot` of the page. */
void attention_put(enum kv_type type, void *keys, void *values, int slot, const float *key,
                   const float *value, int dim);

size_t attention_scratch(int dim); /* floats that a tile needs */
/* scale 1 / sqrt(dim), and no cap, unless the caller sets others. */
void attention_begin(struct attention_tile *t, enum kv_type type, int dim, float *scratch);
/* Query number `index` [dim]; nothing is added to it yet. */
void attention_query(struct attention_tile *t, int index, const float *query);
/* Take a page in hand. */
void attention_page(struct attention_tile *t, const void *keys, const void *values);
/* Add these keys of the page in hand to the queries [first, first + count). The others are not looked at. */
void attention_add(struct attention_tile *t, int first, int count, struct attention_span keys);
/* What query `index` comes to; out: [dim]. */
void attention_result(const struct attention_tile *t, int index, float *out);
