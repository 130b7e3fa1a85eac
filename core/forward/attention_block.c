#include "core/forward/angles.h"
#include "core/forward/blocks.h"
#include "core/forward/norm.h"
#include "core/forward/product.h"
#include "core/kernels/attention.h"
#include "core/kernels/vector.h"

/* ---- keys and values into the cache ---- */

/* The layer's place in the cache. */
static int kv_layer(const struct forward *f, int layer)
{
    return f->kv_of_layer ? 0 : layer;
}

static void rotate(const struct forward *f, int rope, int t, float *head)
{
    const struct rope *r = &f->model->config.rope[rope];
    struct angles a = angles_at(f, rope, t);
    (r->neighbours ? vector_rotate_neighbours : vector_rotate)(head, a.cosine, a.sine, r->dim);
}

/* Norms of a token's heads of q and k, where the family has them, and their rotation. k's heads follow
 * q's. */
static void turn_heads(struct forward *f, const struct layer *l, int t)
{
    const struct config *c = &f->model->config;
    float *q = row_at(f->qkv, t, model_qkv_size(f->model));
    for (int i = 0; i < l->head_norms; i++) {
        const struct head_norm *h = &l->head_norm[i];
        float *x = row_at(q, h->first, c->head_dim), *end = row_at(x, h->count, c->head_dim);
        for (; x < end; x += h->norm.size)
            norm_row(&h->norm, f->batch->delta[t], x, x);
    }
    for (int head = 0; l->rope >= 0 && head < c->heads + c->kv_heads; head++)
        rotate(f, l->rope, t, row_at(q, head, c->head_dim));
    if (c->query_growth > 0)
        vector_scale(q, angles_query_factor(c, f->batch->position[t]), model_q_size(f->model));
}

static void put_token(struct forward *f, int layer, int t)
{
    const struct model *m = f->model;
    int dim = m->config.head_dim, position = f->batch->position[t],
        page = f->batch->sequence[t]->pages[position / KV_PAGE_TOKENS];
    const float *k = row_at(f->qkv, t, model_qkv_size(m)) + model_q_size(m), *v = k + model_kv_size(m);
    for (int head = 0; head < m->config.kv_heads; head++)
        attention_put(kvcache_type(f->kv), kvcache_keys(f->kv, kv_layer(f, layer), page, head),
                      kvcache_values(f->kv, kv_layer(f, layer), page, head), position % KV_PAGE_TOKENS,
                      row_at(k, head, dim), row_at(v, head, dim), dim);
}

/* ---- attention ---- */

/* Tokens [first, end) of one sequence and `count` heads from `head` on, which share a KV head. */
struct unit {
    int layer, first, end, head, count;
};

/* The keys of the page that begins at position `start` which a token sees, itself the last of them. */
static struct attention_span span_of(int position, int window, int start)
{
    int begin = window > 0 ? position - window + 1 - start : 0, end = position + 1 - start;
    return (struct attention_span){begin > 0 ? begin : 0, end < KV_PAGE_TOKENS ? end : KV_PAGE_TOKENS};
}

/* Add the page that begins at position `start`: neighbours that see the same of it at once, which most do. */
static void add_page(const struct forward *f, const struct unit *u, struct attention_tile *tile, int start)
{
    const int32_t *position = f->batch->position;
    int window = f->model->layers[u->layer].window;
    for (int t = u->first, next; t < u->end; t = next) {
        struct attention_span keys = span_of(position[t], window, start);
        for (next = t + 1; next < u->end; next++) {
            struct attention_span other = span_of(position[next], window, start);
            if (other.begin != keys.begin || other.end != keys.end)
                break;
        }
        if (keys.begin < keys.end)
            attention_add(tile, (t - u->first) * u->count, (next - t) * u->count, keys);
    }
}

/* Where the first page begins that one of the tokens sees. */
static int first_page(const struct forward *f, const struct unit *u)
{
    int window = f->model->layers[u->layer].window,
        oldest = window > 0 ? f->batch->position[u->first] - window + 1 : 0;
    return oldest > 0 ? oldest / KV_PAGE_TOKENS * KV_PAGE_TOKENS : 0;
}

