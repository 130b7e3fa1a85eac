/* The network backwards, a part at a time: p->dx, the gradient of what the part gave to the residual stream,
 * becomes that of what it read. Each ends at a barrier. */
#pragma once
#include "core/train/pass/pass.h"

/* A layer, from its saved input. */
void layer_backward(struct train_pass *p, int layer, const struct worker *w);
/* forward->x = what the layer read. */
void attention_backward_restore(struct train_pass *p, int layer, const struct worker *w);
/* forward->x is what the MLP read, and stays. */
void mlp_backward(struct train_pass *p, int layer, const struct worker *w);
/* forward->qkv and forward->attention are as attention_block leaves them, p->qk is q and k before their
 * norms. forward->x becomes what the layer read. */
void attention_backward(struct train_pass *p, int layer, const struct worker *w);
/* The tables that the stream begins with. */
void table_backward(struct train_pass *p, const struct worker *w);
