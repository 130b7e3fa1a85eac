#include "core/forward/blocks.h"
#include "core/forward/norm.h"
#include "core/kernels/vector.h"

/* What a block gives goes to the stream while it is in the cache. Where the blocks are parallel, the kept one
 * goes with it. */
static void add_blocks(struct forward *f, const struct input *in, const struct worker *w)
{
    const struct matrix *weight = &in->linear[0]->weight;
    int hidden = f->model->config.hidden;
    float multiplier = f->model->config.residual_multiplier;
    for (int block = w->index; block < linear_blocks(weight); block += w->count) {
        int row = linear_block_row(block), rows = linear_block_rows(weight, block);
        struct product p = {.input = in, .y = w->up, .stride = LINEAR_ROWS, .from = row};
        gate_pass(f->gate);
        product_block(f, &p, block, w);
        for (int t = 0; t < in->rows.count && multiplier != 1; t++)
            vector_scale(row_at(w->up, t, LINEAR_ROWS), multiplier, rows);
        for (int t = 0; t < in->rows.count; t++)
            vector_add(row_at(f->x, t, hidden) + row, row_at(w->up, t, LINEAR_ROWS), rows);
        for (int t = 0; f->model->config.parallel && t < in->rows.count; t++)
            vector_add(row_at(f->x, t, hidden) + row, row_at(f->branch, t, hidden) + row, rows);
    }
}

/* A norm needs whole rows. Those of f->branch stay as they are: training looks at them again. */
static void add_rows(struct forward *f, const struct input *in, const struct norm *n, const struct worker *w)
{
    int hidden = f->model->config.hidden;
    for (int t = w->index; t < in->rows.count; t += w->count) {
        norm_row(n, in->rows.delta[t], row_at(f->branch, t, hidden), w->scratch);
        if (f->model->config.residual_multiplier != 1)
            vector_scale(w->scratch, f->model->config.residual_multiplier, hidden);
        vector_add(row_at(f->x, t, hidden), w->scratch, hidden);
    }
}

void residual_keep(struct forward *f, const struct input *in, const struct worker *w)
{
    input_prepare(f, in, w);
    product_share(f, &(struct product){.input = in, .y = f->branch, .stride = f->model->config.hidden}, w);
    pool_barrier(f->pool);
}

void residual_add(struct forward *f, const struct input *in, const struct norm *n, const struct worker *w)
{
    if (n->weight) {
        residual_keep(f, in, w);
        add_rows(f, in, n, w);
    } else {
        input_prepare(f, in, w);
        add_blocks(f, in, w);
    }
    pool_barrier(f->pool);
}
