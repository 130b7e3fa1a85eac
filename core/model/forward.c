/* One forward pass over a ragged batch. Every worker walks through the same phases; inside a phase the work
 * is divided by (worker, workers) alone, and between phases all meet at a barrier. Which worker computes a
 * number never changes it. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/linear.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/vector.h"
#include "core/model/delta_internal.h"
#include "core/model/model_internal.h"

enum { SHRINK_SITES_MAX = 3 };

struct model_run {
    const struct model *model;
    struct pool *pool;
    struct kvcache *kv;
    int batch_tokens, logit_rows;    /* as promised at the start */
    float *memory;                   /* owned: all of the following */
    float *x;                        /* [tokens, hidden] residual stream */
    float *h;                        /* [tokens, widest] input of the next linear layers */
    float *qkv;                      /* [tokens, q + 2 kv] */
    float *attention;                /* [tokens, q] */
    float *branch;                   /* [tokens, hidden] what is added to x */
    float *gate, *up;                /* [tokens, intermediate] */
    float *cosine, *sine;            /* [tokens, head_dim / 2] */
    float *low;                      /* [tokens, SHRINK_SITES_MAX, DELTA_RANK_MAX] */
    float *head_input;               /* [logit_rows, hidden] */
    float *logits;                   /* [logit_rows, vocab] */
    float **scratch;                 /* [workers] widened weights, attention scores */
    const struct delta **head_delta; /* [logit_rows] */

    const struct batch *batch; /* of the step in hand */
    const struct delta *const *delta;
    int wanted;
    bool any_delta;
};

/* ---- linear layers with their deltas ---- */

static float *low_at(const struct model_run *r, int token, int which)
{
    return r->low + ((size_t)token * SHRINK_SITES_MAX + (size_t)which) * DELTA_RANK_MAX;
}

/* t = A x for the sites that read the same input; tokens x ranks are divided over the workers by token, or by
 * rank where there are few tokens. */
static void shrink(struct model_run *r, const struct delta *const *delta, int tokens, const float *input,
                   int in, const struct linear *const *linears, int count, int worker, int workers)
{
    bool by_token = tokens >= workers;
    for (int t = by_token ? worker : 0; t < tokens; t += by_token ? workers : 1)
        for (int i = 0; i < count; i++) {
            const struct lowrank *part = delta_at(delta[t], linears[i]->site);
            if (!part)
                continue;
            int begin = by_token ? 0 : part->rank * worker / workers;
            int end = by_token ? part->rank : part->rank * (worker + 1) / workers;
            lowrank_shrink(part->a, input + (size_t)t * (size_t)in, low_at(r, t, i), in, begin, end);
        }
}

/* A block of output rows for all tokens: W x, then + bias, then + B t. Column `column` of y is the layer's
 * row 0. */
static void linear_rows(struct model_run *r, const struct linear *l, int which,
                        const struct delta *const *delta, int tokens, const float *input, float *y,
                        int stride, int block, int worker)
{
    linear_block(&l->weight, block, input, tokens, y, stride, r->scratch[worker]);
    int row = linear_block_row(block), rows = linear_block_rows(&l->weight, block);
    for (int t = 0; t < tokens; t++) {
        float *out = y + (size_t)t * (size_t)stride + row;
        if (l->bias)
            vector_add(out, l->bias + row, rows);
        const struct lowrank *part = delta_at(delta[t], l->site);
        if (part)
            lowrank_expand(part->bt, low_at(r, t, which), out, part->rank, l->weight.rows, row, rows);
    }
}

static void linear_all(struct model_run *r, const struct linear *l, int which,
                       const struct delta *const *delta, int tokens, const float *input, float *y, int stride,
                       int worker, int workers)
{
    for (int block = worker; block < linear_blocks(&l->weight); block += workers)
        linear_rows(r, l, which, delta, tokens, input, y, stride, block, worker);
}

