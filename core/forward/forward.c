#include "core/forward/forward.h"

#include <stdlib.h>
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/forward/angles.h"
#include "core/forward/blocks.h"
#include "core/forward/norm.h"
#include "core/forward/numeric.h"
#include "core/forward/product.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/vector.h"

int forward_new(struct forward **out, const struct model *m, struct pool *pool, struct kvcache *kv,
                int batch_tokens, int logit_rows, struct err *e)
{
    struct forward *f = calloc(1, sizeof *f);
    if (!f)
        return err_memory(e);
    *f = (struct forward){
        .model = m, .pool = pool, .kv = kv, .batch_tokens = batch_tokens, .logit_rows = logit_rows};
    if (scratch_init(f, e) != 0) {
        forward_free(f);
        return -1;
    }
    *out = f;
    return 0;
}

void forward_free(struct forward *f)
{
    if (!f)
        return;
    scratch_fini(f);
    free(f);
}

size_t forward_bytes(const struct model *m, int batch_tokens, int logit_rows, int threads)
{
    return sizeof(struct forward) + scratch_bytes(m, batch_tokens, logit_rows, threads);
}

/* ---- the first layer's input ---- */

void forward_embed_row(const struct table *table, const struct delta *delta, int index, float *low,
                       float *out)
{
    const float *factor = delta_magnitude(delta, table->site);
    const struct lowrank *part = delta_at(delta, table->site);
    int size = table->weight.cols;
    if (!delta_row(delta, table->weight_parameter, index, out))
        table_row(table, delta_matrix(delta, table->weight_parameter), index, out);
    if (factor)
        vector_multiply(out, factor, size);
    if (!part)
        return;
    lowrank_column(part, index, low);
    for (int row = 0; row < size; row += LINEAR_ROWS)
        lowrank_expand(part, low, 0, 1, out + row, (size_t)size, row,
                       size - row < LINEAR_ROWS ? size - row : LINEAR_ROWS);
}

static void embed(struct forward *f, int t)
{
    const struct model *m = f->model;
    const struct batch *b = f->batch;
    int hidden = m->config.hidden;
    float *x = row_at(f->x, t, hidden), *place = row_at(f->h, t, hidden),
          *low = row_at(f->low, t, f->layout.stride);
    forward_embed_row(&m->embed, b->delta[t], b->token[t], low, x);
    if (m->config.embedding_multiplier != 1)
        vector_scale(x, m->config.embedding_multiplier, hidden);
    if (!m->positions.weight.data)
        return;
    forward_embed_row(&m->positions, b->delta[t], b->position[t], low, place);
    vector_add(x, place, hidden);
}

void forward_embed(struct forward *f, int worker, int workers)
{
    for (int t = worker; t < f->batch->count; t += workers) {
        embed(f, t);
        for (int rope = 0; rope < f->model->config.ropes; rope++)
            angles_find(f, rope, t);
    }
    pool_barrier(f->pool);
}

/* ---- layers and head ---- */

void forward_layer(struct forward *f, int layer, int worker, int workers)
{
    struct worker w = scratch_worker(f, worker, workers);
    attention_block(f, layer, &w);
    mlp_block(f, layer, &w);
}

const float *forward_stream(const struct forward *f)
{
    return f->x;
}

const float *forward_logits(const struct forward *f)
{
    return f->logits;
}

const float *forward_more(const struct forward *f)
{
    return f->more;
}

const float *forward_state(const struct forward *f, int t)
{
    return row_at(f->h, t, f->model->config.hidden);
}

/* The layers are done with what they read. */
void forward_states(struct forward *f, int worker, int workers)
{
    const struct batch *b = f->batch;
    int hidden = f->model->config.hidden;
    for (int t = worker; b->want_state && t < b->count; t += workers) {
        float *state = row_at(f->h, t, hidden);
        if (!b->want_state[t])
            continue;
        norm_row(&f->model->final_norm, b->delta[t], row_at(f->x, t, hidden), state);
        if (b->scores && b->scores[t])
            head_scores(delta_head(b->delta[t], f->model), state, b->scores[t]);
    }
}

