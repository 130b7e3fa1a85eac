/* The engine thread: takes what was submitted, admits, steps, hands out tokens. Owns the scheduler, the KV
 * pages and every sequence that it has taken. */
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/system/clock.h"
#include "core/system/gate.h"
#include "core/engine/constraint.h"
#include "core/engine/engine_private.h"
#include "core/engine/logprobs.h"

enum {
    STEP_US_MAX = 100000, /* of a step that decodes for somebody */
    PREFILL_TOKENS_MIN = 16,
    ALONE_PRODUCTS = 1 << 25 /* tokens by weights that one core multiplies in about a millisecond */
};

/* ---- the end of a sequence ---- */

static void note_pages_locked(struct engine *g)
{
    g->stats.kv_pages_free = g->kv ? kvcache_pages_free(g->kv) : 0;
    g->stats.kv_pages_held = g->kv ? kvcache_pages_held(g->kv) : 0;
    g->stats.kv_pages_cached = g->prefix ? prefix_pages(g->prefix) : 0;
}

/* Let others of the same root find the pages that are full by now. */
static void keep_prefix(struct engine *g, struct sequence *q)
{
    if (g->prefix && q->s.tokens)
        prefix_keep(g->prefix, &q->s.chain, q->request.tokens, q->s.kv.pages, q->s.computed / KV_PAGE_TOKENS);
}

static void finish(struct engine *g, struct sequence *q, enum engine_finish how);

/* The sequence may be gone afterwards. */
static void start(struct engine *g, struct sequence *q)
{
    assert(q->taken && !q->follows);
    if (scheduler_add(&g->scheduler, &q->s) != 0)
        finish(g, q, ENGINE_FAILED);
}

/* Its prompt is computed: those that wait for it begin where it ended. */
static void release_followers(struct engine *g, struct sequence *q)
{
    for (struct sequence *f; (f = TAILQ_FIRST(&q->followers));) {
        TAILQ_REMOVE(&q->followers, f, follower);
        f->follows = NULL;
        start(g, f);
    }
}

/* It ends before its prompt was computed: the first of those that wait for it takes its place. */
static void replace_leader(struct engine *g, struct sequence *q)
{
    struct sequence *heir = TAILQ_FIRST(&q->followers), *f;
    if (!heir)
        return;
    TAILQ_REMOVE(&q->followers, heir, follower);
    heir->follows = NULL;
    TAILQ_FOREACH(f, &q->followers, follower)
        f->follows = heir;
    TAILQ_CONCAT(&heir->followers, &q->followers, follower);
    start(g, heir);
}

/* Out of whatever it is in but `live`. */
static void leave(struct engine *g, struct sequence *q)
{
    keep_prefix(g, q);
    scheduler_remove(&g->scheduler, &q->s);
    if (q->follows)
        TAILQ_REMOVE(&q->follows->followers, q, follower);
    else
        replace_leader(g, q);
}

static void end(struct engine *g, struct sequence *q, enum engine_finish how, const struct err *error)
{
    uint64_t now = clock_us();
    uint64_t admitted = q->admitted_us ? q->admitted_us : now,
             prefilled = q->prefilled_us ? q->prefilled_us : now;
    struct engine_done done = {.finish = how,
                               .queue_ms = (double)(admitted - q->submitted_us) / 1000.0,
                               .prefill_ms = (double)(prefilled - admitted) / 1000.0,
                               .decode_ms = (double)(now - prefilled) / 1000.0,
                               .cached_tokens = q->cached_tokens,
                               .error = error};
    leave(g, q);
    pthread_mutex_lock(&g->lock);
    LIST_REMOVE(q, live);
    note_pages_locked(g);
    pthread_mutex_unlock(&g->lock);
    q->request.on_done(q->request.arg, &done);
    sequence_free(q);
}

static void finish(struct engine *g, struct sequence *q, enum engine_finish how)
{
    end(g, q, how, NULL);
}

static void fail(struct engine *g, struct sequence *q, const struct err *e)
{
    end(g, q, ENGINE_FAILED, e);
}

/* ---- tokens ---- */

static bool is_end_token(const struct sequence *q, int32_t token)
{
    for (int i = 0; i < q->end_count; i++)
        if (token == q->ends[i])
            return true;
    return false;
}

/* What is allowed to come: false where nothing is, and the sequence is gone. */
static bool ask_constraint(struct engine *g, struct sequence *q, struct constraint_mask *mask)
{
    struct constraint *c = q->request.sampling.constraint;
    struct err e;
    if (!c)
        return true;
    if (c->mask(c, mask, &e) != 0)
        fail(g, q, &e);
    else if (mask->ends_only)
        finish(g, q, ENGINE_STOP);
    else
        return true;
    return false;
}