/* Linear layers that start from an input that many workers wrote: shrink needs a phase of its own. */
static void shrink_phase(struct model_run *r, const struct linear *l, const float *input, int worker,
                         int workers)
{
    if (!r->any_delta)
        return;
    shrink(r, r->delta, r->batch->count, input, l->weight.cols, &l, 1, worker, workers);
    pool_barrier(r->pool);
}

/* ---- phases ---- */

static void embed(struct model_run *r, int worker, int workers)
{
    const struct model *m = r->model;
    int hidden = m->config.hidden;
    for (int t = worker; t < r->batch->count; t += workers) {
        float *x = r->x + (size_t)t * (size_t)hidden;
        matrix_row(&m->embed, r->batch->token[t], x);
        if (m->positions.data) {
            float *place = r->branch + (size_t)t * (size_t)hidden;
            matrix_row(&m->positions, r->batch->position[t], place);
            vector_add(x, place, hidden);
        }
    }
}

static void angles(struct model_run *r, int worker, int workers)
{
    const struct model *m = r->model;
    int half = m->config.head_dim / 2;
    if (!m->inverse_frequency)
        return;
    for (int t = worker; t < r->batch->count; t += workers)
        for (int i = 0; i < half; i++) {
            float angle = (float)r->batch->position[t] * m->inverse_frequency[i];
            r->cosine[(size_t)t * (size_t)half + (size_t)i] = cosf(angle);
            r->sine[(size_t)t * (size_t)half + (size_t)i] = sinf(angle);
        }
}

static void normalize(const struct model *m, const struct norm *n, const float *x, float *y)
{
    if (n->bias)
        vector_layer_norm(y, x, n->weight, n->bias, m->config.eps, m->config.hidden);
    else
        vector_rms_norm(y, x, n->weight, m->config.eps, m->config.hidden);
}

/* h = norm(x), token by token. */
static void norm_phase(struct model_run *r, const struct norm *n, int worker, int workers)
{
    size_t hidden = (size_t)r->model->config.hidden;
    for (int t = worker; t < r->batch->count; t += workers)
        normalize(r->model, n, r->x + (size_t)t * hidden, r->h + (size_t)t * hidden);
    pool_barrier(r->pool);
}

/* Rotate q and k of a token, and put k and v into the cache. */
static void place_token(struct model_run *r, const struct layer *l, int layer, int t)
{
    const struct model *m = r->model;
    const struct config *c = &m->config;
    int dim = c->head_dim, kv_size = model_kv_size(m), heads = c->heads + c->kv_heads;
    float *q = r->qkv + (size_t)t * (size_t)model_qkv_size(m), *k = q + model_q_size(m), *v = k + kv_size;
    for (int head = 0; head < heads; head++) {
        float *x = q + (size_t)head * (size_t)dim; /* k's heads follow q's */
        const float *weight = head < c->heads ? l->q_norm : l->k_norm;
        if (weight)
            vector_rms_norm(x, x, weight, c->eps, dim);
        if (m->inverse_frequency)
            vector_rotate(x, r->cosine + (size_t)t * (size_t)(dim / 2),
                          r->sine + (size_t)t * (size_t)(dim / 2), dim);
    }
    int position = r->batch->position[t], page = r->batch->sequence[t]->pages[position / KV_PAGE_TOKENS];
    size_t at = (size_t)(position % KV_PAGE_TOKENS) * (size_t)kv_size;
    memcpy(kvcache_key_page(r->kv, layer, page) + at, k, (size_t)kv_size * sizeof *k);
    memcpy(kvcache_value_page(r->kv, layer, page) + at, v, (size_t)kv_size * sizeof *v);
}

