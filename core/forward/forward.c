/* One forward pass over a ragged batch. Every worker walks through the same phases; inside a phase the work
 * is divided by (worker, workers) alone, and between phases all meet at a barrier. Which worker computes a
 * number never changes it. */
#include <math.h>
#include <string.h>

#include "core/kernels/attention.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/vector.h"
#include "core/delta/delta_internal.h"
#include "core/forward/run_internal.h"

/* ---- linear layers with their deltas ---- */

/* Rows that go through linear layers together: the tokens of the step, or the rows whose logits are wanted.
 */
struct rows {
    int count;
    const struct delta *const *delta; /* [count] */
};

static struct rows all_tokens(const struct model_run *r)
{
    return (struct rows){r->batch->count, r->batch->delta};
}

static float *low_at(const struct model_run *r, int row, int which)
{
    return r->low + (size_t)row * LOW_STRIDE + (size_t)which * DELTA_RANK_MAX;
}

/* The end of the run of equal deltas that begins at `first`. */
static int run_end(struct rows rows, int first, int end)
{
    int next = first + 1;
    while (next < end && rows.delta[next] == rows.delta[first])
        next++;
    return next;
}

/* t = A x for the rows [begin, end) and the layers that read them: of each A, the part `share` of `shares`.
 * x: of row `begin`. */
static void shrink_rows(struct model_run *r, struct rows rows, int begin, int end, const float *x,
                        const struct linear *const *linears, int count, int share, int shares)
{
    size_t cols = (size_t)linears[0]->weight.cols;
    if (!r->any_delta)
        return;
    for (int t = begin, next; t < end; t = next) {
        next = run_end(rows, t, end);
        for (int i = 0; i < count; i++) {
            const struct lowrank *part = delta_at(rows.delta[t], linears[i]->site);
            if (part)
                lowrank_shrink(part, x + (size_t)(t - begin) * cols, cols, next - t, low_at(r, t, i),
                               LOW_STRIDE, (int)cols, part->rank * share / shares,
                               part->rank * (share + 1) / shares);
        }
    }
}

static void quantize_row(struct model_run *r, struct rows rows, int row, const float *x,
                         const struct linear *l)
{
    const struct qgemm_kernels *k = r->model->kernels;
    struct activation *a = &r->activation;
    if (!l->packed.bits)
        return;
    size_t cols = (size_t)l->packed.cols_padded, at = (size_t)row * cols;
    k->quantize(x, l->packed.cols, a->q + at, a->scale + at / R16_K, a->sum + at / R16_SUM_K);
    if (a->wide && rows.count >= R16_WIDE_TOKENS && l->packed.bits == R16_INT8)
        k->widen(a->q + at, (int)cols, a->wide + at);
}

/* The worker's share of the rows: neighbours, which often share a delta. */
static int share_begin(struct rows rows, int worker, int workers)
{
    return (int)((long)rows.count * worker / workers);
}

/* Make ready the input of layers that many workers wrote. Rows are divided over the workers; where there are
 * fewer rows than workers, each row's A is. Ends at a barrier. */
static void input_phase(struct model_run *r, struct rows rows, const float *input,
                        const struct linear *const *linears, int count, int worker, int workers)
{
    size_t cols = (size_t)linears[0]->weight.cols;
    int begin = share_begin(rows, worker, workers), end = share_begin(rows, worker + 1, workers);
    if (!r->any_delta && !linears[0]->packed.bits)
        return;
    for (int row = begin; row < end; row++)
        quantize_row(r, rows, row, input + (size_t)row * cols, linears[0]);
    if (rows.count >= workers)
        shrink_rows(r, rows, begin, end, input + (size_t)begin * cols, linears, count, 0, 1);
    else
        shrink_rows(r, rows, 0, rows.count, input, linears, count, worker, workers);
    pool_barrier(r->pool);
}