/* False: the token does not fit after all, and the sequence is gone. */
static bool tell_constraint(struct engine *g, struct sequence *q, int32_t token)
{
    struct constraint *c = q->request.sampling.constraint;
    struct err e;
    if (!c || c->accept(c, token, &e) == 0)
        return true;
    fail(g, q, &e);
    return false;
}

static int32_t choose_token(struct engine *g, struct sequence *q, const float *logits,
                            const uint64_t *allowed)
{
    const struct processors_history history = {.tokens = q->request.tokens,
                                               .prompt = q->prompt_tokens,
                                               .answered = q->new_tokens,
                                               .ends = q->ends,
                                               .end_count = q->end_count,
                                               .allowed = allowed};
    g->scratch.vocab_size = q->vocab;
    return sampler_next(&q->sampler, &g->scratch, &q->request.sampling, &history, logits);
}

/* Bans and a constraint together may leave no token at all. */
static void fail_without_token(struct engine *g, struct sequence *q)
{
    struct err e;
    (void)err_set(&e, "tokens_banned", "no token is left: all that may come here are banned");
    fail(g, q, &e);
}

/* These logits of the step with those of the tokens that the sequence's delta adds, valid until the next
 * call. */
static const float *whole_logits(struct engine *g, const struct sequence *q, const float *logits)
{
    size_t vocab = (size_t)g->info->vocab_size;
    if ((size_t)q->vocab <= vocab)
        return logits;
    size_t row = (size_t)(logits - forward_logits(g->forward)) / vocab;
    memcpy(g->logits, logits, vocab * sizeof *logits);
    memcpy(g->logits + vocab, forward_more(g->forward) + row * DELTA_TOKENS_MAX,
           ((size_t)q->vocab - vocab) * sizeof *logits);
    return g->logits;
}

/* The next token from the logits behind the last one. False: the sequence is gone. */
static bool emit_token(struct engine *g, struct sequence *q, const float *logits)
{
    const struct sampling *how = &q->request.sampling;
    struct constraint_mask mask = {0};
    logits = whole_logits(g, q, logits);
    if (!ask_constraint(g, q, &mask))
        return false;
    struct engine_token t = {.token = choose_token(g, q, logits, mask.bits)};
    if (t.token < 0) {
        fail_without_token(g, q);
        return false;
    }
    if (is_end_token(q, t.token)) {
        finish(g, q, ENGINE_STOP);
        return false;
    }
    if (!tell_constraint(g, q, t.token))
        return false;
    if (how->logprobs >= 0)
        logprobs_fill(logits, q->vocab, how->logprobs, &t);
    ((int32_t *)q->request.tokens)[q->prompt_tokens + q->new_tokens] = t.token;
    q->new_tokens++;
    if (!q->request.on_token(q->request.arg, &t))
        finish(g, q, ENGINE_STOP);
    else if (q->new_tokens == q->new_tokens_max)
        finish(g, q, ENGINE_LENGTH);
    else
        return true;
    return false;
}

static void count_accepted(struct engine *g)
{
    pthread_mutex_lock(&g->lock);
    g->stats.tokens_decode++;
    g->stats.tokens_draft_accepted++;
    pthread_mutex_unlock(&g->lock);
}

/* The token behind the last one, then those behind each token of the guess, as long as that one was what came
 * before it. What was computed behind a wrong one is written over. */
static void emit_decoded(struct engine *g, struct sequence *q, const float *logits)
{
    for (int i = 0; i <= q->guessed; i++, logits += g->info->vocab_size) {
        int next = q->prompt_tokens + q->new_tokens;
        int32_t guess = q->request.tokens[next];
        if (i > 0)
            count_accepted(g);
        q->s.computed++;
        if (!emit_token(g, q, logits))
            return;
        if (i == q->guessed || q->request.tokens[next] != guess) {
            engine_draft_learn(q, i);
            return;
        }
    }
}

/* Each row once, also of a sequence that began again. */
static void give_rows(struct engine *g, struct sequence *q, int first, int count, const float *logits)
{
    for (int i = 0; i < count; i++)
        if (first + i == q->rows_given) {
            const float *row = whole_logits(g, q, logits + (size_t)i * (size_t)g->info->vocab_size);
            q->request.on_logits(q->request.arg, (size_t)(first + i), row);
            q->rows_given++;
        }
}

/* The same of what stands behind the final norm; `at`: the place of its first token in the step. */
static void give_states(const struct engine *g, struct sequence *q, int first, int count, int at)
{
    bool all = q->request.states == ENGINE_STATES_ALL;
    for (int i = all ? 0 : count - 1; i < count; i++)
        if (!all || first + i == q->rows_given) {
            q->request.on_state(q->request.arg, (size_t)(first + i), forward_state(g->forward, at + i));
            q->rows_given = first + i + 1;
        }
}

