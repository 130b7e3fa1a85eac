#include "core/forward/blocks.h"
#include "core/forward/product.h"
#include "core/kernels/vector.h"

/* Each worker adds the rows that it just computed. */
static void add_block(struct forward *f, const struct matrix *w, int block)
{
    int row = linear_block_row(block), rows = linear_block_rows(w, block), hidden = f->model->config.hidden;
    for (int t = 0; t < f->batch->count; t++)
        vector_add(row_at(f->x, t, hidden) + row, row_at(f->branch, t, hidden) + row, rows);
}

void residual_add(struct forward *f, const struct linear *l, const float *input, const struct worker *w)
{
    struct input in = input_tokens(f, input, l);
    struct product p = {.input = &in, .y = f->branch, .stride = f->model->config.hidden};
    input_prepare(f, &in, w);
    for (int block = w->index; block < linear_blocks(&l->weight); block += w->count) {
        product_block(f, &p, block, w);
        add_block(f, &l->weight, block);
    }
    pool_barrier(f->pool);
}