/* Whole panels go straight to y; a last one that is not whole goes through scratch. */
static void multiply_packed(struct model_run *r, const struct linear *l, int row, int rows, int tokens,
                            float *y, int stride, float *scratch)
{
    const struct packed *w = &l->packed;
    struct activation x = r->activation;
    x.cols_padded = w->cols_padded;
    const struct qgemm_kernels *k = r->model->kernels;
    int begin = row / R16_ROWS, whole = rows / R16_ROWS, rest = rows % R16_ROWS;
    if (whole > 0)
        (w->bits == R16_INT8 ? k->multiply_int8 : k->multiply_int4)(w, begin, begin + whole, &x, tokens,
                                                                    y + row, stride);
    if (rest == 0)
        return;
    (w->bits == R16_INT8 ? k->multiply_int8 : k->multiply_int4)(w, begin + whole, begin + whole + 1, &x,
                                                                tokens, scratch, R16_ROWS);
    for (int t = 0; t < tokens; t++)
        memcpy(y + (size_t)t * (size_t)stride + row + whole * R16_ROWS, scratch + (size_t)t * R16_ROWS,
               (size_t)rest * sizeof *y);
}

/* W x with a delta's own W, each run of equal deltas for itself. */
static void multiply_replaced(struct model_run *r, const struct linear *l, struct rows rows,
                              const float *input, float *y, int stride, int block, int worker)
{
    for (int t = 0, end; t < rows.count; t = end) {
        const struct matrix *own = delta_matrix(rows.delta[t], l->weight_slot);
        end = run_end(rows, t, rows.count);
        if (own)
            linear_block(own, block, input + (size_t)t * (size_t)own->cols, end - t,
                         y + (size_t)t * (size_t)stride, stride, r->scratch[worker]);
    }
}

static bool all_replace(const struct linear *l, struct rows rows)
{
    for (int t = 0; t < rows.count; t++)
        if (!delta_matrix(rows.delta[t], l->weight_slot))
            return false;
    return true;
}

/* W x of a block for all rows. */
static void multiply_block(struct model_run *r, const struct linear *l, struct rows rows, const float *input,
                           float *y, int stride, int block, int worker)
{
    bool base = !r->any_replaced || !all_replace(l, rows);
    if (base && l->packed.bits)
        multiply_packed(r, l, linear_block_row(block), linear_block_rows(&l->weight, block), rows.count, y,
                        stride, r->scratch[worker]);
    else if (base)
        linear_block(&l->weight, block, input, rows.count, y, stride, r->scratch[worker]);
    if (r->any_replaced)
        multiply_replaced(r, l, rows, input, y, stride, block, worker);
}

/* A block of output rows: W x, times DoRA's factors, then + bias, then + B t. y points at the layer's row 0;
 * `which` is the layer's place among those that read the same input. */
static void linear_rows(struct model_run *r, const struct linear *l, int which, struct rows rows,
                        const float *input, float *y, int stride, int block, int worker)
{
    int first = linear_block_row(block), count = linear_block_rows(&l->weight, block);
    multiply_block(r, l, rows, input, y, stride, block, worker);
    for (int t = 0, end; t < rows.count; t = end) {
        const struct delta *delta = rows.delta[t];
        float *out = y + (size_t)t * (size_t)stride + first;
        const float *factor = delta_magnitude(delta, l->site),
                    *bias = delta_vector(delta, l->bias_slot, l->bias);
        const struct lowrank *part = delta_at(delta, l->site);
        end = run_end(rows, t, rows.count);
        for (int i = 0; (factor || bias) && i < end - t; i++) {
            if (factor)
                vector_multiply(out + (size_t)i * (size_t)stride, factor + first, count);
            if (bias)
                vector_add(out + (size_t)i * (size_t)stride, bias + first, count);
        }
        if (part)
            lowrank_expand(part, low_at(r, t, which), LOW_STRIDE, end - t, out, (size_t)stride, first, count);
    }
}

static void linear_all(struct model_run *r, const struct linear *l, int which, struct rows rows,
                       const float *input, float *y, int stride, int worker, int workers)
{
    for (int block = worker; block < linear_blocks(&l->weight); block += workers)
        linear_rows(r, l, which, rows, input, y, stride, block, worker);
}

/* ---- phases ---- */