/* Hand out what one sequence's part of the step gave, whose first token is at `at` and whose first logits are
 * these; returns the rows of logits used. The sequence may be gone afterwards. */
static int use_step(struct engine *g, struct sequence *q, int at, const float *logits)
{
    int first = q->s.computed, planned = q->s.planned, prompt = q->s.prompt_tokens;
    size_t vocab = (size_t)g->info->vocab_size;
    bool prefill = first < prompt, prefilled = prefill && first + planned == prompt;
    bool every_row = prefill && (q->s.wants_all_logits || g->info->numeric);
    bool reads = q->request.states != ENGINE_STATES_NONE;
    int rows = every_row ? planned : !reads && (!prefill || prefilled) ? 1 : 0;
    if (!prefill) {
        emit_decoded(g, q, logits);
        return planned;
    }
    q->s.computed += planned;
    if (q->request.on_state && (prefilled || q->request.states == ENGINE_STATES_ALL))
        give_states(g, q, first, planned, at);
    if (every_row && q->request.on_logits)
        give_rows(g, q, first, planned, logits);
    if (prefilled) {
        if (!q->prefilled_us)
            q->prefilled_us = clock_us();
        keep_prefix(g, q);
        release_followers(g, q);
    }
    if (prefilled && q->new_tokens_max == 0)
        finish(g, q, g->info->numeric ? ENGINE_STOP : ENGINE_LENGTH);
    else if (prefilled)
        emit_token(g, q, logits + (size_t)(rows - 1) * vocab);
    return rows;
}

/* ---- a step ---- */

static int by_delta(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t)(*(struct sequence *const *)a)->request.delta;
    uintptr_t y = (uintptr_t)(*(struct sequence *const *)b)->request.delta;
    return (x > y) - (x < y);
}

static int order_running(struct engine *g)
{
    int count = 0;
    struct schedulable *s;
    TAILQ_FOREACH(s, &g->scheduler.admitted, link)
        if (s->planned > 0)
            g->order[count++] = (struct sequence *)s;
    qsort(g->order, (size_t)count, sizeof *g->order, by_delta);
    return count;
}

static int decoding(const struct engine *g, int count)
{
    int decoding = 0;
    for (int i = 0; i < count; i++)
        decoding += g->order[i]->s.computed >= g->order[i]->s.prompt_tokens;
    return decoding;
}

static void put_token(struct engine *g, struct sequence *q, int at, int place)
{
    int prompt = q->s.prompt_tokens, columns = g->info->input_size;
    bool last_of_prompt = place == prompt - 1;
    g->position[at] = place;
    g->length[at] = sequence_length(g, q, place);
    g->kv_of[at] = &q->s.kv;
    g->delta_of[at] = q->request.delta;
    enum engine_states states = q->request.states;
    g->want[at] = !states && (q->s.wants_all_logits || g->info->numeric || place >= prompt || last_of_prompt);
    float *scores = q->request.scores;
    g->scores[at] =
        scores && states == ENGINE_STATES_ALL ? scores + (size_t)place * (size_t)q->labels : scores;
    g->want_state[at] = states == ENGINE_STATES_ALL || (states == ENGINE_STATES_LAST && last_of_prompt);
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

/* What is left of training's loan passes, then the machine is the step's alone. */
static void take_machine(struct engine *g)
{
    if (!g->options.gate)
        return;
    uint64_t left = lending_left(&g->lending, clock_us());
    if (left)
        usleep((useconds_t)left);
    gate_shut(g->options.gate);
}

static void lend_machine(struct engine *g, uint64_t step_us)
{
    if (!g->options.gate)
        return;
    lending_note(&g->lending, clock_us(), step_us, gate_is_wanted(g->options.gate));
    gate_open(g->options.gate);
}

/* What came of the step, to those who were in it. */
static void use_all(struct engine *g, int count, const float *logits)
{
    for (int i = 0, at = 0; i < count; i++) {
        int planned = g->order[i]->s.planned;
        logits += (size_t)use_step(g, g->order[i], at, logits) * (size_t)g->info->vocab_size;
        at += planned;
    }
}

static void step(struct engine *g)
{
    int planned = scheduler_plan(&g->scheduler, prefill_budget(g)), count = order_running(g), at = 0;
    if (planned == 0)
        return;
    int decoded = decoding(g, count),
        drafted = planned == decoded ? engine_draft(g, count, g->options.step_tokens - planned) : 0;
    for (int i = 0; i < count; i++) {
        struct sequence *q = g->order[i];
        for (int k = 0; k < q->s.planned; k++)
            put_token(g, q, at++, q->s.computed + k);
    }
    struct batch batch = {.count = at,
                          .token = g->token,
                          .input = g->input,
                          .position = g->position,
                          .length = g->length,
                          .sequence = g->kv_of,
                          .delta = g->delta_of,
                          .want_logits = g->want,
                          .want_state = g->want_state,
                          .scores = g->scores,
                          .alone = is_small(g, at)};
    take_machine(g);
    uint64_t before = clock_us();
    const float *logits = forward_step(g->forward, &batch);
    uint64_t us = clock_us() - before;
    lend_machine(g, us);
    if (planned == decoded)
        worth_note(&g->step_cost, at, (double)us);
    else
        note_speed(g, planned - decoded, us);
    histogram_add(&g->times.step_us, &histogram_times, us);
    histogram_add(&g->times.step_tokens, &histogram_counts, (uint64_t)at);
    histogram_add(&g->times.step_sequences, &histogram_counts, (uint64_t)count);
    pthread_mutex_lock(&g->lock); /* before the callbacks: who is done finds itself counted */
    g->stats.steps++;
    g->stats.tokens_decode += (uint64_t)decoded;
    g->stats.tokens_prefill += (uint64_t)(planned - decoded);
    g->stats.tokens_drafted += (uint64_t)drafted;
    pthread_mutex_unlock(&g->lock);
    use_all(g, count, logits);
}

/* ---- who runs ---- */

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
    note_pages_locked(g);
    pthread_mutex_unlock(&g->lock);
}