/* softmax(q K^T / sqrt(dim)) V of one head of one token, over its own sequence from the first position on. */
static void attend(struct model_run *r, int layer, int t, int head, float *scores)
{
    const struct model *m = r->model;
    const struct config *c = &m->config;
    int dim = c->head_dim, kv_size = model_kv_size(m), length = r->batch->position[t] + 1;
    size_t offset = (size_t)(head / (c->heads / c->kv_heads)) * (size_t)dim;
    const float *q = r->qkv + (size_t)t * (size_t)model_qkv_size(m) + (size_t)head * (size_t)dim;
    float *out = r->attention + (size_t)t * (size_t)model_q_size(m) + (size_t)head * (size_t)dim;
    const int32_t *pages = r->batch->sequence[t]->pages;
    float scale = 1.0f / sqrtf((float)dim);
    for (int start = 0; start < length; start += KV_PAGE_TOKENS) {
        const float *keys = kvcache_key_page(r->kv, layer, pages[start / KV_PAGE_TOKENS]) + offset;
        for (int i = 0; i < KV_PAGE_TOKENS && start + i < length; i++)
            scores[start + i] = scale * vector_dot(q, keys + (size_t)i * (size_t)kv_size, dim);
    }
    vector_softmax(scores, length);
    memset(out, 0, (size_t)dim * sizeof *out);
    for (int start = 0; start < length; start += KV_PAGE_TOKENS) {
        const float *values = kvcache_value_page(r->kv, layer, pages[start / KV_PAGE_TOKENS]) + offset;
        for (int i = 0; i < KV_PAGE_TOKENS && start + i < length; i++)
            vector_add_scaled(out, values + (size_t)i * (size_t)kv_size, scores[start + i], dim);
    }
}

/* x += y, each worker the rows it just computed. */
static void add_rows(struct model_run *r, const struct linear *l, int block)
{
    int row = linear_block_row(block), rows = linear_block_rows(&l->weight, block);
    size_t hidden = (size_t)r->model->config.hidden;
    for (int t = 0; t < r->batch->count; t++)
        vector_add(r->x + (size_t)t * hidden + row, r->branch + (size_t)t * hidden + row, rows);
}

/* x += l(input) */
static void residual_phase(struct model_run *r, const struct linear *l, const float *input, int worker,
                           int workers)
{
    shrink_phase(r, l, input, worker, workers);
    for (int block = worker; block < linear_blocks(&l->weight); block += workers) {
        linear_rows(r, l, 0, r->delta, r->batch->count, input, r->branch, r->model->config.hidden, block,
                    worker);
        add_rows(r, l, block);
    }
    pool_barrier(r->pool);
}

static void attention_block(struct model_run *r, int layer, int worker, int workers)
{
    const struct model *m = r->model;
    const struct layer *l = &m->layers[layer];
    const struct linear *linears[3] = {&l->qkv[0], &l->qkv[1], &l->qkv[2]};
    int tokens = r->batch->count, heads = m->config.heads, hidden = m->config.hidden, column = 0;
    norm_phase(r, &l->attention_norm, worker, workers);
    if (r->any_delta) {
        shrink(r, r->delta, tokens, r->h, hidden, linears, l->qkv_count, worker, workers);
        pool_barrier(r->pool);
    }
    for (int i = 0; i < l->qkv_count; column += l->qkv[i].weight.rows, i++)
        linear_all(r, &l->qkv[i], i, r->delta, tokens, r->h, r->qkv + column, model_qkv_size(m), worker,
                   workers);
    pool_barrier(r->pool);
    for (int t = worker; t < tokens; t += workers)
        place_token(r, l, layer, t);
    pool_barrier(r->pool);
    for (long i = worker; i < (long)tokens * heads; i += workers)
        attend(r, layer, (int)(i / heads), (int)(i % heads), r->scratch[worker]);
    pool_barrier(r->pool);
    residual_phase(r, &l->o, r->attention, worker, workers);
}

/* The activated rows of one block of the hidden layer, left in `up`. */
static void activate_rows(struct model_run *r, const struct layer *l, int block)
{
    int row = linear_block_row(block), rows = linear_block_rows(&l->up.weight, block);
    for (int t = 0; t < r->batch->count; t++) {
        size_t at = (size_t)t * (size_t)r->model->config.intermediate + (size_t)row;
        if (l->gate.weight.data)
            vector_silu_gate(r->up + at, r->gate + at, r->up + at, rows);
        else
            vector_gelu_tanh(r->up + at, rows);
    }
}

