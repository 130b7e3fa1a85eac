#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/forward/scratch.h"

enum { ALIGNMENT = 16 }; /* floats */

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
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

/* The float arrays: where each one's pointer is, and how many floats it has. */
enum { ARRAYS = 13 };
struct array {
    size_t place, floats;
};

/* Gate and up are one product whose halves are not whole blocks. */
static bool is_fused(const struct config *c)
{
    return c->family->gate_up && c->intermediate % LINEAR_ROWS != 0;
}

static bool keeps_branches(const struct config *c)
{
    return c->parallel || c->family->attention_post_norm;
}

static void list_arrays(const struct model *m, int batch_tokens, int logit_rows, struct array out[ARRAYS])
{
    const struct config *c = &m->config;
    /* A whole block may begin at the last token: a delta's own weights are multiplied for its tokens
     * alone. */
    size_t tokens = (size_t)linear_pad(batch_tokens + LINEAR_TOKENS - 1);
    size_t rows = c->family->numeric ? tokens : (size_t)linear_pad(logit_rows + LINEAR_TOKENS - 1);
    size_t stream = c->family->numeric ? widest_input(m) : (size_t)c->hidden;
    const struct array all[ARRAYS] = {
        {offsetof(struct forward, x), tokens * stream},
        {offsetof(struct forward, h), tokens * stream},
        {offsetof(struct forward, qkv), tokens * (size_t)model_qkv_size(m)},
        {offsetof(struct forward, attention), tokens * (size_t)model_q_size(m)},
        {offsetof(struct forward, up), tokens * (size_t)c->intermediate},
        {offsetof(struct forward, gate_up), is_fused(c) ? 2 * tokens * (size_t)c->intermediate : 0},
        {offsetof(struct forward, branch), keeps_branches(c) ? tokens * (size_t)c->hidden : 0},
        {offsetof(struct forward, cosine), tokens * (size_t)(c->ropes * c->rope[0].dim / 2)},
        {offsetof(struct forward, sine), tokens * (size_t)(c->ropes * c->rope[0].dim / 2)},
        {offsetof(struct forward, low), larger(tokens, rows) * (size_t)low_layout(DELTA_RANK_MAX).stride},
        {offsetof(struct forward, head_input), rows * (size_t)c->hidden},
        {offsetof(struct forward, logits), rows * (size_t)m->info.vocab_size},
        {offsetof(struct forward, more), m->lm_head.weight.data ? rows * (size_t)DELTA_TOKENS_MAX : 0},
    };
    memcpy(out, all, sizeof all);
}

static size_t aligned(size_t floats)
{
    return (floats + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Of all arrays, in one allocation. */
static size_t array_floats(const struct array all[ARRAYS])
{
    size_t total = ALIGNMENT;
    for (int i = 0; i < ARRAYS; i++)
        total += aligned(all[i].floats);
    return total;
}

static int allocate_arrays(struct forward *f, struct err *e)
{
    struct array all[ARRAYS];
    list_arrays(f->model, f->batch_tokens, f->logit_rows, all);
    float *next = f->memory = calloc(array_floats(all), sizeof *f->memory);
    /* of a numeric model, rows that want logits are all */
    size_t rows = (size_t)linear_pad((f->batch_tokens > f->logit_rows ? f->batch_tokens : f->logit_rows) +
                                     LINEAR_TOKENS - 1);
    f->head_delta = calloc(rows, sizeof *f->head_delta);
    f->head_dropout = calloc(rows, sizeof *f->head_dropout);
    if (!f->memory || !f->head_delta || !f->head_dropout)
        return err_memory(e);
    for (int i = 0; i < ARRAYS; next += aligned(all[i++].floats))
        memcpy((char *)f + all[i].place, &next, sizeof next);
    return 0;
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

/* As allocate_activations takes it. */
static size_t activation_bytes(const struct model *m, size_t tokens, size_t cols)
{
    return tokens * cols + tokens * cols / R16_K * sizeof(float) +
           tokens * cols / R16_SUM_K * sizeof(int32_t) +
           (m->kernels->widen ? tokens * cols * sizeof(int16_t) : 0);
}

static void free_activation(struct activation *a)
{
    free(a->q);
    free(a->scale);
    free(a->sum);
    free(a->wide);
}

static size_t worker_floats(const struct model *m, int batch_tokens, int logit_rows)
{
    const struct config *c = &m->config;
    size_t attention = c->kv_heads ? attention_scratch(c->head_dim) : 0;
    size_t weights = widest_input(m) * LINEAR_ROWS; /* also of deltas' own, where the base's are packed */
    size_t rows = larger((size_t)batch_tokens, (size_t)logit_rows) * R16_ROWS;
    return larger(larger(attention, weights), rows) + 1;
}

static size_t block_floats(int batch_tokens)
{
    return 2 * (size_t)batch_tokens * LINEAR_ROWS;
}

static int allocate_workers(struct forward *f, struct err *e)
{
    int workers = pool_threads(f->pool);
    f->scratch = calloc((size_t)workers, sizeof *f->scratch);
    f->block = calloc((size_t)workers, sizeof *f->block);
    if (!f->scratch || !f->block)
        return err_memory(e);
    size_t floats = worker_floats(f->model, f->batch_tokens, f->logit_rows);
    for (int i = 0; i < workers; i++) {
        f->scratch[i] = malloc(floats * sizeof **f->scratch);
        f->block[i] = aligned_alloc(R16_LINE, block_floats(f->batch_tokens) * sizeof **f->block);
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

size_t scratch_bytes(const struct model *m, int batch_tokens, int logit_rows, int threads)
{
    struct array all[ARRAYS];
    size_t tokens = larger((size_t)batch_tokens, (size_t)logit_rows), activations = 0;
    list_arrays(m, batch_tokens, logit_rows, all);
    if (m->precision != PRECISION_EXACT)
        activations = activation_bytes(m, tokens, (size_t)r16_pad((int)widest_input(m))) +
                      activation_bytes(m, tokens, (size_t)r16_pad(m->config.intermediate));
    size_t floats = array_floats(all) + (size_t)threads * (worker_floats(m, batch_tokens, logit_rows) +
                                                           block_floats(batch_tokens));
    return floats * sizeof(float) + activations;
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
    free(f->head_dropout);
    free(f->memory);
}