/* Row `index` of a table as token t's delta has it. */
static void look_up(struct model_run *r, const struct table *table, int t, int index, float *out)
{
    const struct delta *delta = r->batch->delta[t];
    const float *factor = delta_magnitude(delta, table->site);
    const struct lowrank *part = delta_at(delta, table->site);
    int size = table->weight.cols;
    table_row(table, delta_matrix(delta, table->weight_slot), index, out);
    if (factor)
        vector_multiply(out, factor, size);
    if (!part)
        return;
    lowrank_column(part, index, low_at(r, t, 0));
    for (int row = 0; row < size; row += LINEAR_ROWS)
        lowrank_expand(part, low_at(r, t, 0), LOW_STRIDE, 1, out + row, (size_t)size, row,
                       size - row < LINEAR_ROWS ? size - row : LINEAR_ROWS);
}

static void embed(struct model_run *r, int worker, int workers)
{
    const struct model *m = r->model;
    int hidden = m->config.hidden;
    for (int t = worker; t < r->batch->count; t += workers) {
        float *x = r->x + (size_t)t * (size_t)hidden;
        look_up(r, &m->embed, t, r->batch->token[t], x);
        if (m->positions.weight.data) {
            float *place = r->branch + (size_t)t * (size_t)hidden;
            look_up(r, &m->positions, t, r->batch->position[t], place);
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

static void normalize(const struct norm *n, const struct delta *delta, float eps, int size, const float *x,
                      float *y)
{
    const float *weight = delta_vector(delta, n->weight_slot, n->weight),
                *bias = delta_vector(delta, n->bias_slot, n->bias);
    if (bias)
        vector_layer_norm(y, x, weight, bias, eps, size);
    else
        vector_rms_norm(y, x, weight, eps, size);
}

/* h = norm(x), and h made ready for the layers that read it. Where there are fewer rows than workers, each
 * worker computes the norms for its part of A itself: that takes less than another barrier. */
static void norm_phase(struct model_run *r, const struct norm *n, const struct linear *const *linears,
                       int count, int worker, int workers)
{
    size_t hidden = (size_t)r->model->config.hidden;
    struct rows rows = all_tokens(r);
    bool by_row = rows.count >= workers;
    int begin = share_begin(rows, worker, workers), end = share_begin(rows, worker + 1, workers);
    for (int t = 0; t < rows.count; t++) {
        bool own = t >= begin && t < end;
        float *h = own ? r->h + (size_t)t * hidden : r->scratch[worker];
        if (!own && (by_row || !rows.delta[t]))
            continue;
        normalize(n, rows.delta[t], r->model->config.eps, (int)hidden, r->x + (size_t)t * hidden, h);
        if (own)
            quantize_row(r, rows, t, h, linears[0]);
        if (!by_row)
            shrink_rows(r, rows, t, t + 1, h, linears, count, worker, workers);
    }
    if (by_row)
        shrink_rows(r, rows, begin, end, r->h + (size_t)begin * hidden, linears, count, 0, 1);
    pool_barrier(r->pool);
}

/* Rotate q and k of a token, and put k and v into the cache. */
static void place_token(struct model_run *r, const struct layer *l, int layer, int t)
{
    const struct model *m = r->model;
    const struct config *c = &m->config;
    int dim = c->head_dim, heads = c->heads + c->kv_heads;
    float *q = r->qkv + (size_t)t * (size_t)model_qkv_size(m), *k = q + model_q_size(m),
          *v = k + model_kv_size(m);
    for (int head = 0; head < heads; head++) {
        float *x = q + (size_t)head * (size_t)dim; /* k's heads follow q's */
        const struct norm *norm = head < c->heads ? &l->q_norm : &l->k_norm;
        if (norm->weight)
            normalize(norm, r->batch->delta[t], c->eps, dim, x, x);
        if (m->inverse_frequency)
            vector_rotate(x, r->cosine + (size_t)t * (size_t)(dim / 2),
                          r->sine + (size_t)t * (size_t)(dim / 2), dim);
    }
    int position = r->batch->position[t], page = r->batch->sequence[t]->pages[position / KV_PAGE_TOKENS];
    for (int head = 0; head < c->kv_heads; head++)
        attention_put(kvcache_type(r->kv), kvcache_keys(r->kv, layer, page, head),
                      kvcache_values(r->kv, layer, page, head), position % KV_PAGE_TOKENS, k + head * dim,
                      v + head * dim, dim);
}

/* Tokens [first, end) of one sequence and `count` heads from `head` on, which share a KV head. */
struct attention_unit {
    int first, end, head, count;
};

/* The keys of the page that begins at position `start` which a token sees, itself the last of them. */
static struct attention_span span_of(int position, int window, int start)
{
    int begin = window > 0 ? position - window + 1 - start : 0, end = position + 1 - start;
    return (struct attention_span){begin > 0 ? begin : 0, end < KV_PAGE_TOKENS ? end : KV_PAGE_TOKENS};
}

/* Add the page that begins at position `start`: neighbours that see the same of it at once, which most do. */
static void add_page(const struct model_run *r, const struct attention_unit *u, int window,
                     struct attention_tile *tile, int start)
{
    const int32_t *position = r->batch->position;
    for (int t = u->first, next; t < u->end; t = next) {
        struct attention_span keys = span_of(position[t], window, start), other = keys;
        for (next = t + 1; next < u->end; next++) {
            other = span_of(position[next], window, start);
            if (other.begin != keys.begin || other.end != keys.end)
                break;
        }
        if (keys.begin < keys.end)
            attention_add(tile, (t - u->first) * u->count, (next - t) * u->count, keys);
    }
}

/* softmax(q K^T / sqrt(dim)) V, each token over its own sequence up to itself. */
static void attend(struct model_run *r, int layer, const struct attention_unit *u, float *scratch)
{
    const struct model *m = r->model;
    const struct config *c = &m->config;
    int dim = c->head_dim, kv_head = u->head / (c->heads / c->kv_heads), window = m->layers[layer].window;
    int oldest = window > 0 ? r->batch->position[u->first] - window + 1 : 0;
    const int32_t *pages = r->batch->sequence[u->first]->pages;
    struct attention_tile tile;
    attention_begin(&tile, dim, scratch);
    for (int t = u->first, i = 0; t < u->end; t++)
        for (int head = u->head; head < u->head + u->count; head++, i++)
            attention_query(&tile, i, r->qkv + (size_t)t * (size_t)model_qkv_size(m) + head * dim);
    for (int start = oldest > 0 ? oldest / KV_PAGE_TOKENS * KV_PAGE_TOKENS : 0;
         start <= r->batch->position[u->end - 1]; start += KV_PAGE_TOKENS) {
        int page = pages[start / KV_PAGE_TOKENS];
        attention_page(&tile, kvcache_type(r->kv), kvcache_keys(r->kv, layer, page, kv_head),
                       kvcache_values(r->kv, layer, page, kv_head));
        add_page(r, u, window, &tile, start);
    }
    for (int t = u->first, i = 0; t < u->end; t++)
        for (int head = u->head; head < u->head + u->count; head++, i++)
            attention_result(&tile, i, r->attention + (size_t)t * (size_t)model_q_size(m) + head * dim);
}

/* Units of work: neighbouring tokens by the heads that share a KV head; fewer tokens, and single heads, where
 * that gives too few. */
static void attend_phase(struct model_run *r, int layer, int worker, int workers)
{
    const struct config *c = &r->model->config;
    const struct batch *b = r->batch;
    int shared = c->heads / c->kv_heads;
    long all = (long)b->count * c->kv_heads, unit = 0;
    int count = all >= workers && shared <= ATTENTION_QUERIES ? shared : 1;
    int tokens = ATTENTION_QUERIES / count;
    if (tokens > (all + workers - 1) / workers)
        tokens = (int)((all + workers - 1) / workers);
    for (int t = 0, end; t < b->count; t = end) {
        for (end = t + 1; end < b->count && end - t < tokens && b->sequence[end] == b->sequence[t];)
            end++;
        for (int head = 0; head < c->heads; head += count, unit++)
            if (unit % workers == worker)
                attend(r, layer, &(struct attention_unit){t, end, head, count}, r->scratch[worker]);
    }
    pool_barrier(r->pool);
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
    input_phase(r, all_tokens(r), input, &l, 1, worker, workers);
    for (int block = worker; block < linear_blocks(&l->weight); block += workers) {
        linear_rows(r, l, 0, all_tokens(r), input, r->branch, r->model->config.hidden, block, worker);
        add_rows(r, l, block);
    }
    pool_barrier(r->pool);
}

static void attention_block(struct model_run *r, int layer, int worker, int workers)
{
    const struct model *m = r->model;
    const struct layer *l = &m->layers[layer];
    const struct linear *linears[INPUT_SITES_MAX] = {&l->qkv[0], &l->qkv[1], &l->qkv[2]};
    norm_phase(r, &l->attention_norm, linears, l->qkv_count, worker, workers);
    for (int i = 0, column = 0; i < l->qkv_count; column += l->qkv[i].weight.rows, i++)
        linear_all(r, &l->qkv[i], i, all_tokens(r), r->h, r->qkv + column, model_qkv_size(m), worker,
                   workers);
    pool_barrier(r->pool);
    for (int t = worker; t < r->batch->count; t += workers)
        place_token(r, l, layer, t);
    pool_barrier(r->pool);
    attend_phase(r, layer, worker, workers);
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
    const struct linear *linears[] = {&l->up, &l->gate};
    bool gated = l->gate.weight.data != NULL;
    int width = m->config.intermediate;
    norm_phase(r, &l->mlp_norm, linears, gated ? 2 : 1, worker, workers);
    for (int block = worker; block < linear_blocks(&l->up.weight); block += workers) {
        linear_rows(r, &l->up, 0, all_tokens(r), r->h, r->up, width, block, worker);
        if (gated)
            linear_rows(r, &l->gate, 1, all_tokens(r), r->h, r->gate, width, block, worker);
        activate_rows(r, l, block);
    }
    pool_barrier(r->pool);
    residual_phase(r, &l->down, r->up, worker, workers);
}

/* Gather the rows whose logits are wanted, normalize, and multiply by the output head. */
static void head_phase(struct model_run *r, int worker, int workers)
{
    const struct model *m = r->model;
    const struct linear *head = &m->lm_head;
    struct rows rows = {r->wanted, r->head_delta};
    size_t hidden = (size_t)m->config.hidden;
    for (int t = 0, row = 0; t < r->batch->count; t++) {
        if (!r->batch->want_logits[t])
            continue;
        if (row % workers == worker)
            normalize(&m->final_norm, r->head_delta[row], m->config.eps, (int)hidden,
                      r->x + (size_t)t * hidden, r->head_input + (size_t)row * hidden);
        row++;
    }
    pool_barrier(r->pool);
    input_phase(r, rows, r->head_input, &head, 1, worker, workers);
    linear_all(r, head, 0, rows, r->head_input, r->logits, m->config.vocab, worker, workers);
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
    int last = m->config.mlp_layers - 1;
    for (int i = 0; i <= last; i++) {
        const struct linear *l = &m->mlp[i];
        const float *input = i % 2 ? r->h : r->x;
        float *y = i == last ? r->logits : i % 2 ? r->x : r->h;
        input_phase(r, all_tokens(r), input, &l, 1, worker, workers);
        for (int block = worker; block < linear_blocks(&l->weight); block += workers) {
            linear_rows(r, l, 0, all_tokens(r), input, y, l->weight.rows, block, worker);
            for (int t = 0; i < last && t < r->batch->count; t++)
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
    r->wanted = 0;
    r->any_delta = r->any_replaced = false;
    for (int t = 0; t < b->count; t++) {
        r->any_delta |= b->delta[t] != NULL;
        r->any_replaced |= b->delta[t] && b->delta[t]->replaces_layer;
        if (b->want_logits[t])
            r->head_delta[r->wanted++] = b->delta[t];
    }
    if (m->info.numeric)
        memcpy(r->x, b->input, (size_t)b->count * (size_t)m->info.input_size * sizeof *r->x);
    (b->alone ? pool_run_alone : pool_run)(r->pool, m->info.numeric ? numeric_work : decoder_work, r);
    return r->logits;
}