static void mlp_block(struct model_run *r, int layer, int worker, int workers)
{
    const struct model *m = r->model;
    const struct layer *l = &m->layers[layer];
    const struct linear *linears[2] = {&l->up, &l->gate};
    bool gated = l->gate.weight.data != NULL;
    int tokens = r->batch->count, width = m->config.intermediate;
    norm_phase(r, &l->mlp_norm, worker, workers);
    if (r->any_delta) {
        shrink(r, r->delta, tokens, r->h, m->config.hidden, linears, gated ? 2 : 1, worker, workers);
        pool_barrier(r->pool);
    }
    for (int block = worker; block < linear_blocks(&l->up.weight); block += workers) {
        linear_rows(r, &l->up, 0, r->delta, tokens, r->h, r->up, width, block, worker);
        if (gated)
            linear_rows(r, &l->gate, 1, r->delta, tokens, r->h, r->gate, width, block, worker);
        activate_rows(r, l, block);
    }
    pool_barrier(r->pool);
    residual_phase(r, &l->down, r->up, worker, workers);
}

/* Gather the rows whose logits are wanted, normalize, and multiply by the output head. */
static void head_phase(struct model_run *r, int worker, int workers)
{
    const struct model *m = r->model;
    size_t hidden = (size_t)m->config.hidden;
    int row = 0;
    for (int t = 0; t < r->batch->count; t++) {
        if (!r->batch->want_logits[t])
            continue;
        if (row % workers == worker)
            normalize(m, &m->final_norm, r->x + (size_t)t * hidden, r->head_input + (size_t)row * hidden);
        row++;
    }
    pool_barrier(r->pool);
    const struct linear *head = &m->lm_head;
    if (r->any_delta) {
        shrink(r, r->head_delta, r->wanted, r->head_input, (int)hidden, &head, 1, worker, workers);
        pool_barrier(r->pool);
    }
    linear_all(r, head, 0, r->head_delta, r->wanted, r->head_input, r->logits, m->config.vocab, worker,
               workers);
}

static void decoder_work(void *arg, int worker, int workers)
{
    struct model_run *r = arg;
    embed(r, worker, workers);
    angles(r, worker, workers);
    pool_barrier(r->pool);
    for (int layer = 0; layer < r->model->config.layers; layer++) {
        attention_block(r, layer, worker, workers);
        mlp_block(r, layer, worker, workers);
    }
    if (r->wanted > 0)
        head_phase(r, worker, workers);
}

/* The numeric model: rows of numbers through fc1, ReLU, fc2, ... The last layer has no activation. */
static void numeric_work(void *arg, int worker, int workers)
{
    struct model_run *r = arg;
    const struct model *m = r->model;
    int last = m->config.mlp_layers - 1, rows = r->batch->count;
    for (int i = 0; i <= last; i++) {
        const struct linear *l = &m->mlp[i];
        const float *input = i % 2 ? r->h : r->x;
        float *y = i == last ? r->logits : i % 2 ? r->x : r->h;
        shrink_phase(r, l, input, worker, workers);
        for (int block = worker; block < linear_blocks(&l->weight); block += workers) {
            linear_rows(r, l, 0, r->delta, rows, input, y, l->weight.rows, block, worker);
            for (int t = 0; i < last && t < rows; t++)
                vector_relu(y + (size_t)t * (size_t)l->weight.rows + linear_block_row(block),
                            linear_block_rows(&l->weight, block));
        }
        pool_barrier(r->pool);
    }
}

/* ---- the step ---- */

const float *model_step(struct model_run *r, const struct batch *b)
{
    const struct model *m = r->model;
    r->batch = b;
    r->delta = b->delta;
    r->wanted = 0;
    r->any_delta = false;
    for (int t = 0; t < b->count; t++) {
        r->any_delta |= b->delta[t] != NULL;
        if (b->want_logits[t])
            r->head_delta[r->wanted++] = b->delta[t];
    }
    if (m->info.numeric)
        memcpy(r->x, b->input, (size_t)b->count * (size_t)m->info.input_size * sizeof *r->x);
    pool_run(r->pool, m->info.numeric ? numeric_work : decoder_work, r);
    return r->logits;
}

