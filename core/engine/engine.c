#include "core/engine/engine.h"

#include <assert.h>
#include <stdlib.h>

#include "core/engine/engine_private.h"

enum { STEP_TOKENS_DEFAULT = 256, CHUNK_TOKENS_DEFAULT = 128 };

/* ---- the way in: any thread ---- */

static int check_queue_locked(const struct engine *g, uint32_t tenant, int count, struct err *e)
{
    int waiting = 0, of_tenant = 0;
    const struct sequence *q;
    LIST_FOREACH(q, &g->live, live)
        if (!q->admitted) {
            waiting++;
            of_tenant += q->s.tenant == tenant;
        }
    if (g->stopping)
        return err_set(e, "engine_stopped", "the engine is stopping");
    if (of_tenant + count > g->options.queue_tenant_max)
        return err_set(e, "tenant_queue_full",
                       "%d requests of this tenant are waiting already; at most %d may", of_tenant,
                       g->options.queue_tenant_max);
    if (waiting + count > g->options.queue_max)
        return err_set(e, "queue_full", "%d requests are waiting already; at most %d may", waiting,
                       g->options.queue_max);
    return 0;
}

/* From here on the caller's constraint is the sequence's. */
static void enter_locked(struct engine *g, struct sequence *q, const struct engine_request *r, uint64_t *id)
{
    q->id = *id = ++g->next_id;
    q->request.sampling.constraint = r->sampling.constraint;
    LIST_INSERT_HEAD(&g->live, q, live);
}

static void enqueue_locked(struct engine *g, struct submitted *new, const struct engine_request *r,
                           uint64_t *ids)
{
    struct sequence *q, *f;
    STAILQ_FOREACH(q, new, submitted) {
        enter_locked(g, q, r++, ids++);
        TAILQ_FOREACH(f, &q->followers, follower)
            enter_locked(g, f, r++, ids++);
    }
    STAILQ_CONCAT(&g->submitted, new);
    pthread_cond_signal(&g->wake);
}

/* Put what was asked for into `new`; those that follow hang on the one before them. */
static int make_sequences(const struct engine *g, const struct engine_request *r, int count,
                          struct submitted *new, struct err *e)
{
    struct sequence *leader = NULL;
    for (int i = 0; i < count; i++) {
        struct sequence *q;
        if (sequence_new(g, &r[i], &q, e) != 0)
            return -1;
        assert(!r[i].follows || leader);
        if (r[i].follows) {
            q->follows = leader;
            TAILQ_INSERT_TAIL(&leader->followers, q, follower);
        } else {
            leader = q;
            STAILQ_INSERT_TAIL(new, q, submitted);
        }
    }
    return 0;
}

static void free_sequences(struct submitted *new)
{
    for (struct sequence *q, *f; (q = STAILQ_FIRST(new));) {
        STAILQ_REMOVE_HEAD(new, submitted);
        while ((f = TAILQ_FIRST(&q->followers))) {
            TAILQ_REMOVE(&q->followers, f, follower);
            sequence_free(f);
        }
        sequence_free(q);
    }
}

int engine_submit_all(struct engine *g, const struct engine_request *r, int count, uint64_t *ids,
                      struct err *e)
{
    struct submitted new = STAILQ_HEAD_INITIALIZER(new);
    int result = make_sequences(g, r, count, &new, e);
    if (result == 0) {
        pthread_mutex_lock(&g->lock);
        result = check_queue_locked(g, r->tenant, count, e);
        if (result == 0)
            enqueue_locked(g, &new, r, ids);
        pthread_mutex_unlock(&g->lock);
    }
    free_sequences(&new);
    return result;
}

int engine_submit(struct engine *g, const struct engine_request *r, uint64_t *id, struct err *e)
{
    return engine_submit_all(g, r, 1, id, e);
}

void engine_cancel(struct engine *g, uint64_t id)
{
    struct sequence *q;
    pthread_mutex_lock(&g->lock);
    LIST_FOREACH(q, &g->live, live)
        if (q->id == id) {
            atomic_store(&q->cancelled, true);
            g->cancel_pending = true;
            pthread_cond_signal(&g->wake);
        }
    pthread_mutex_unlock(&g->lock);
}

void engine_stats(struct engine *g, struct engine_stats *out)
{
    const struct sequence *q;
    pthread_mutex_lock(&g->lock);
    *out = g->stats;
    out->running = out->waiting = 0;
    LIST_FOREACH(q, &g->live, live)
        *(q->admitted ? &out->running : &out->waiting) += 1;
    pthread_mutex_unlock(&g->lock);
}

const struct engine_times *engine_times(const struct engine *g)
{
    return &g->times;
}

void engine_names(struct engine *g, void (*see)(void *arg, const char *name, bool runs), void *arg)
{
    const struct sequence *q;
    pthread_mutex_lock(&g->lock);
    LIST_FOREACH(q, &g->live, live)
        if (q->request.name)
            see(arg, q->request.name, q->admitted);
    pthread_mutex_unlock(&g->lock);
}

int engine_waiting(struct engine *g, uint32_t tenant)
{
    const struct sequence *q;
    int waiting = 0;
    pthread_mutex_lock(&g->lock);
    LIST_FOREACH(q, &g->live, live)
        waiting += !q->admitted && q->s.tenant == tenant;
    pthread_mutex_unlock(&g->lock);
    return waiting;
}