static void preempt(struct engine *g, struct sequence *q)
{
    put_back(g, q);
    pthread_mutex_lock(&g->lock);
    g->stats.preemptions++;
    pthread_mutex_unlock(&g->lock);
}

/* Those whose next token makes them so long that what was computed of them is no longer theirs. */
static void begin_stretched_again(struct engine *g)
{
    struct schedulable *s = TAILQ_FIRST(&g->scheduler.admitted), *next;
    for (; g->info->stretched_whole && s; s = next) {
        struct sequence *q = (struct sequence *)s;
        next = TAILQ_NEXT(s, link);
        if (!sequence_outgrows(g, q))
            continue;
        put_back(g, q);
        sequence_stretch(g, q);
    }
}

static void admit_all(struct engine *g)
{
    for (struct schedulable *s; g->scheduler.waiting > 0;) {
        if ((s = scheduler_admit(&g->scheduler)))
            note_admitted(g, (struct sequence *)s);
        else if ((s = scheduler_overserved(&g->scheduler)))
            preempt(g, (struct sequence *)s);
        else
            return;
    }
}

/* Finish every sequence that was cancelled, or all of them. One that was submitted since wait_for_work looked
 * is not ours yet: its turn comes with the next round. */
static void cancel_marked(struct engine *g, bool all)
{
    for (;;) {
        struct sequence *found = NULL, *q;
        pthread_mutex_lock(&g->lock);
        LIST_FOREACH(q, &g->live, live)
            if (!found && q->taken && (all || atomic_load(&q->cancelled)))
                found = q;
        pthread_mutex_unlock(&g->lock);
        if (!found)
            return;
        finish(g, found, ENGINE_CANCELLED);
    }
}

/* ---- the thread ---- */

/* Sleep until there is something to do. Takes what was submitted; false when the engine is to stop. */
static bool wait_for_work(struct engine *g, struct submitted *new, bool *cancelled)
{
    pthread_mutex_lock(&g->lock);
    while (!g->stopping && STAILQ_EMPTY(&g->submitted) && !g->cancel_pending && !g->scheduler.running &&
           !g->scheduler.waiting)
        pthread_cond_wait(&g->wake, &g->lock);
    STAILQ_CONCAT(new, &g->submitted);
    *cancelled = g->cancel_pending;
    g->cancel_pending = false;
    bool stopping = g->stopping;
    pthread_mutex_unlock(&g->lock);
    return !stopping;
}

static void take_all(struct engine *g, struct submitted *new)
{
    for (struct sequence *q; (q = STAILQ_FIRST(new));) {
        struct sequence *f;
        STAILQ_REMOVE_HEAD(new, submitted);
        q->taken = true;
        TAILQ_FOREACH(f, &q->followers, follower)
            f->taken = true;
        start(g, q);
    }
}

void *engine_main(void *arg)
{
    struct engine *g = arg;
    for (bool go_on = true; go_on;) {
        struct submitted new = STAILQ_HEAD_INITIALIZER(new);
        bool cancelled;
        go_on = wait_for_work(g, &new, &cancelled);
        take_all(g, &new);
        if (cancelled || !go_on)
            cancel_marked(g, !go_on);
        begin_stretched_again(g);
        admit_all(g);
        step(g);
    }
    return NULL;
}
