#include "core/engine/engine.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/clock.h"
#include "core/engine/sampler.h"
#include "core/engine/scheduler.h"

enum {
    STEP_TOKENS_DEFAULT = 256,
    CHUNK_TOKENS_DEFAULT = 128,
    LOGIT_ROWS_MORE = 32,
    INPUT_ROWS_MAX = 1 << 20,
    STEP_US_MAX = 100000, /* of a step that decodes for somebody */
    PREFILL_TOKENS_MIN = 16,
    ALONE_PRODUCTS = 1 << 25 /* tokens by weights that one core multiplies in about a millisecond */
};

struct sequence {
    struct schedulable s; /* first: the scheduler's pointer is ours */
    uint64_t id;
    struct engine_request request; /* tokens, input and delta are owned */
    struct sampler sampler;
    int prompt_tokens; /* as submitted */
    int new_tokens, new_tokens_max;
    int rows_given;    /* to on_logits */
    int cached_tokens; /* when it was admitted first */
    uint64_t submitted_us, admitted_us, prefilled_us;
    atomic_bool cancelled;
    bool taken;                                 /* the engine thread's own: the scheduler knows it */
    bool admitted;                              /* under the lock */
    struct sequence *next_live, *previous_live; /* under the lock */
    struct sequence *next_new;
};

struct engine {
    const struct model *model;
    const struct model_info *info;
    struct engine_options options;
    struct pool *pool;
    struct kvcache *kv;
    struct prefix *prefix;
    struct model_run *run;
    pthread_t thread;
    bool started;

    pthread_mutex_t lock; /* for what follows */
    pthread_cond_t wake;
    struct sequence *live;                 /* every sequence until its on_done */
    struct sequence *new_first, *new_last; /* submitted, not yet seen by the engine thread */
    bool cancel_pending, stopping;
    uint64_t next_id;
    struct engine_stats stats;

    struct engine_times times;

    /* the engine thread's own */
    struct scheduler scheduler;
    struct sequence **order; /* [sequences_max] running ones sorted by delta */
    int32_t *token, *position;
    float *input;
    struct kv_sequence **kv_of;
    const struct delta **delta_of;
    uint8_t *want;
    double token_us; /* what a prompt token costs */
};

/* ---- sequences ---- */

static void sequence_free(struct sequence *q)
{
    if (!q)
        return;
    sampler_fini(&q->sampler);
    delta_unref(q->request.delta);
    free((void *)q->request.tokens);
    free((void *)q->request.input);
    free(q);
}

static int check_tokens(const struct engine *g, const struct engine_request *r, struct err *e)
{
    int limit = g->stats.context_length;
    if (r->token_count == 0)
        return err_set(e, "prompt_empty", "the prompt has no tokens");
    if (r->token_count > (size_t)limit)
        return err_set(e, "prompt_too_long", "the prompt has %zu tokens, the context holds %d",
                       r->token_count, limit);
    for (size_t i = 0; i < r->token_count; i++)
        if (r->tokens[i] < 0 || r->tokens[i] >= g->info->vocab_size)
            return err_set(e, "token_out_of_range", "token %zu is %d; the model has ids from 0 to %d", i,
                           r->tokens[i], g->info->vocab_size - 1);
    return 0;
}

static int check_rows(const struct engine_request *r, struct err *e)
{
    if (r->input_rows == 0)
        return err_set(e, "prompt_empty", "the input has no rows");
    if (r->input_rows > INPUT_ROWS_MAX)
        return err_set(e, "prompt_too_long", "the input has %zu rows; at most %d are accepted", r->input_rows,
                       INPUT_ROWS_MAX);
    return 0;
}

/* Copy what belongs to the caller. New tokens are put behind those of the prompt. */
static int copy_request(struct engine *g, struct sequence *q, const struct engine_request *r, struct err *e)
{
    size_t numbers = r->input_rows * (size_t)g->info->input_size;
    int32_t *tokens = malloc((r->token_count + (size_t)q->new_tokens_max + 1) * sizeof *tokens);
    float *input = malloc((numbers + 1) * sizeof *input);
    q->request = *r;
    q->request.tokens = tokens;
    q->request.input = input;
    q->request.delta = delta_ref(r->delta);
    if (!tokens || !input)
        return err_memory(e);
    if (r->token_count)
        memcpy(tokens, r->tokens, r->token_count * sizeof *tokens);
    if (r->cache_root && !r->on_logits)
        q->s.tokens = tokens;
    if (q->s.tokens)
        memcpy(q->s.root.key, r->cache_root, SHA256_BYTES);
    if (numbers)
        memcpy(input, r->input, numbers * sizeof *input);
    return g->info->numeric ? 0 : sampler_init(&q->sampler, &r->sampling, g->info->vocab_size, e);
}

