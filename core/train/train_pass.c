#include "core/train/train_pass.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "core/forward/forward.h"
#include "core/train/pass/blocks_backward.h"
#include "core/train/pass/head_backward.h"
#include "core/train/pass/pass_memory.h"
#include "core/train/train_random.h"

static_assert((int)PASS_SEQUENCES == (int)TRAIN_PASS_EXAMPLES, "each example is a sequence");

/* ---- its memory ---- */

static struct train_pass pass_of(const struct model *m, int tokens)
{
    int rows = PASS_LOGITS / m->config.vocab / LINEAR_TOKENS * LINEAR_TOKENS;
    rows = rows < LINEAR_TOKENS ? LINEAR_TOKENS : rows > PASS_HEAD_ROWS ? PASS_HEAD_ROWS : rows;
    return (struct train_pass){.model = m, .tokens = tokens, .head_rows = rows < tokens ? rows : tokens};
}

/* Keys and values of the layer in hand, for attention as it is served. */
static struct kv_shape kv_shape_of(const struct model *m)
{
    struct kv_shape shape = m->info.kv;
    shape.layers = 1;
    return shape;
}

static size_t kv_bytes(const struct model *m, int tokens)
{
    const struct kv_shape shape = kv_shape_of(m);
    return (size_t)pass_pages(tokens) * kvcache_page_bytes(&shape);
}

static int pass_start(struct train_pass *p, struct err *e)
{
    const struct kv_shape shape = kv_shape_of(p->model);
    if (pass_memory_init(p, e) != 0 || kvcache_new(&p->kv, &shape, kv_bytes(p->model, p->tokens), e) != 0 ||
        forward_new(&p->forward, p->model, p->pool, p->kv, p->tokens, p->head_rows, e) != 0)
        return -1;
    p->forward->kv_of_layer = true;
    p->forward->gate = p->gate;
    return 0;
}

