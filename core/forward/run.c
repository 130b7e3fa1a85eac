#include <stdlib.h>

#include "core/forward/run_internal.h"

enum { ALIGNMENT = 16 }; /* floats */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* One allocation for all float arrays. */
static float *carve(float **targets[], const size_t sizes[], size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += (sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    float *memory = calloc(total + ALIGNMENT, sizeof *memory), *next = memory;
    for (size_t i = 0; memory && i < count; i++) {
        *targets[i] = next;
        next += (sizes[i] + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    return memory;
}

/* The largest input of any linear layer. */
static size_t widest_input(const struct model *m)
{
    const struct config *c = &m->config;
    size_t widest = larger(larger((size_t)c->hidden, (size_t)c->intermediate), (size_t)model_q_size(m));
    for (int i = 0; i <= c->mlp_layers; i++)
        widest = larger(widest, (size_t)c->mlp_sizes[i]);
    return widest;
}

static int allocate_arrays(struct model_run *r, struct err *e)
{
    const struct model *m = r->model;
    const struct config *c = &m->config;
    /* A whole block may begin at the last token: a delta's own weights are multiplied for its tokens alone.
     */
    size_t tokens = (size_t)linear_pad(r->batch_tokens + LINEAR_TOKENS - 1);
    size_t rows = c->family->numeric ? tokens : (size_t)linear_pad(r->logit_rows + LINEAR_TOKENS - 1);
    size_t stream = c->family->numeric ? widest_input(m) : (size_t)c->hidden, hidden = (size_t)c->hidden;
    float **targets[] = {&r->x,  &r->h,      &r->qkv,  &r->attention, &r->branch,     &r->gate,
                         &r->up, &r->cosine, &r->sine, &r->low,       &r->head_input, &r->logits};
    size_t sizes[] = {tokens * stream,
                      tokens * stream,
                      tokens * (size_t)model_qkv_size(m),
                      tokens * (size_t)model_q_size(m),
                      tokens * hidden,
                      tokens * (size_t)c->intermediate,
                      tokens * (size_t)c->intermediate,
                      tokens * (size_t)(c->head_dim / 2),
                      tokens * (size_t)(c->head_dim / 2),
                      larger(tokens, rows) * LOW_STRIDE,
                      rows * hidden,
                      rows * (size_t)m->info.vocab_size};
    r->memory = carve(targets, sizes, sizeof sizes / sizeof *sizes);
    r->head_delta = calloc(larger(tokens, rows), sizeof *r->head_delta);
    return r->memory && r->head_delta ? 0 : err_memory(e);
}

static int allocate_activation(struct model_run *r, struct err *e)
{
    size_t tokens = (size_t)larger((size_t)r->batch_tokens, (size_t)r->logit_rows);
    size_t cols = (size_t)r16_pad((int)widest_input(r->model));
    if (r->model->precision == PRECISION_EXACT)
        return 0;
    r->activation.q = aligned_alloc(R16_LINE, tokens * cols);
    r->activation.scale = calloc(tokens * cols / R16_K, sizeof *r->activation.scale);
    r->activation.sum = calloc(tokens * cols / R16_SUM_K, sizeof *r->activation.sum);
    bool wide = r->model->kernels->widen != NULL;
    if (wide)
        r->activation.wide = calloc(tokens * cols, sizeof *r->activation.wide);
    bool complete = r->activation.q && r->activation.scale && r->activation.sum;
    return complete && (r->activation.wide || !wide) ? 0 : err_memory(e);
}

static size_t scratch_floats(const struct model_run *r)
{
    const struct config *c = &r->model->config;
    size_t attention = c->kv_heads ? attention_scratch(c->head_dim) : 0;
    size_t weights =
        widest_input(r->model) * LINEAR_ROWS; /* also of deltas' own, where the base's are packed */
    size_t rows = larger((size_t)r->batch_tokens, (size_t)r->logit_rows) * R16_ROWS;
    return larger(larger(attention, weights), rows) + 1;
}

static int allocate_scratch(struct model_run *r, struct err *e)
{
    int workers = pool_threads(r->pool);
    r->scratch = calloc((size_t)workers, sizeof *r->scratch);
    if (!r->scratch)
        return err_memory(e);
    for (int i = 0; i < workers; i++)
        if (!(r->scratch[i] = malloc(scratch_floats(r) * sizeof **r->scratch)))
            return err_memory(e);
    return 0;
}

int model_run_new(struct model_run **out, const struct model *m, struct pool *pool, struct kvcache *kv,
                  int batch_tokens, int logit_rows, struct err *e)
{
    struct model_run *r = calloc(1, sizeof *r);
    if (!r)
        return err_memory(e);
    r->model = m;
    r->pool = pool;
    r->kv = kv;
    r->batch_tokens = batch_tokens;
    r->logit_rows = logit_rows;
    if (allocate_arrays(r, e) != 0 || allocate_activation(r, e) != 0 || allocate_scratch(r, e) != 0) {
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
    free(r->activation.q);
    free(r->activation.scale);
    free(r->activation.sum);
    free(r->activation.wide);
    free(r->head_delta);
    free(r->memory);
    free(r);
}
