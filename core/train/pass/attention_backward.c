#include "core/forward/angles.h"
#include "core/forward/blocks.h"
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
                                         .scale = c->attention_scale,
                                         .cap = c->score_cap};
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

/* The rotation is undone by that of the negative angle; the rest of a head passes. */
static void turn_back(const struct train_pass *p, int rope, int t, float *dx)
{
    const struct rope *r = &p->model->config.rope[rope];
    struct angles angles = angles_at(p->forward, rope, t);
    int half = r->dim / 2, step = r->neighbours ? 2 : 1, other = r->neighbours ? 1 : half;
    for (int i = 0; i < half; i++) {
        float *x = dx + i * step, a = x[0], b = x[other];
        x[0] = a * angles.cosine[i] + b * angles.sine[i];
        x[other] = b * angles.cosine[i] - a * angles.sine[i];
    }
}

/* A token's heads of q and k before their rotation. */
static void turn_token(struct train_pass *p, const struct layer *l, int t)
{
    const struct config *c = &p->model->config;
    float *dx = row_at(p->dqkv, t, model_qkv_size(p->model));
    if (c->query_growth > 0)
        vector_scale(dx, angles_query_factor(c, p->trained.batch.position[t]), model_q_size(p->model));
    for (int head = 0; l->rope >= 0 && head < c->heads + c->kv_heads; head++)
        turn_back(p, l->rope, t, row_at(dx, head, c->head_dim));
}

/* The same before a norm, of the heads that it is for. */
static void norm_token(struct train_pass *p, const struct pass_run *run, const struct head_norm *h, int t,
                       float *row)
{
    const struct model *m = p->model;
    const struct norm *n = &h->norm;
    int first = h->first * m->config.head_dim, end = first + h->count * m->config.head_dim;
    float *dx = row_at(p->dqkv, t, model_qkv_size(m));
    const float *x = row_at(p->qk, t, model_q_size(m) + model_kv_size(m));
    for (int at = first; at < end; at += n->size) {
        memset(row, 0, (size_t)n->size * sizeof *row);
        norm_backward_row(n, run, x + at, dx + at, row);
        memcpy(dx + at, row, (size_t)n->size * sizeof *row);
    }
}

static void head_norm_backward(struct train_pass *p, const struct head_norm *h, const struct worker *w)
{
    for (int i = 0; i < p->token_runs.count; i++) {
        const struct pass_run *run = &p->token_runs.run[i];
        struct pass_run rows = norm_backward_rows(&h->norm, run, i, w);
        for (int t = rows.begin; t < rows.end; t++)
            norm_token(p, run, h, t, p->workers[w->index].row);
    }
}

static void heads_backward(struct train_pass *p, const struct layer *l, const struct worker *w)
{
    int rows = p->token_runs.rows;
    for (int t = pass_share(rows, w->index, w->count); t < pass_share(rows, w->index + 1, w->count); t++)
        turn_token(p, l, t);
    if (l->head_norms > 0)
        pool_barrier(p->pool);
    for (int i = 0; i < l->head_norms; i++)
        head_norm_backward(p, &l->head_norm[i], w);
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
                                .dy = {norm_backward_branch(p, &l->attention_post_norm, p->attended, w)},
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

/* The MLP's part of what the norm gave, once for both: a norm's own gradient is one chain over tokens. */
static void add_kept(struct train_pass *p, const struct worker *w)
{
    int hidden = p->model->config.hidden, rows = p->token_runs.rows;
    for (int t = pass_share(rows, w->index, w->count); t < pass_share(rows, w->index + 1, w->count); t++)
        vector_add(row_at(p->dh, t, hidden), row_at(p->kept, t, hidden), hidden);
    pool_barrier(p->pool);
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
    if (qkv.wants_dx && p->model->config.parallel)
        add_kept(p, w);
    if (qkv.wants_dx)
        norm_backward_share(p, &l->attention_norm, f->x, p->dh, w);
}

void attention_backward(struct train_pass *p, int layer, const struct worker *w)
{
    const struct layer *l = &p->model->layers[layer];
    output_backward(p, l, w);
    attend_share(p, layer, w);
    heads_backward(p, l, w);
    attention_backward_restore(p, layer, w);
    inputs_backward(p, layer, w);
}
