#include <string.h>

#include "core/forward/blocks.h"
#include "core/kernels/vector.h"

/* A block of the hidden layer, of all tokens: up and gate, then the activation, left in w->up. It stays in
 * the cache until it is handed on. */
static void activated_block(struct forward *f, const struct input *in, int block, const struct worker *w)
{
    int row = linear_block_row(block), rows = linear_block_rows(&in->linear[0]->weight, block);
    struct product up = {.input = in, .which = 0, .y = w->up, .stride = LINEAR_ROWS, .from = row}, gate = up;
    product_block(f, &up, block, w);
    if (in->count == 1) {
        for (int t = 0; t < in->rows.count; t++)
            vector_gelu_tanh(row_at(w->up, t, LINEAR_ROWS), rows);
        return;
    }
    gate.which = 1;
    gate.y = w->gate;
    product_block(f, &gate, block, w);
    for (int t = 0; t < in->rows.count; t++) {
        float *y = row_at(w->up, t, LINEAR_ROWS);
        vector_silu_gate(y, row_at(w->gate, t, LINEAR_ROWS), y, rows);
    }
}

/* As the last layer reads it: quantized where its weights are; as numbers where they are not, or a delta
 * reads them. */
static void hand_on(struct forward *f, const struct input *down, int block, const struct worker *w)
{
    const struct matrix *weight = &down->linear[0]->weight;
    int first = block * LINEAR_ROWS, left = weight->cols - first;
    if (down->quantized)
        input_quantize_block(f, down, block, w->up);
    if (down->quantized && !f->any_delta)
        return;
    for (int t = 0; t < down->rows.count; t++)
        memcpy(row_at(f->up, t, weight->cols) + first, row_at(w->up, t, LINEAR_ROWS),
               (size_t)(left < LINEAR_ROWS ? left : LINEAR_ROWS) * sizeof *f->up);
}

void mlp_block(struct forward *f, int layer, const struct worker *w)
{
    const struct layer *l = &f->model->layers[layer];
    struct input in = input_tokens(f, f->h, &l->up), down = input_tokens(f, f->up, &l->down);
    if (l->gate.weight.data)
        in.linear[in.count++] = &l->gate;
    down.q = &f->hidden;
    down.quantized = l->down.packed.bits != 0;
    input_normalize(f, &l->mlp_norm, &in, w);
    for (int block = w->index; block < linear_blocks(&l->up.weight); block += w->count) {
        gate_pass(f->gate);
        activated_block(f, &in, block, w);
        hand_on(f, &down, block, w);
    }
    pool_barrier(f->pool);
    residual_add(f, &down, w);
}
