#include "core/forward/numeric.h"

#include "core/forward/product.h"
#include "core/kernels/vector.h"

static void relu_block(const struct forward *f, const struct product *p, int block)
{
    const struct matrix *w = &p->input->linear[0]->weight;
    for (int t = 0; t < f->batch->count; t++)
        vector_relu(row_at(p->y, t, p->stride) + linear_block_row(block), linear_block_rows(w, block));
}

/* Layer i reads what the layer before it wrote; x and h take turns. */
static void layer(struct forward *f, int i, const struct worker *w)
{
    const struct model *m = f->model;
    const struct linear *l = &m->mlp[i];
    bool last = i == m->config.mlp_layers - 1;
    struct input in = input_tokens(f, i % 2 ? f->h : f->x, l);
    struct product p = {.input = &in, .y = last ? f->logits : i % 2 ? f->x : f->h, .stride = l->weight.rows};
    input_prepare(f, &in, w);
    for (int block = w->index; block < linear_blocks(&l->weight); block += w->count) {
        product_block(f, &p, block, w);
        if (!last)
            relu_block(f, &p, block);
    }
    pool_barrier(f->pool);
}

void numeric_pass(struct forward *f, const struct worker *w)
{
    for (int i = 0; i < f->model->config.mlp_layers; i++)
        layer(f, i, w);
}