const struct model *engine_model(const struct engine *g)
{
    return g->model;
}

/* ---- life ---- */

static int allocate_batch(struct engine *g, struct err *e)
{
    size_t tokens = (size_t)g->options.step_tokens;
    g->order = calloc((size_t)g->options.sequences_max, sizeof *g->order);
    g->logits = calloc((size_t)g->info->vocab_size + DELTA_TOKENS_MAX, sizeof *g->logits);
    g->token = calloc(tokens, sizeof *g->token);
    g->position = calloc(tokens, sizeof *g->position);
    g->length = calloc(tokens, sizeof *g->length);
    g->input = calloc(tokens * (size_t)g->info->input_size + 1, sizeof *g->input);
    g->kv_of = calloc(tokens, sizeof *g->kv_of);
    g->delta_of = calloc(tokens, sizeof *g->delta_of);
    g->want = calloc(tokens, sizeof *g->want);
    g->want_state = calloc(tokens, sizeof *g->want_state);
    g->scores = calloc(tokens, sizeof *g->scores);
    bool all = g->order && g->logits && g->token && g->position && g->length && g->input && g->kv_of &&
               g->delta_of && g->want && g->want_state && g->scores;
    return all ? 0 : err_memory(e);
}

/* The budget, but no more than all sequences together can use. */
static size_t kv_bytes(const struct engine *g)
{
    size_t page_bytes = kvcache_page_bytes(&g->info->kv);
    size_t pages = ((size_t)g->info->context_length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
    size_t useful = pages * (size_t)g->options.sequences_max, affordable = g->options.kv_bytes / page_bytes;
    return (useful < affordable ? useful : affordable) * page_bytes;
}

static int prepare_kv(struct engine *g, struct err *e)
{
    if (g->info->numeric)
        return 0;
    if (kvcache_new(&g->kv, &g->info->kv, kv_bytes(g), e) != 0)
        return -1;
    if (prefix_new(&g->prefix, g->kv, e) != 0)
        return -1;
    long capacity = (long)kvcache_pages(g->kv) * KV_PAGE_TOKENS;
    g->stats.kv_pages = g->stats.kv_pages_free = kvcache_pages(g->kv);
    g->stats.context_length = capacity < g->info->context_length ? (int)capacity : g->info->context_length;
    return 0;
}

static int prepare(struct engine *g, struct err *e)
{
    struct engine_options *o = &g->options;
    if (o->step_tokens <= 0)
        o->step_tokens = STEP_TOKENS_DEFAULT;
    if (o->step_tokens < o->sequences_max)
        o->step_tokens = o->sequences_max;
    if (o->chunk_tokens <= 0)
        o->chunk_tokens = CHUNK_TOKENS_DEFAULT;
    struct scheduler_limits limits = {.sequences_max = o->sequences_max,
                                      .step_tokens = o->step_tokens,
                                      .chunk_tokens = o->chunk_tokens,
                                      .logit_rows = o->sequences_max + ENGINE_ROWS_MORE};
    if (sampler_scratch_init(&g->scratch, g->info->vocab_size + DELTA_TOKENS_MAX, e) != 0)
        return -1;
    if (pool_new(&g->pool, o->threads, e) != 0 || prepare_kv(g, e) != 0 || allocate_batch(g, e) != 0 ||
        forward_new(&g->forward, g->model, g->pool, g->kv, o->step_tokens, limits.logit_rows, e) != 0)
        return -1;
    g->stats.threads = pool_threads(g->pool);
    scheduler_init(&g->scheduler, &limits, g->kv, g->prefix);
    if (pthread_create(&g->thread, NULL, engine_main, g) != 0)
        return err_set(e, "out_of_memory", "cannot start the engine thread");
    pthread_setname_np(g->thread, "engine");
    g->started = true;
    return 0;
}

int engine_new(struct engine **out, const struct model *m, const struct engine_options *o, struct err *e)
{
    struct engine *g = calloc(1, sizeof *g);
    if (!g)
        return err_memory(e);
    g->model = m;
    g->info = model_info(m);
    g->options = *o;
    g->lending.share = o->training_share;
    LIST_INIT(&g->live);
    STAILQ_INIT(&g->submitted);
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->wake, NULL);
    if (prepare(g, e) != 0) {
        engine_free(g);
        return -1;
    }
    *out = g;
    return 0;
}

void engine_free(struct engine *g)
{
    if (!g)
        return;
    if (g->started) {
        pthread_mutex_lock(&g->lock);
        g->stopping = true;
        pthread_cond_signal(&g->wake);
        pthread_mutex_unlock(&g->lock);
        pthread_join(g->thread, NULL);
    }
    scheduler_fini(&g->scheduler);
    forward_free(g->forward);
    pool_free(g->pool);
    prefix_free(g->prefix);
    kvcache_free(g->kv);
    free(g->order);
    free(g->logits);
    free(g->token);
    free(g->position);
    free(g->length);
    free(g->input);
    free(g->kv_of);
    free(g->delta_of);
    free(g->want);
    free(g->want_state);
    free(g->scores);
    sampler_scratch_fini(&g->scratch);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->wake);
    free(g);
}