/* How long it may get. The last token's own keys and values are never needed. */
static void set_lengths(const struct engine *g, struct sequence *q, const struct engine_request *r)
{
    q->s.tenant = r->tenant;
    q->s.weight = r->weight > 0 ? r->weight : ENGINE_WEIGHT_DEFAULT;
    q->s.extra_cost = r->extra_cost;
    q->s.wants_all_logits = r->on_logits != NULL && !g->info->numeric;
    q->prompt_tokens = q->s.prompt_tokens = (int)(g->info->numeric ? r->input_rows : r->token_count);
    if (g->info->numeric)
        return;
    int room = g->stats.context_length - q->s.prompt_tokens + 1, wanted = r->sampling.max_tokens;
    q->new_tokens_max = wanted < 0 ? 0 : wanted < room ? wanted : room;
    q->s.reserve_tokens = q->s.prompt_tokens + (q->new_tokens_max > 0 ? q->new_tokens_max - 1 : 0);
}

static int sequence_new(struct engine *g, const struct engine_request *r, struct sequence **out,
                        struct err *e)
{
    if ((g->info->numeric ? check_rows(r, e) : check_tokens(g, r, e)) != 0)
        return -1;
    struct sequence *q = calloc(1, sizeof *q);
    if (!q)
        return err_memory(e);
    set_lengths(g, q, r);
    if (copy_request(g, q, r, e) != 0) {
        sequence_free(q);
        return -1;
    }
    q->submitted_us = clock_us();
    *out = q;
    return 0;
}

/* ---- the way in: any thread ---- */

static int check_queue_locked(const struct engine *g, uint32_t tenant, struct err *e)
{
    int waiting = 0, of_tenant = 0;
    for (const struct sequence *q = g->live; q; q = q->next_live)
        if (!q->admitted) {
            waiting++;
            of_tenant += q->s.tenant == tenant;
        }
    if (g->stopping)
        return err_set(e, "engine_stopped", "the engine is stopping");
    if (of_tenant >= g->options.queue_tenant_max)
        return err_set(e, "tenant_queue_full",
                       "%d requests of this tenant are waiting already; at most %d may", of_tenant,
                       g->options.queue_tenant_max);
    if (waiting >= g->options.queue_max)
        return err_set(e, "queue_full", "%d requests are waiting already; at most %d may", waiting,
                       g->options.queue_max);
    return 0;
}

static void enqueue_locked(struct engine *g, struct sequence *q)
{
    q->id = ++g->next_id;
    q->next_live = g->live;
    if (g->live)
        g->live->previous_live = q;
    g->live = q;
    if (g->new_last)
        g->new_last->next_new = q;
    else
        g->new_first = q;
    g->new_last = q;
}

int engine_submit(struct engine *g, const struct engine_request *r, uint64_t *id, struct err *e)
{
    struct sequence *q = NULL;
    if (sequence_new(g, r, &q, e) != 0)
        return -1;
    pthread_mutex_lock(&g->lock);
    int result = check_queue_locked(g, r->tenant, e);
    if (result == 0) {
        enqueue_locked(g, q);
        *id = q->id;
        pthread_cond_signal(&g->wake);
    }
    pthread_mutex_unlock(&g->lock);
    if (result != 0)
        sequence_free(q);
    return result;
}

void engine_cancel(struct engine *g, uint64_t id)
{
    pthread_mutex_lock(&g->lock);
    for (struct sequence *q = g->live; q; q = q->next_live)
        if (q->id == id) {
            atomic_store(&q->cancelled, true);
            g->cancel_pending = true;
            pthread_cond_signal(&g->wake);
        }
    pthread_mutex_unlock(&g->lock);
}

void engine_stats(struct engine *g, struct engine_stats *out)
{
    pthread_mutex_lock(&g->lock);
    *out = g->stats;
    out->running = out->waiting = 0;
    for (const struct sequence *q = g->live; q; q = q->next_live)
        *(q->admitted ? &out->running : &out->waiting) += 1;
    pthread_mutex_unlock(&g->lock);
}

const struct engine_times *engine_times(const struct engine *g)
{
    return &g->times;
}

