#include <stdlib.h>

#include "core/forward/scratch.h"

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

static int allocate_arrays(struct forward *f, struct err *e)
{
    const struct model *m = f->model;
    const struct config *c = &m->config;
    /* A whole block may begin at the last token: a delta's own weights are multiplied for its tokens
     * alone. */
    size_t tokens = (size_t)linear_pad(f->batch_tokens + LINEAR_TOKENS - 1);
    size_t rows = c->family->numeric ? tokens : (size_t)linear_pad(f->logit_rows + LINEAR_TOKENS - 1);
    size_t stream = c->family->numeric ? widest_input(m) : (size_t)c->hidden, hidden = (size_t)c->hidden;
    float **targets[] = {&f->x,      &f->h,    &f->qkv, &f->attention,  &f->up,
                         &f->cosine, &f->sine, &f->low, &f->head_input, &f->logits};
    size_t sizes[] = {tokens * stream,
                      tokens * stream,
                      tokens * (size_t)model_qkv_size(m),
                      tokens * (size_t)model_q_size(m),
                      tokens * (size_t)c->intermediate,
                      tokens * (size_t)(c->head_dim / 2),
                      tokens * (size_t)(c->head_dim / 2),
                      larger(tokens, rows) * LOW_STRIDE,
                      rows * hidden,
                      rows * (size_t)m->info.vocab_size};
    f->memory = carve(targets, sizes, sizeof sizes / sizeof *sizes);
    f->head_delta = calloc(larger(tokens, rows), sizeof *f->head_delta);
    return f->memory && f->head_delta ? 0 : err_memory(e);
}

static int allocate_activation(const struct model *m, struct activation *a, size_t tokens, size_t cols,
                               struct err *e)
{
    a->q = aligned_alloc(R16_LINE, tokens * cols);
    a->scale = calloc(tokens * cols / R16_K, sizeof *a->scale);
    a->sum = calloc(tokens * cols / R16_SUM_K, sizeof *a->sum);
    if (m->kernels->widen)
        a->wide = calloc(tokens * cols, sizeof *a->wide);
    bool complete = a->q && a->scale && a->sum;
    return complete && (a->wide || !m->kernels->widen) ? 0 : err_memory(e);
}

static int allocate_activations(struct forward *f, struct err *e)
{
    const struct model *m = f->model;
    size_t tokens = larger((size_t)f->batch_tokens, (size_t)f->logit_rows);
    size_t hidden = (size_t)r16_pad(m->config.intermediate);
    if (m->precision == PRECISION_EXACT)
        return 0;
    if (allocate_activation(m, &f->activation, tokens, (size_t)r16_pad((int)widest_input(m)), e) != 0)
        return -1;
    return hidden == 0 ? 0 : allocate_activation(m, &f->hidden, tokens, hidden, e);
}

static void free_activation(struct activation *a)
{
    free(a->q);
    free(a->scale);
    free(a->sum);
    free(a->wide);
}

static size_t worker_floats(const struct forward *f)
{
    const struct config *c = &f->model->config;
    size_t attention = c->kv_heads ? attention_scratch(c->head_dim) : 0;
    size_t weights =
        widest_input(f->model) * LINEAR_ROWS; /* also of deltas' own, where the base's are packed */
    size_t rows = larger((size_t)f->batch_tokens, (size_t)f->logit_rows) * R16_ROWS;
    return larger(larger(attention, weights), rows) + 1;
}

static int allocate_workers(struct forward *f, struct err *e)
{
    int workers = pool_threads(f->pool);
    f->scratch = calloc((size_t)workers, sizeof *f->scratch);
    f->block = calloc((size_t)workers, sizeof *f->block);
    if (!f->scratch || !f->block)
        return err_memory(e);
    size_t block = 2 * (size_t)f->batch_tokens * LINEAR_ROWS * sizeof **f->block;
    for (int i = 0; i < workers; i++) {
        f->scratch[i] = malloc(worker_floats(f) * sizeof **f->scratch);
        f->block[i] = aligned_alloc(R16_LINE, block);
        if (!f->scratch[i] || !f->block[i])
            return err_memory(e);
    }
    return 0;
}

int scratch_init(struct forward *f, struct err *e)
{
    return allocate_arrays(f, e) != 0 || allocate_activations(f, e) != 0 || allocate_workers(f, e) != 0 ? -1
                                                                                                        : 0;
}

void scratch_fini(struct forward *f)
{
    for (int i = 0; f->scratch && i < pool_threads(f->pool); i++)
        free(f->scratch[i]);
    for (int i = 0; f->block && i < pool_threads(f->pool); i++)
        free(f->block[i]);
    free(f->scratch);
    free(f->block);
    free_activation(&f->activation);
    free_activation(&f->hidden);
    free(f->head_delta);
    free(f->memory);
}
