#include "core/forward/blocks.h"
#include "core/train/pass/blocks_backward.h"

#include <string.h>

#include "core/train/pass/linear_backward.h"
#include "core/train/pass/norm_backward.h"

/* Some columns of the hidden layer, from those of gate and up. */
static void activate(struct train_pass *p, int t, int first, int count)
{
    const struct config *c = &p->model->config;
    float *hidden = row_at(p->forward->up, t, c->intermediate) + first;
    const float *up = row_at(p->up_rows, t, p->up_stride) + first,
                *gate = c->family->gated ? row_at(p->gate_rows, t, p->up_stride) + first : NULL;
    if (gate && c->activation == ACTIVATION_SILU) {
        vector_silu_gate(hidden, gate, up, count);
        return;
    }
    memcpy(hidden, gate ? gate : up, (size_t)count * sizeof *hidden);
    vector_gelu_tanh(hidden, count);
    if (gate)
        vector_multiply(hidden, up, count);
}

/* Gate and up once more, kept, and the hidden layer, which goes to forward->up. */
static void compute_hidden(struct train_pass *p, const struct input *in, const struct worker *w)
{
    bool fused = p->model->config.family->gate_up;
    struct product up = {.input = in,
                         .which = 0,
                         .y = fused ? p->gate_rows : p->up_rows,
                         .stride = p->up_stride},
                   gate = {.input = in, .which = 1, .y = p->gate_rows, .stride = p->up_stride};
    product_share(p->forward, &up, w);
    if (in->count > 1)
        product_share(p->forward, &gate, w);
    pool_barrier(p->pool);
    for (int t = w->index; t < in->rows.count; t += w->count)
        activate(p, t, 0, p->model->config.intermediate);
    pool_barrier(p->pool);
}

/* Some columns of gate and up become their gradients; dy: [rows, BACKWARD_COLS] of the hidden layer. */
static void turn_columns(struct train_pass *p, const struct columns *c, const float *dy)
{
    const struct config *config = &p->model->config;
    int count = c->end - c->begin;
    gate_pass(p->gate);
    for (int t = 0; t < p->token_runs.rows; t++) {
        float *up = row_at(p->up_rows, t, p->up_stride) + c->begin,
              *gate = config->family->gated ? row_at(p->gate_rows, t, p->up_stride) + c->begin : NULL;
        const float *of_hidden = row_at(dy, t, BACKWARD_COLS);
        if (!gate)
            backward_gelu_tanh(up, of_hidden, up, count);
        else if (config->activation == ACTIVATION_SILU)
            backward_silu_gate(gate, up, of_hidden, gate, up, count);
        else
            backward_gelu_gate(gate, up, of_hidden, gate, up, count);
    }
}

/* What the MLP gave, where its norm looks at it again. */
static void compute_branch(struct train_pass *p, const struct layer *l, const struct worker *w)
{
    struct forward *f = p->forward;
    struct input down = input_tokens(f, f->up, &l->down);
    down.q = &f->hidden;
    if (l->mlp_post_norm.weight)
        residual_keep(f, &down, w);
}

/* The hidden layer's gradient, some columns at a time, which becomes that of gate and up. */
static void down_backward(struct train_pass *p, const struct layer *l, const struct worker *w)
{
    struct forward *f = p->forward;
    compute_branch(p, l, w);
    struct linear_backward down = {.input = input_tokens(f, f->up, &l->down),
                                   .runs = &p->token_runs,
                                   .wants_dx = true,
                                   .stride = p->model->config.hidden,
                                   .dy = {norm_backward_branch(p, &l->mlp_post_norm, f->branch, w)},
                                   .scaled = {p->scaled}};
    const struct columns all = linear_backward_columns(l->down.weight.cols, w);
    down.input.q = &f->hidden;
    linear_backward_prepare(p, &down, w);
    for (struct columns c = linear_backward_next(&all, all.begin); c.begin < c.end;
         c = linear_backward_next(&all, c.end))
        turn_columns(p, &c, linear_backward_inputs(p, &down, &c, w));
    linear_backward_outputs(p, &down, w);
    pool_barrier(p->pool);
}

/* What the norm gave to the MLP: attention, which reads the same, will add its part. */
static void keep_part(struct train_pass *p, const struct worker *w)
{
    size_t hidden = (size_t)p->model->config.hidden;
    int begin = pass_share(p->token_runs.rows, w->index, w->count),
        end = pass_share(p->token_runs.rows, w->index + 1, w->count);
    memcpy(row_at(p->kept, begin, hidden), row_at(p->dh, begin, hidden),
           (size_t)(end - begin) * hidden * sizeof *p->kept);
    pool_barrier(p->pool);
}

void mlp_backward(struct train_pass *p, int layer, const struct worker *w)
{
    struct forward *f = p->forward;
    const struct layer *l = &p->model->layers[layer];
    struct input in = input_tokens(f, f->h, &l->up);
    if (l->gate.weight.data)
        in.linear[in.count++] = &l->gate;
    const struct norm *norm = layer_mlp_norm(l, &p->model->config);
    input_normalize(f, norm, &in, w);
    compute_hidden(p, &in, w);
    down_backward(p, l, w);
    float *first = l->gate_up ? p->gate_rows : p->up_rows;
    struct linear_backward up = {.input = in,
                                 .runs = &p->token_runs,
                                 .wants_dx = true,
                                 .stride = p->up_stride,
                                 .dy = {first, p->gate_rows},
                                 .scaled = {first, p->gate_rows}};
    linear_backward_share(p, &up, p->dh, w);
    if (p->model->config.parallel)
        keep_part(p, w);
    else
        norm_backward_share(p, norm, f->x, p->dh, w);
}