/* ---- memory ---- */

/* Floats of each array, in the order of `targets`; rows padded to whole blocks. */
static void *carve(float **targets[], const size_t sizes[], int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++)
        total += (sizes[i] + 15) / 16 * 16;
    float *memory = calloc(total, sizeof *memory), *next = memory;
    for (int i = 0; memory && i < count; i++) {
        *targets[i] = next;
        next += (sizes[i] + 15) / 16 * 16;
    }
    return memory;
}

static int allocate_arrays(struct model_run *r, struct err *e)
{
    const struct model *m = r->model;
    const struct config *c = &m->config;
    size_t tokens = (size_t)linear_pad(r->batch_tokens), rows = (size_t)linear_pad(r->logit_rows), widest = 1;
    size_t hidden = (size_t)c->hidden, vocab = (size_t)m->info.vocab_size;
    for (int i = 0; i <= c->mlp_layers; i++)
        widest = (size_t)c->mlp_sizes[i] > widest ? (size_t)c->mlp_sizes[i] : widest;
    if (c->family)
        widest = hidden;
    else
        rows = tokens;
    float **targets[] = {&r->x,  &r->h,      &r->qkv,  &r->attention, &r->branch,     &r->gate,
                         &r->up, &r->cosine, &r->sine, &r->low,       &r->head_input, &r->logits};
    size_t sizes[] = {tokens * widest,
                      tokens * widest,
                      tokens * (size_t)model_qkv_size(m),
                      tokens * (size_t)model_q_size(m),
                      tokens * hidden,
                      tokens * (size_t)c->intermediate,
                      tokens * (size_t)c->intermediate,
                      tokens * (size_t)(c->head_dim / 2),
                      tokens * (size_t)(c->head_dim / 2),
                      (tokens > rows ? tokens : rows) * SHRINK_SITES_MAX * DELTA_RANK_MAX,
                      rows * hidden,
                      rows * vocab};
    r->memory = carve(targets, sizes, sizeof sizes / sizeof *sizes);
    r->head_delta = calloc(rows + tokens, sizeof *r->head_delta);
    return r->memory && r->head_delta ? 0 : err_memory(e);
}

static size_t scratch_floats(const struct model *m)
{
    size_t floats = (size_t)m->config.context + 1;
    size_t cols =
        (size_t)(m->config.hidden > m->config.intermediate ? m->config.hidden : m->config.intermediate);
    size_t q = (size_t)model_q_size(m);
    cols = q > cols ? q : cols;
    for (int i = 0; i <= m->config.mlp_layers; i++)
        cols = (size_t)m->config.mlp_sizes[i] > cols ? (size_t)m->config.mlp_sizes[i] : cols;
    return floats > cols * LINEAR_ROWS ? floats : cols * LINEAR_ROWS;
}

static int allocate_scratch(struct model_run *r, struct err *e)
{
    int workers = pool_threads(r->pool);
    r->scratch = calloc((size_t)workers, sizeof *r->scratch);
    if (!r->scratch)
        return err_memory(e);
    for (int i = 0; i < workers; i++)
        if (!(r->scratch[i] = malloc(scratch_floats(r->model) * sizeof **r->scratch)))
            return err_memory(e);
    return 0;
}

int model_run_new(struct model_run **out, const struct model *m, struct pool *pool, struct kvcache *kv,
                  int batch_tokens, int logit_rows, struct err *e)
{
    struct model_run *r = calloc(1, sizeof *r);
    if (!r)
        return err_memory(e);
    *r = (struct model_run){
        .model = m, .pool = pool, .kv = kv, .batch_tokens = batch_tokens, .logit_rows = logit_rows};
    if (allocate_arrays(r, e) != 0 || allocate_scratch(r, e) != 0) {
        model_run_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

void model_run_free(struct model_run *r)
{
    if (!r)
        return;
    for (int i = 0; r->scratch && i < pool_threads(r->pool); i++)
        free(r->scratch[i]);
    free(r->scratch);
    free(r->head_delta);
    free(r->memory);
    free(r);
}