int engine_waiting(struct engine *g, uint32_t tenant)
{
    int waiting = 0;
    pthread_mutex_lock(&g->lock);
    for (const struct sequence *q = g->live; q; q = q->next_live)
        waiting += !q->admitted && q->s.tenant == tenant;
    pthread_mutex_unlock(&g->lock);
    return waiting;
}

const struct model *engine_model(const struct engine *g)
{
    return g->model;
}

/* ---- the engine thread ---- */

static void note_pages_locked(struct engine *g)
{
    g->stats.kv_pages_free = g->kv ? kvcache_pages_free(g->kv) : 0;
    g->stats.kv_pages_cached = g->prefix ? prefix_pages(g->prefix) : 0;
}

/* Let others of the same root find the pages that are full by now. */
static void keep_prefix(struct engine *g, struct sequence *q)
{
    if (g->prefix && q->s.tokens)
        prefix_keep(g->prefix, &q->s.chain, q->request.tokens, q->s.kv.pages, q->s.computed / KV_PAGE_TOKENS);
}

static void finish(struct engine *g, struct sequence *q, enum engine_finish how)
{
    uint64_t now = clock_us();
    uint64_t admitted = q->admitted_us ? q->admitted_us : now,
             prefilled = q->prefilled_us ? q->prefilled_us : now;
    struct engine_done done = {.finish = how,
                               .queue_ms = (double)(admitted - q->submitted_us) / 1000.0,
                               .prefill_ms = (double)(prefilled - admitted) / 1000.0,
                               .decode_ms = (double)(now - prefilled) / 1000.0,
                               .cached_tokens = q->cached_tokens};
    keep_prefix(g, q);
    scheduler_remove(&g->scheduler, &q->s);
    pthread_mutex_lock(&g->lock);
    if (q->previous_live)
        q->previous_live->next_live = q->next_live;
    else
        g->live = q->next_live;
    if (q->next_live)
        q->next_live->previous_live = q->previous_live;
    note_pages_locked(g);
    pthread_mutex_unlock(&g->lock);
    q->request.on_done(q->request.arg, &done);
    sequence_free(q);
}

static bool is_end_token(const struct engine *g, const struct sequence *q, int32_t token)
{
    for (int i = 0; i < g->info->eos_count && !q->request.sampling.ignore_eos; i++)
        if (token == g->info->eos[i])
            return true;
    return false;
}

/* The next token from the logits behind the last one. The sequence may be gone afterwards. */
static void emit_token(struct engine *g, struct sequence *q, const float *logits)
{
    const struct sampling *how = &q->request.sampling;
    struct engine_token t = {.token = sampler_next(&q->sampler, how, logits, g->info->vocab_size)};
    if (is_end_token(g, q, t.token)) {
        finish(g, q, ENGINE_STOP);
        return;
    }
    if (how->logprobs >= 0)
        sampler_logprobs(how, logits, g->info->vocab_size, &t);
    ((int32_t *)q->request.tokens)[q->prompt_tokens + q->new_tokens] = t.token;
    q->new_tokens++;
    if (!q->request.on_token(q->request.arg, &t))
        finish(g, q, ENGINE_STOP);
    else if (q->new_tokens == q->new_tokens_max)
        finish(g, q, ENGINE_LENGTH);
}

/* Each row once, also of a sequence that began again. */
static void give_rows(struct sequence *q, int first, int count, const float *logits, size_t vocab)
{
    for (int i = 0; i < count; i++)
        if (first + i == q->rows_given) {
            q->request.on_logits(q->request.arg, (size_t)(first + i), logits + (size_t)i * vocab);
            q->rows_given++;
        }
}

/* Hand out the logits of one sequence's part of the step; returns the rows used. The sequence may be gone
 * afterwards. */
static int use_logits(struct engine *g, struct sequence *q, const float *logits)
{
    int first = q->s.computed, planned = q->s.planned, prompt = q->s.prompt_tokens;
    size_t vocab = (size_t)g->info->vocab_size;
    bool prefill = first < prompt, prefilled = prefill && first + planned == prompt;
    bool every_row = prefill && (q->s.wants_all_logits || g->info->numeric);
    int rows = every_row ? planned : !prefill || prefilled ? 1 : 0;
    q->s.computed += planned;
    if (every_row && q->request.on_logits)
        give_rows(q, first, planned, logits, vocab);
    if (prefilled) {
        if (!q->prefilled_us)
            q->prefilled_us = clock_us();
        keep_prefix(g, q);
    }
    if (prefilled && q->new_tokens_max == 0)
        finish(g, q, g->info->numeric ? ENGINE_STOP : ENGINE_LENGTH);
    else if (!prefill || prefilled)
        emit_token(g, q, logits + (size_t)(rows - 1) * vocab);
    return rows;
}

