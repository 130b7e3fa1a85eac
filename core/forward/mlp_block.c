#include "core/forward/blocks.h"
#include "core/forward/product.h"
#include "core/kernels/vector.h"

/* The activated rows of one block of the hidden layer, left in `up`. */
static void activate(struct forward *f, const struct layer *l, int block)
{
    int row = linear_block_row(block), rows = linear_block_rows(&l->up.weight, block);
    for (int t = 0; t < f->batch->count; t++) {
        float *up = row_at(f->up, t, f->model->config.intermediate) + row;
        if (l->gate.weight.data)
            vector_silu_gate(up, row_at(f->gate, t, f->model->config.intermediate) + row, up, rows);
        else
            vector_gelu_tanh(up, rows);
    }
}

void mlp_block(struct forward *f, int layer, const struct worker *w)
{
    const struct layer *l = &f->model->layers[layer];
    int width = f->model->config.intermediate;
    struct input in = input_tokens(f, f->h, &l->up);
    if (l->gate.weight.data)
        in.linear[in.count++] = &l->gate;
    struct product up = {.input = &in, .which = 0, .y = f->up, .stride = width},
                   gate = {.input = &in, .which = 1, .y = f->gate, .stride = width};
    input_normalize(f, &l->mlp_norm, &in, w);
    for (int block = w->index; block < linear_blocks(&l->up.weight); block += w->count) {
        product_block(f, &up, block, w);
        if (in.count > 1)
            product_block(f, &gate, block, w);
        activate(f, l, block);
    }
    pool_barrier(f->pool);
    residual_add(f, &l->down, f->up, w);
}
