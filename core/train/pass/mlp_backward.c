#include "core/train/pass/blocks_backward.h"

#include <string.h>

#include "core/train/pass/linear_backward.h"
#include "core/train/pass/norm_backward.h"

/* Gate and up once more, kept, and the hidden layer, which goes to forward->up. */
static void compute_hidden(struct train_pass *p, const struct input *in, const struct worker *w)
{
    struct forward *f = p->forward;
    int size = p->model->config.intermediate;
    struct product up = {.input = in, .which = 0, .y = p->up_rows, .stride = size},
                   gate = {.input = in, .which = 1, .y = p->gate_rows, .stride = size};
    for (int block = w->index; block < linear_blocks(&in->linear[0]->weight); block += w->count) {
        int first = linear_block_row(block), count = linear_block_rows(&in->linear[0]->weight, block);
        gate_pass(p->gate);
        product_block(f, &up, block, w);
        if (in->count > 1)
            product_block(f, &gate, block, w);
        for (int t = 0; t < in->rows.count; t++) {
            float *hidden = row_at(f->up, t, size) + first;
            const float *from = row_at(p->up_rows, t, size) + first;
            if (in->count > 1) {
                vector_silu_gate(hidden, row_at(p->gate_rows, t, size) + first, from, count);
            } else {
                memcpy(hidden, from, (size_t)count * sizeof *hidden);
                vector_gelu_tanh(hidden, count);
            }
        }
    }
    pool_barrier(p->pool);
}

/* Some columns of gate and up become their gradients; dy: [rows, BACKWARD_COLS] of the hidden layer. */
static void turn_columns(struct train_pass *p, const struct columns *c, bool gated, const float *dy)
{
    int size = p->model->config.intermediate, count = c->end - c->begin;
    gate_pass(p->gate);
    for (int t = 0; t < p->token_runs.rows; t++) {
        float *gate = row_at(p->gate_rows, t, size) + c->begin, *up = row_at(p->up_rows, t, size) + c->begin;
        if (gated)
            backward_silu_gate(gate, up, row_at(dy, t, BACKWARD_COLS), gate, up, count);
        else
            backward_gelu_tanh(up, row_at(dy, t, BACKWARD_COLS), up, count);
    }
}

/* The hidden layer's gradient, some columns at a time, which becomes that of gate and up. */
static void down_backward(struct train_pass *p, const struct layer *l, const struct worker *w)
{
    struct forward *f = p->forward;
    struct linear_backward down = {.input = input_tokens(f, f->up, &l->down),
                                   .runs = &p->token_runs,
                                   .wants_dx = true,
                                   .stride = p->model->config.hidden,
                                   .dy = {pass_branch(p, w)},
                                   .scaled = {p->scaled}};
    const struct columns all = linear_backward_columns(l->down.weight.cols, w);
    down.input.q = &f->hidden;
    linear_backward_prepare(p, &down, w);
    for (struct columns c = linear_backward_next(&all, all.begin); c.begin < c.end;
         c = linear_backward_next(&all, c.end))
        turn_columns(p, &c, l->gate.weight.data, linear_backward_inputs(p, &down, &c, w));
    linear_backward_outputs(p, &down, w);
    pool_barrier(p->pool);
}

void mlp_backward(struct train_pass *p, int layer, const struct worker *w)
{
    struct forward *f = p->forward;
    const struct layer *l = &p->model->layers[layer];
    struct input in = input_tokens(f, f->h, &l->up);
    if (l->gate.weight.data)
        in.linear[in.count++] = &l->gate;
    input_normalize(f, &l->mlp_norm, &in, w);
    compute_hidden(p, &in, w);
    down_backward(p, l, w);
    struct linear_backward up = {.input = in,
                                 .runs = &p->token_runs,
                                 .wants_dx = true,
                                 .stride = p->model->config.intermediate,
                                 .dy = {p->up_rows, p->gate_rows},
                                 .scaled = {p->up_rows, p->gate_rows}};
    linear_backward_share(p, &up, p->dh, w);
    norm_backward_share(p, &l->mlp_norm, f->x, p->dh, w);
}