static int by_delta(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)(*(struct sequence *const *)a)->request.delta;
    uintptr_t y = (uintptr_t)(*(struct sequence *const *)b)->request.delta;
    return (x > y) - (x < y);
}

static int order_running(struct engine *g)
{
    int count = 0;
    for (struct schedulable *s = g->scheduler.first; s; s = s->next)
        if (s->planned > 0)
            g->order[count++] = (struct sequence *)s;
    qsort(g->order, (size_t)count, sizeof *g->order, by_delta);
    return count;
}

static void put_token(struct engine *g, struct sequence *q, int at, int place)
{
    int prompt = q->s.prompt_tokens, columns = g->info->input_size;
    bool last_of_prompt = place == prompt - 1;
    g->position[at] = place;
    g->kv_of[at] = &q->s.kv;
    g->delta_of[at] = q->request.delta;
    g->want[at] = q->s.wants_all_logits || g->info->numeric || place >= prompt || last_of_prompt;
    if (g->info->numeric)
        memcpy(g->input + (size_t)at * (size_t)columns, q->request.input + (size_t)place * (size_t)columns,
               (size_t)columns * sizeof *g->input);
    else
        g->token[at] = q->request.tokens[place];
}

/* Prompt tokens that may go with decodes in one step, so that a step takes about STEP_US_MAX. */
static int prefill_budget(const struct engine *g)
{
    double tokens = g->token_us > 0 ? STEP_US_MAX / g->token_us : g->options.chunk_tokens;
    return tokens < PREFILL_TOKENS_MIN ? PREFILL_TOKENS_MIN : tokens < INT_MAX ? (int)tokens : INT_MAX;
}

/* A running mean of what a prompt token costs; steps of few tokens say little. */
static void note_speed(struct engine *g, int prompt_tokens, uint64_t us)
{
    if (prompt_tokens >= PREFILL_TOKENS_MIN) {
        double cost = (double)us / prompt_tokens;
        g->token_us = g->token_us > 0 ? 0.75 * g->token_us + 0.25 * cost : cost;
    }
}

/* Threads meet dozens of times in a step. Where the step is short that takes longer than it saves, and on a
 * busy machine, where the others must wait for a core, much longer. */
static bool is_small(const struct engine *g, int tokens)
{
    return !g->options.share_all && g->info->parameters * tokens <= ALONE_PRODUCTS;
}

static void step(struct engine *g)
{
    int planned = scheduler_plan(&g->scheduler, prefill_budget(g)), count = order_running(g), at = 0,
        decoded = 0;
    if (planned == 0)
        return;
    for (int i = 0; i < count; i++) {
        struct sequence *q = g->order[i];
        decoded += q->s.computed >= q->s.prompt_tokens;
        for (int k = 0; k < q->s.planned; k++)
            put_token(g, q, at++, q->s.computed + k);
    }
    struct batch batch = {.count = at,
                          .token = g->token,
                          .input = g->input,
                          .position = g->position,
                          .sequence = g->kv_of,
                          .delta = g->delta_of,
                          .want_logits = g->want,
                          .alone = is_small(g, at)};
    uint64_t before = clock_us();
    const float *logits = model_step(g->run, &batch);
    uint64_t us = clock_us() - before;
    note_speed(g, at - decoded, us);
    histogram_add(&g->times.step_us, &histogram_times, us);
    histogram_add(&g->times.step_tokens, &histogram_counts, (uint64_t)at);
    histogram_add(&g->times.step_sequences, &histogram_counts, (uint64_t)count);
    pthread_mutex_lock(&g->lock); /* before the callbacks: who is done finds itself counted */
    g->stats.steps++;
    g->stats.tokens_decode += (uint64_t)decoded;
    g->stats.tokens_prefill += (uint64_t)(at - decoded);
    pthread_mutex_unlock(&g->lock);
    for (int i = 0; i < count; i++)
        logits += (size_t)use_logits(g, g->order[i], logits) * (size_t)g->info->vocab_size;
}

static void note_admitted(struct engine *g, struct sequence *q)
{
    bool first = !q->admitted_us;
    if (first) {
        q->admitted_us = clock_us();
        q->cached_tokens = q->s.shared_tokens;
    }
    pthread_mutex_lock(&g->lock);
    q->admitted = true;
    g->stats.tokens_cached += first ? (uint64_t)q->s.shared_tokens : 0;
    note_pages_locked(g);
    pthread_mutex_unlock(&g->lock);
}