/* What the output head reads of token t. A factor of the logits is as good before as behind it. */
static void head_row(const struct forward *f, int t, float *out)
{
    const struct config *c = &f->model->config;
    norm_row(&f->model->final_norm, f->batch->delta[t], row_at(f->x, t, c->hidden), out);
    if (c->logits_multiplier != 1)
        vector_scale(out, c->logits_multiplier, c->hidden);
}

/* The worker's own blocks of them. */
static void cap_logits(struct forward *f, const struct worker *w)
{
    const struct matrix *head = &f->model->lm_head.weight;
    for (int block = w->index; block < linear_blocks(head); block += w->count)
        for (int row = 0; row < f->wanted; row++)
            vector_cap(row_at(f->logits, row, head->rows) + linear_block_row(block),
                       f->model->config.logit_cap, linear_block_rows(head, block));
}

/* The logits of tokens that deltas add. Each is a row of its own, as those in put_own_rows. */
static void more_logits(struct forward *f, const struct worker *w)
{
    const struct model *m = f->model;
    int hidden = m->config.hidden;
    for (int row = 0; row < f->wanted; row++) {
        const struct own_rows *own = delta_own_rows(f->head_delta[row], m->lm_head.weight_parameter);
        int count = delta_vocab(f->head_delta[row], m) - m->config.vocab;
        float *out = row_at(f->more, row, DELTA_TOKENS_MAX);
        for (int i = w->index; count > 0 && i < count; i += w->count) {
            matrix_row(&own->values, own->values.rows - count + i, w->scratch);
            out[i] = vector_dot(w->scratch, row_at(f->head_input, row, hidden), hidden);
            if (m->config.logit_cap > 0)
                vector_cap(out + i, m->config.logit_cap, 1);
        }
    }
}

/* Gather the rows whose logits are wanted, normalize, and multiply by the output head. */
void forward_head(struct forward *f, int worker, int workers)
{
    const struct model *m = f->model;
    struct worker w = scratch_worker(f, worker, workers);
    struct input in = input_wanted(f, f->head_input, &m->lm_head);
    for (int t = 0, row = 0; t < f->batch->count; t++) {
        if (!f->batch->want_logits[t])
            continue;
        if (row % workers == worker)
            head_row(f, t, row_at(f->head_input, row, m->config.hidden));
        row++;
    }
    pool_barrier(f->pool);
    input_prepare(f, &in, &w);
    product_share(f, &(struct product){.input = &in, .y = f->logits, .stride = m->config.vocab}, &w);
    if (m->config.logit_cap > 0)
        cap_logits(f, &w);
    more_logits(f, &w);
}

/* ---- the step ---- */

void forward_begin(struct forward *f, const struct batch *b)
{
    f->batch = b;
    f->wanted = 0;
    f->any_delta = f->any_replaced = false;
    int rank = 0;
    for (int t = 0; t < b->count; t++) {
        rank = b->delta[t] && b->delta[t]->rank_max > rank ? b->delta[t]->rank_max : rank;
        f->any_delta |= b->delta[t] != NULL;
        f->any_replaced |= b->delta[t] && b->delta[t]->replaces_layer;
        if (b->want_logits[t] && b->dropout)
            f->head_dropout[f->wanted] = b->dropout[t];
        if (b->want_logits[t])
            f->head_delta[f->wanted++] = b->delta[t];
    }
    f->layout = low_layout(rank);
    if (f->model->config.family->numeric)
        memcpy(f->x, b->input, (size_t)b->count * (size_t)f->model->info.input_size * sizeof *f->x);
}

static void decoder_work(void *arg, int worker, int workers)
{
    struct forward *f = arg;
    forward_embed(f, worker, workers);
    for (int layer = 0; layer < f->model->config.layers; layer++)
        forward_layer(f, layer, worker, workers);
    forward_states(f, worker, workers);
    if (f->wanted > 0)
        forward_head(f, worker, workers);
}

static void numeric_work(void *arg, int worker, int workers)
{
    struct worker w = scratch_worker(arg, worker, workers);
    numeric_pass(arg, &w);
}

const float *forward_step(struct forward *f, const struct batch *b)
{
    bool numeric = f->model->config.family->numeric;
    forward_begin(f, b);
    (b->alone ? pool_run_alone : pool_run)(f->pool, numeric ? numeric_work : decoder_work, f);
    return f->logits;
}