/* softmax(scale q K^T) V, each token over its own sequence up to itself. */
static void attend(struct forward *f, const struct unit *u, float *scratch)
{
    const struct model *m = f->model;
    int dim = m->config.head_dim, kv_head = u->head / (m->config.heads / m->config.kv_heads);
    struct attention_tile tile;
    attention_begin(&tile, kvcache_type(f->kv), dim, scratch);
    tile.scale = m->config.attention_scale;
    tile.cap = m->config.score_cap;
    for (int t = u->first, i = 0; t < u->end; t++)
        for (int head = u->head; head < u->head + u->count; head++, i++)
            attention_query(&tile, i, row_at(f->qkv, t, model_qkv_size(m)) + head * dim);
    for (int start = first_page(f, u); start <= f->batch->position[u->end - 1]; start += KV_PAGE_TOKENS) {
        int page = f->batch->sequence[u->first]->pages[start / KV_PAGE_TOKENS];
        attention_page(&tile, kvcache_keys(f->kv, kv_layer(f, u->layer), page, kv_head),
                       kvcache_values(f->kv, kv_layer(f, u->layer), page, kv_head));
        add_page(f, u, &tile, start);
    }
    for (int t = u->first, i = 0; t < u->end; t++)
        for (int head = u->head; head < u->head + u->count; head++, i++)
            attention_result(&tile, i, row_at(f->attention, t, model_q_size(m)) + head * dim);
}

/* Units of work: neighbouring tokens by the heads that share a KV head; fewer tokens, and single heads, where
 * that gives too few. */
static void attend_share(struct forward *f, int layer, const struct worker *w)
{
    const struct config *c = &f->model->config;
    const struct batch *b = f->batch;
    int shared = c->heads / c->kv_heads;
    long all = (long)b->count * c->kv_heads, unit = 0;
    int count = all >= w->count && shared <= ATTENTION_QUERIES ? shared : 1;
    int tokens = ATTENTION_QUERIES / count;
    if (tokens > (all + w->count - 1) / w->count)
        tokens = (int)((all + w->count - 1) / w->count);
    for (int t = 0, end; t < b->count; t = end) {
        for (end = t + 1; end < b->count && end - t < tokens && b->sequence[end] == b->sequence[t];)
            end++;
        for (int head = 0; head < c->heads; head += count, unit++)
            if (unit % w->count == w->index) {
                gate_pass(f->gate);
                attend(f, &(struct unit){layer, t, end, head, count}, w->scratch);
            }
    }
}

/* ---- the block ---- */

void attention_block_project(struct forward *f, int layer, const struct worker *w)
{
    const struct layer *l = &f->model->layers[layer];
    struct input in = input_tokens(f, f->h, &l->qkv[0]);
    for (; in.count < l->qkv_count; in.count++)
        in.linear[in.count] = &l->qkv[in.count];
    input_normalize(f, &l->attention_norm, &in, w);
    struct product p = {.input = &in, .y = f->qkv, .stride = model_qkv_size(f->model)};
    for (; p.which < in.count; p.y += l->qkv[p.which].weight.rows, p.which++)
        product_share(f, &p, w);
    pool_barrier(f->pool);
}

void attention_block_attend(struct forward *f, int layer, const struct worker *w)
{
    const struct layer *l = &f->model->layers[layer];
    for (int t = w->index; t < f->batch->count; t += w->count) {
        turn_heads(f, l, t);
        put_token(f, layer, t);
    }
    pool_barrier(f->pool);
    attend_share(f, layer, w);
    pool_barrier(f->pool);
    struct input in = input_tokens(f, f->attention, &l->o);
    if (f->model->config.parallel)
        residual_keep(f, &in, w);
    else
        residual_add(f, &in, &l->attention_post_norm, w);
}

void attention_block(struct forward *f, int layer, const struct worker *w)
{
    attention_block_project(f, layer, w);
    attention_block_attend(f, layer, w);
}