/* It goes on later behind the tokens that it has now, as if they were its prompt. */
static void put_back(struct engine *g, struct sequence *q)
{
    keep_prefix(g, q);
    q->s.prompt_tokens = q->prompt_tokens + q->new_tokens;
    q->s.wants_all_logits = q->s.wants_all_logits && q->rows_given < q->prompt_tokens;
    scheduler_put_back(&g->scheduler, &q->s);
    pthread_mutex_lock(&g->lock);
    q->admitted = false;
    g->stats.preemptions++;
    note_pages_locked(g);
    pthread_mutex_unlock(&g->lock);
}

static void admit_all(struct engine *g)
{
    for (struct schedulable *s; g->scheduler.waiting > 0;) {
        if ((s = scheduler_admit(&g->scheduler)))
            note_admitted(g, (struct sequence *)s);
        else if ((s = scheduler_overserved(&g->scheduler)))
            put_back(g, (struct sequence *)s);
        else
            return;
    }
}

/* Finish every sequence that was cancelled, or all of them. One that was submitted since wait_for_work looked
 * is not ours yet: its turn comes with the next round. */
static void cancel_marked(struct engine *g, bool all)
{
    for (;;) {
        struct sequence *found = NULL;
        pthread_mutex_lock(&g->lock);
        for (struct sequence *q = g->live; q && !found; q = q->next_live)
            if (q->taken && (all || atomic_load(&q->cancelled)))
                found = q;
        pthread_mutex_unlock(&g->lock);
        if (!found)
            return;
        finish(g, found, ENGINE_CANCELLED);
    }
}

/* Sleep until there is something to do. Takes what was submitted; false when the engine is to stop. */
static bool wait_for_work(struct engine *g, struct sequence **submitted, bool *cancelled)
{
    pthread_mutex_lock(&g->lock);
    while (!g->stopping && !g->new_first && !g->cancel_pending && !g->scheduler.running &&
           !g->scheduler.waiting)
        pthread_cond_wait(&g->wake, &g->lock);
    *submitted = g->new_first;
    *cancelled = g->cancel_pending;
    g->new_first = g->new_last = NULL;
    g->cancel_pending = false;
    bool stopping = g->stopping;
    pthread_mutex_unlock(&g->lock);
    return !stopping;
}

static void *engine_main(void *arg)
{
    struct engine *g = arg;
    for (bool go_on = true; go_on;) {
        struct sequence *submitted, *next;
        bool cancelled;
        go_on = wait_for_work(g, &submitted, &cancelled);
        for (struct sequence *q = submitted; q; q = next) {
            next = q->next_new;
            q->taken = true;
            if (scheduler_add(&g->scheduler, &q->s) != 0)
                finish(g, q, ENGINE_FAILED);
        }
        if (cancelled || !go_on)
            cancel_marked(g, !go_on);
        admit_all(g);
        step(g);
    }
    return NULL;
}

/* ---- life ---- */

static int allocate_batch(struct engine *g, struct err *e)
{
    size_t tokens = (size_t)g->options.step_tokens;
    g->order = calloc((size_t)g->options.sequences_max, sizeof *g->order);
    g->token = calloc(tokens, sizeof *g->token);
    g->position = calloc(tokens, sizeof *g->position);
    g->input = calloc(tokens * (size_t)g->info->input_size + 1, sizeof *g->input);
    g->kv_of = calloc(tokens, sizeof *g->kv_of);
    g->delta_of = calloc(tokens, sizeof *g->delta_of);
    g->want = calloc(tokens, sizeof *g->want);
    bool all = g->order && g->token && g->position && g->input && g->kv_of && g->delta_of && g->want;
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
                                      .logit_rows = o->sequences_max + LOGIT_ROWS_MORE};
    if (pool_new(&g->pool, o->threads, e) != 0 || prepare_kv(g, e) != 0 || allocate_batch(g, e) != 0 ||
        model_run_new(&g->run, g->model, g->pool, g->kv, o->step_tokens, limits.logit_rows, e) != 0)
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
    model_run_free(g->run);
    pool_free(g->pool);
    prefix_free(g->prefix);
    kvcache_free(g->kv);
    free(g->order);
    free(g->token);
    free(g->position);
    free(g->input);
    free(g->kv_of);
    free(g->delta_of);
    free(g->want);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->wake);
    free(g);
}
