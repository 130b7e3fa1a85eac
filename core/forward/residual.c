#include "core/forward/blocks.h"
#include "core/kernels/vector.h"

void residual_add(struct forward *f, const struct input *in, const struct worker *w)
{
    const struct matrix *weight = &in->linear[0]->weight;
    int hidden = f->model->config.hidden;
    float multiplier = f->model->config.residual_multiplier;
    input_prepare(f, in, w);
    for (int block = w->index; block < linear_blocks(weight); block += w->count) {
        int row = linear_block_row(block), rows = linear_block_rows(weight, block);
        struct product p = {.input = in, .y = w->up, .stride = LINEAR_ROWS, .from = row};
        gate_pass(f->gate);
        product_block(f, &p, block, w);
        for (int t = 0; t < in->rows.count && multiplier != 1; t++)
            vector_scale(row_at(w->up, t, LINEAR_ROWS), multiplier, rows);
        for (int t = 0; t < in->rows.count; t++)
            vector_add(row_at(f->x, t, hidden) + row, row_at(w->up, t, LINEAR_ROWS), rows);
    }
    pool_barrier(f->pool);
}
