/* The two halves of a decoder's layer: x += attention(norm(x)), then x += mlp(norm(x)), or both of one
 * norm side by side. Each ends at a
 * barrier. For core/forward, and for core/train, which computes layers again. */
#pragma once
#include "core/forward/product.h"

void attention_block(struct forward *f, int layer, const struct worker *w);
/* The same in two steps: f->qkv = q, k and v as the linear layers give them, and all the rest. Each ends at a
 * barrier. */
void attention_block_project(struct forward *f, int layer, const struct worker *w);
void attention_block_attend(struct forward *f, int layer, const struct worker *w);
void mlp_block(struct forward *f, int layer, const struct worker *w);
/* Row `index` of a table as the delta has it, into `out`. low: room for its A. */
void forward_embed_row(const struct table *table, const struct delta *delta, int index, float *low,
                       float *out);
/* x += norm(the input's one layer), the end of both; and what was kept. */
void residual_add(struct forward *f, const struct input *in, const struct norm *n, const struct worker *w);
/* f->branch = the input's one layer. Both end at a barrier. */
void residual_keep(struct forward *f, const struct input *in, const struct worker *w);
