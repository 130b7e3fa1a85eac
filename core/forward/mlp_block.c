#include <string.h>

#include "core/forward/blocks.h"
#include "core/kernels/vector.h"

/* y[i] = activation(gate[i]) * y[i]; without a gate, y[i] = activation(y[i]). */
static void activate(const struct forward *f, float *gate, float *y, int count)
{
    if (!gate) {
        vector_gelu_tanh(y, count);
    } else if (f->model->config.activation == ACTIVATION_SILU) {
        vector_silu_gate(y, gate, y, count);
    } else {
        vector_gelu_tanh(gate, count);
        vector_multiply(y, gate, count);
    }
}

/* Which block of which layer is up's block `block`, and which gate's. */
struct halves {
    int up, up_block, gate, gate_block; /* gate -1: there is none */
};

static struct halves halves_of(const struct layer *l, int intermediate, int block)
{
    if (l->gate_up)
        return (struct halves){0, intermediate / LINEAR_ROWS + block, 0, block};
    return (struct halves){0, block, l->gate.weight.data ? 1 : -1, block};
}

/* A block of the hidden layer, of all tokens: up and gate, then the activation, left in w->up. It stays in
 * the cache until it is handed on. */
static void activated_block(struct forward *f, const struct layer *l, const struct input *in, int block,
                            const struct worker *w)
{
    struct halves h = halves_of(l, l->down.weight.cols, block);
    int rows = linear_block_rows(&in->linear[h.up]->weight, h.up_block);
    struct product up = {.input = in,
                         .which = h.up,
                         .y = w->up,
                         .stride = LINEAR_ROWS,
                         .from = linear_block_row(h.up_block)},
                   gate = {.input = in,
                           .which = h.gate,
                           .y = w->gate,
                           .stride = LINEAR_ROWS,
                           .from = linear_block_row(h.gate_block)};
    product_block(f, &up, h.up_block, w);
    if (h.gate >= 0)
        product_block(f, &gate, h.gate_block, w);
    for (int t = 0; t < in->rows.count; t++)
        activate(f, h.gate >= 0 ? row_at(w->gate, t, LINEAR_ROWS) : NULL, row_at(w->up, t, LINEAR_ROWS),
                 rows);
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

/* Gate and up side by side for all tokens, and then the hidden layer. */
static void hidden_whole(struct forward *f, const struct input *in, int size, const struct worker *w)
{
    product_share(f, &(struct product){.input = in, .y = f->gate_up, .stride = 2 * size}, w);
    pool_barrier(f->pool);
    for (int t = w->index; t < in->rows.count; t += w->count) {
        float *gate = row_at(f->gate_up, t, 2 * size), *up = row_at(f->up, t, size);
        memcpy(up, gate + size, (size_t)size * sizeof *up);
        activate(f, gate, up, size);
    }
}

static void hidden_by_blocks(struct forward *f, const struct layer *l, const struct input *in,
                             const struct input *down, const struct worker *w)
{
    int blocks = (l->down.weight.cols + LINEAR_ROWS - 1) / LINEAR_ROWS;
    for (int block = w->index; block < blocks; block += w->count) {
        gate_pass(f->gate);
        activated_block(f, l, in, block, w);
        hand_on(f, down, block, w);
    }
}

void mlp_block(struct forward *f, int layer, const struct worker *w)
{
    const struct layer *l = &f->model->layers[layer];
    struct input in = input_tokens(f, f->h, &l->up), down = input_tokens(f, f->up, &l->down);
    int size = l->down.weight.cols;
    bool whole = l->gate_up && size % LINEAR_ROWS != 0;
    if (l->gate.weight.data)
        in.linear[in.count++] = &l->gate;
    down.q = &f->hidden;
    down.quantized = l->down.packed.bits != 0 && !whole;
    input_normalize(f, layer_mlp_norm(l, &f->model->config), &in, w);
    if (whole)
        hidden_whole(f, &in, size, w);
    else
        hidden_by_blocks(f, l, &in, &down, w);
    pool_barrier(f->pool);
    residual_add(f, &down, &l->mlp_post_norm, w);
}