int train_pass_new(struct train_pass **out, const struct model *m, struct pool *pool, struct gate *gate,
                   int tokens, struct err *e)
{
    struct train_pass *p = malloc(sizeof *p);
    if (!p)
        return err_memory(e);
    *p = pass_of(m, tokens);
    p->pool = pool;
    p->gate = gate;
    if (pass_start(p, e) != 0) {
        train_pass_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void train_pass_free(struct train_pass *p)
{
    if (!p)
        return;
    forward_free(p->forward);
    kvcache_free(p->kv);
    pass_memory_fini(p);
    free(p);
}

size_t train_pass_bytes(const struct model *m, int tokens, int threads)
{
    const struct train_pass p = pass_of(m, tokens);
    return sizeof p + pass_memory_bytes(&p, threads) + kv_bytes(m, tokens) +
           forward_bytes(m, tokens, p.head_rows, threads);
}

int train_pass_tokens(const struct train_pass *p)
{
    return p->tokens;
}

/* ---- what goes through it ---- */

static bool is_trained(const struct train_example *x)
{
    return x->params && x->weight != 0;
}

/* The run of the example's job: the last one, or a new one. */
static int run_of(struct train_pass *p, const struct train_example *x)
{
    struct pass_runs *runs = &p->token_runs;
    struct pass_run *last = runs->count > 0 ? &p->token_run[runs->count - 1] : NULL;
    if (!last || last->params != x->params || last->delta != x->delta) {
        last = &p->token_run[runs->count++];
        *last = (struct pass_run){.begin = runs->rows, .delta = x->delta, .params = x->params};
    }
    runs->rows += x->sequence->count;
    last->end = runs->rows;
    return runs->count - 1;
}

static void add_tokens(struct pass_batch *b, const struct train_example *x, struct kv_sequence *sequence)
{
    for (int i = 0, at = b->batch.count; i < x->sequence->count; i++, at++) {
        b->token[at] = x->sequence->tokens[i];
        b->position[at] = i;
        b->length[at] = x->sequence->count;
        b->sequence[at] = sequence;
        b->delta[at] = x->delta;
        b->dropout[at] = (struct dropout){x->dropout, train_random_bits(x->dropout_seed, (uint64_t)i)};
        b->want[at] = 0;
    }
    b->batch.count += x->sequence->count;
    if (x->dropout > 0)
        b->batch.dropout = b->dropout;
}

static void add_targets(struct train_pass *p, const struct train_example *x, int first, int run)
{
    for (int i = 1; i < x->sequence->count; i++)
        if (x->sequence->labels[i] != TRAIN_NO_LABEL)
            p->target[p->target_count++] = (struct pass_target){.row = first + i - 1,
                                                                .run = run,
                                                                .token = x->sequence->labels[i],
                                                                .weight = run < 0 ? 0 : x->weight};
}

static void add_example(struct train_pass *p, const struct train_example *x, struct kv_sequence *sequence)
{
    int first = p->all.batch.count, run = -1;
    for (int i = 0; i < x->sequence->count; i++)
        p->trained_row[first + i] = is_trained(x) ? p->trained.batch.count + i : -1;
    if (is_trained(x)) {
        run = run_of(p, x);
        add_tokens(&p->trained, x, sequence);
    }
    add_tokens(&p->all, x, sequence);
    add_targets(p, x, first, run);
}

static struct batch empty_batch(const struct pass_batch *b)
{
    return (struct batch){.token = b->token,
                          .position = b->position,
                          .length = b->length,
                          .sequence = b->sequence,
                          .delta = b->delta,
                          .want_logits = b->want};
}

static void take_examples(struct train_pass *p, const struct train_example *examples, int count)
{
    int page = 0;
    p->all.batch = empty_batch(&p->all);
    p->trained.batch = empty_batch(&p->trained);
    p->token_runs = (struct pass_runs){.run = p->token_run};
    p->target_count = 0;
    for (int i = 0; i < count; i++) {
        int pages = (examples[i].sequence->count + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
        p->sequences[i] = (struct kv_sequence){.pages = p->pages + page, .page_count = pages};
        for (int j = 0; j < pages; j++, page++)
            p->pages[page] = page;
        assert(p->all.batch.count + examples[i].sequence->count <= p->tokens);
        add_example(p, &examples[i], &p->sequences[i]);
    }
}

/* ---- how far down ---- */

static bool linear_is_trained(const struct train_params *p, const struct linear *l)
{
    return l->weight.data && (p->sites[l->site].a >= 0 || p->whole[l->weight_parameter] >= 0 ||
                              (l->bias && p->whole[l->bias_parameter] >= 0));
}

static bool norm_is_trained(const struct train_params *p, const struct norm *n)
{
    return n->weight && (p->whole[n->weight_parameter] >= 0 || (n->bias && p->whole[n->bias_parameter] >= 0));
}

static bool layer_is_trained(const struct train_params *p, struct layer *l)
{
    const struct norm *norm[] = {&l->attention_norm, &l->mlp_norm, &l->attention_post_norm,
                                 &l->mlp_post_norm};
    struct linear *linear[LAYER_LINEARS];
    int count = layer_linears(l, linear);
    bool trained = false;
    for (int i = 0; i < count; i++)
        trained |= linear_is_trained(p, linear[i]);
    for (size_t i = 0; i < sizeof norm / sizeof *norm; i++)
        trained |= norm_is_trained(p, norm[i]);
    for (int i = 0; i < l->head_norms; i++)
        trained |= norm_is_trained(p, &l->head_norm[i].norm);
    return trained;
}

static bool table_is_trained(const struct train_params *p, const struct table *t)
{
    return t->weight.data && (p->sites[t->site].a >= 0 || p->whole[t->weight_parameter] >= 0);
}

/* The lowest layer that is trained, as in train_pass. */
static int lowest_of(const struct model *m, const struct train_params *p)
{
    if (table_is_trained(p, &m->embed) || table_is_trained(p, &m->positions))
        return -1;
    for (int layer = 0; layer < m->config.layers; layer++)
        if (layer_is_trained(p, &m->layers[layer]))
            return layer;
    return m->config.layers;
}

static int find_lowest(const struct train_pass *p)
{
    int lowest = p->model->config.layers;
    for (int i = 0; i < p->token_runs.count; i++) {
        int own = lowest_of(p->model, p->token_run[i].params);
        lowest = own < lowest ? own : lowest;
    }
    return lowest;
}

/* ---- the pass ---- */

/* What a layer is about to read, of the rows that will come back to it; a worker's share. */
static void save_rows(struct train_pass *p, int layer, int worker, int workers)
{
    int rows = p->all.batch.count, hidden = p->model->config.hidden;
    float *saved = p->saved + (size_t)layer * (size_t)p->tokens * (size_t)hidden;
    if (layer < p->lowest)
        return;
    for (int t = pass_share(rows, worker, workers); t < pass_share(rows, worker + 1, workers); t++)
        if (p->trained_row[t] >= 0)
            memcpy(row_at(saved, p->trained_row[t], hidden), row_at(p->forward->x, t, hidden),
                   (size_t)hidden * sizeof *saved);
}

static void forward_work(void *arg, int worker, int workers)
{
    struct train_pass *p = arg;
    forward_embed(p->forward, worker, workers);
    for (int layer = 0; layer < p->model->config.layers; layer++) {
        save_rows(p, layer, worker, workers);
        forward_layer(p->forward, layer, worker, workers);
    }
}

/* The embedding is computed again for the angles of the rows that are left. */
static void backward_work(void *arg, int worker, int workers)
{
    struct train_pass *p = arg;
    struct worker w = scratch_worker(p->forward, worker, workers);
    forward_embed(p->forward, worker, workers);
    for (int layer = p->model->config.layers - 1; layer >= 0 && layer >= p->lowest; layer--)
        layer_backward(p, layer, &w);
    if (p->lowest < 0)
        table_backward(p, &w);
}

/* Targets stand in the order of the examples. */
static void give_results(const struct train_pass *p, struct train_example *examples, int count)
{
    for (int i = 0, target = 0, row = 0; i < count; i++) {
        struct train_example *x = &examples[i];
        x->loss = 0;
        x->targets = x->correct = 0;
        row += x->sequence->count;
        for (; target < p->target_count && p->target[target].row < row; target++) {
            x->loss += p->target[target].loss;
            x->correct += p->target[target].correct;
            x->targets++;
        }
    }
}

void train_pass_run(struct train_pass *p, struct train_example *examples, int count)
{
    assert(count <= PASS_SEQUENCES);
    take_examples(p, examples, count);
    p->lowest = find_lowest(p);
    memset(p->dx, 0, (size_t)p->token_runs.rows * (size_t)p->model->config.hidden * sizeof *p->dx);
    forward_begin(p->forward, &p->all.batch);
    pool_run(p->pool, forward_work, p);
    head_backward(p);
    if (p->lowest < p->model->config.layers) {
        forward_begin(p->forward, &p->trained.batch);
        pool_run(p->pool, backward_work, p);
    }
    give_results(p, examples, count);
}
