#include "core/train/pass/blocks_backward.h"

#include <string.h>

#include "core/train/pass/linear_backward.h"
#include "core/train/pass/norm_backward.h"

/* ---- softmax(q k^T) v ---- */

/* Tokens [first, end) of one sequence, and the query heads that share KV head `head`. */
static void attend_backward(struct train_pass *p, int layer, int first, int end, int head, float *scratch)
{
    const struct model *m = p->model;
    const struct config *c = &m->config;
    int stride = model_qkv_size(m), shared = c->heads / c->kv_heads, dim = c->head_dim,
        q = head * shared * dim, k = model_q_size(m) + head * dim, v = k + model_kv_size(m);
    const float *qkv = row_at(p->forward->qkv, first, stride);
    float *dqkv = row_at(p->dqkv, first, stride);
    const struct backward_attention a = {.q = qkv + q,
                                         .k = qkv + k,
                                         .v = qkv + v,
                                         .out = row_at(p->forward->attention, first, model_q_size(m)) + q,
                                         .dout = row_at(p->dh, first, model_q_size(m)) + q,
                                         .dq = dqkv + q,
                                         .dk = dqkv + k,
                                         .dv = dqkv + v,
                                         .qkv_stride = stride,
                                         .out_stride = model_q_size(m),
                                         .dqkv_stride = stride,
                                         .dout_stride = model_q_size(m),
                                         .tokens = end - first,
                                         .count = shared,
                                         .dim = dim,
                                         .window = m->layers[layer].window,
                                         .scale = c->attention_scale};
    gate_pass(p->gate);
    backward_attention_run(&a, scratch);
}

static void attend_share(struct train_pass *p, int layer, const struct worker *w)
{
    const struct batch *b = &p->trained.batch;
    long unit = 0;
    for (int t = 0, end; t < b->count; t = end) {
        for (end = t + 1; end < b->count && b->sequence[end] == b->sequence[t];)
            end++;
        for (int head = 0; head < p->model->config.kv_heads; head++, unit++)
            if (unit % w->count == w->index)
                attend_backward(p, layer, t, end, head, p->workers[w->index].attention);
    }
    pool_barrier(p->pool);
}

/* ---- rotation and norms of heads ---- */

/* Some heads of q and k side by side: those that one norm is for. */
struct heads {
    const struct norm *norm;
    int first, count;
    bool rotate;
};

/* The rotation is undone by that of the negative angle; the rest of a head passes. */
static void turn_back(const struct train_pass *p, int t, float *dx)
{
    int half = p->model->config.rope.dim / 2;
    const float *cosine = row_at(p->forward->cosine, t, half), *sine = row_at(p->forward->sine, t, half);
    for (int i = 0; i < half; i++) {
        float a = dx[i], b = dx[i + half];
        dx[i] = a * cosine[i] + b * sine[i];
        dx[i + half] = b * cosine[i] - a * sine[i];
    }
}

/* The gradient of one head, before rotation and norm. row: room for it. */
static void head_backward_row(struct train_pass *p, const struct pass_run *run, const struct heads *h, int t,
                              int head, float *row)
{
    const struct model *m = p->model;
    int dim = m->config.head_dim;
    float *dx = row_at(p->dqkv, t, model_qkv_size(m)) + head * dim;
    if (h->rotate)
        turn_back(p, t, dx);
    if (!h->norm->weight)
        return;
    memset(row, 0, (size_t)dim * sizeof *row);
    norm_backward_row(h->norm, run, row_at(p->qk, t, model_q_size(m) + model_kv_size(m)) + head * dim, dx,
                      row);
    memcpy(dx, row, (size_t)dim * sizeof *row);
}

static void heads_backward(struct train_pass *p, const struct heads *h, const struct worker *w)
{
    for (int i = 0; i < p->token_runs.count; i++) {
        const struct pass_run *run = &p->token_runs.run[i];
        struct pass_run rows = norm_backward_rows(h->norm, run, i, w);
        for (int t = rows.begin; t < rows.end; t++)
            for (int head = h->first; head < h->first + h->count; head++)
                head_backward_row(p, run, h, t, head, p->workers[w->index].row);
    }
}

/* ---- the block ---- */

void attention_backward_restore(struct train_pass *p, int layer, const struct worker *w)
{
    size_t hidden = (size_t)p->model->config.hidden, rows = (size_t)p->tokens;
    int begin = pass_share(p->token_runs.rows, w->index, w->count),
        end = pass_share(p->token_runs.rows, w->index + 1, w->count);
    memcpy(row_at(p->forward->x, begin, hidden),
           row_at(p->saved + (size_t)layer * rows * hidden, begin, hidden),
           (size_t)(end - begin) * hidden * sizeof *p->saved);
    pool_barrier(p->pool);
}

static void output_backward(struct train_pass *p, const struct layer *l, const struct worker *w)
{
    struct linear_backward o = {.input = input_tokens(p->forward, p->forward->attention, &l->o),
                                .runs = &p->token_runs,
                                .wants_dx = true,
                                .stride = p->model->config.hidden,
                                .dy = {pass_branch(p, w)},
                                .scaled = {p->scaled}};
    linear_backward_share(p, &o, p->dh, w);
}

/* Does anybody want the gradient of what q, k and v read? */
static bool goes_on(const struct train_pass *p, int layer)
{
    bool wanted = layer > p->lowest;
    for (int i = 0; i < p->token_runs.count; i++)
        wanted |= norm_backward_is_trained(&p->model->layers[layer].attention_norm, &p->token_runs.run[i]);
    return wanted;
}

static void inputs_backward(struct train_pass *p, int layer, const struct worker *w)
{
    struct forward *f = p->forward;
    const struct layer *l = &p->model->layers[layer];
    struct linear_backward qkv = {.input = input_tokens(f, f->h, &l->qkv[0]),
                                  .runs = &p->token_runs,
                                  .wants_dx = goes_on(p, layer),
                                  .stride = model_qkv_size(p->model)};
    float *dy = p->dqkv;
    for (int i = 0; i < l->qkv_count; dy += l->qkv[i++].weight.rows) {
        qkv.input.linear[i] = &l->qkv[i];
        qkv.input.count = i + 1;
        qkv.dy[i] = qkv.scaled[i] = dy;
    }
    input_normalize(f, &l->attention_norm, &qkv.input, w);
    linear_backward_share(p, &qkv, p->dh, w);
    if (qkv.wants_dx)
        norm_backward_share(p, &l->attention_norm, f->x, p->dh, w);
}

void attention_backward(struct train_pass *p, int layer, const struct worker *w)
{
    const struct config *c = &p->model->config;
    const struct layer *l = &p->model->layers[layer];
    output_backward(p, l, w);
    attend_share(p, layer, w);
    heads_backward(p, &(struct heads){&l->q_norm, 0, c->heads, l->rotates}, w);
    heads_backward(p, &(struct heads){&l->k_norm, c->heads, c->kv_heads, l->rotates}, w);
    attention_backward_restore(p, layer, w);
    inputs_backward(p, layer, w);
}
