/* The two halves of a decoder's layer: x += attention(norm(x)), then x += mlp(norm(x)). Each ends at a
 * barrier. For core/forward only. */
#pragma once
#include "core/forward/product.h"

void attention_block(struct forward *f, int layer, const struct worker *w);
void mlp_block(struct forward *f, int layer, const struct worker *w);
/* x += the input's one layer, the end of both. */
void residual_add(struct forward *f, const struct input *in, const struct worker *w);
