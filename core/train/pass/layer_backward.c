#include <string.h>

#include "core/forward/blocks.h"
#include "core/train/pass/blocks_backward.h"

/* q and k before their norms; by the same worker that will turn the token's heads. */
static void keep_heads(struct train_pass *p, const struct layer *l, const struct worker *w)
{
    const struct model *m = p->model;
    int size = model_q_size(m) + model_kv_size(m);
    for (int t = w->index; l->head_norms > 0 && t < p->token_runs.rows; t += w->count)
        memcpy(row_at(p->qk, t, size), row_at(p->forward->qkv, t, model_qkv_size(m)),
               (size_t)size * sizeof *p->qk);
}

/* What attention gave, before the MLP's turn. */
static void keep_attended(struct train_pass *p, const struct layer *l, const struct worker *w)
{
    int hidden = p->model->config.hidden;
    for (int t = w->index; l->attention_post_norm.weight && t < p->token_runs.rows; t += w->count)
        memcpy(row_at(p->attended, t, hidden), row_at(p->forward->branch, t, hidden),
               (size_t)hidden * sizeof *p->attended);
}

void layer_backward(struct train_pass *p, int layer, const struct worker *w)
{
    attention_backward_restore(p, layer, w);
    attention_block_project(p->forward, layer, w);
    keep_heads(p, &p->model->layers[layer], w);
    attention_block_attend(p->forward, layer, w);
    keep_attended(p, &p->model->layers[layer], w);
    mlp_backward(p, layer, w);
    attention_backward(p, layer, w);
}
