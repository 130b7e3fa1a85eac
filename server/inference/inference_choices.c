/* The runs of the model that a request has under way: one for each answer to each prompt. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/delta/delta.h"
#include "core/engine/logprobs.h"
#include "core/system/clock.h"
#include "server/accounting/activity.h"
#include "server/admission/limits.h"
#include "server/inference/inference.h"

/* ---- sums ---- */

int64_t inference_prompt_tokens(const struct inference *q)
{
    int64_t sum = 0;
    for (int i = 0; i < q->prompt_count; i++)
        sum += (int64_t)q->prompts[i].tokens.count;
    return sum;
}

int64_t inference_answer_tokens(const struct inference *q)
{
    int64_t sum = 0;
    for (int i = 0; i < q->choice_count; i++)
        sum += (int64_t)q->choices[i].output.token_count;
    return sum;
}

/* Further answers to a prompt find it computed by the first: that is no merit of earlier requests. */
int64_t inference_cached_tokens(const struct inference *q)
{
    int64_t sum = 0;
    for (int i = 0; i < q->choice_count; i += q->choices_each)
        sum += q->choices[i].result.cached_tokens;
    return sum;
}

const struct inference_choice *inference_failed(const struct inference *q)
{
    for (int i = 0; i < q->choice_count; i++)
        if (q->choices[i].failed)
            return &q->choices[i];
    return NULL;
}

bool inference_choice_has_news(const struct inference_choice *c)
{
    return c->output.text_ready > c->sent_text ||
           (!c->q->text_only && c->output.tokens_ready > c->sent_tokens);
}

/* ---- the engine's events, on its thread ---- */

static void time_token(struct inference_choice *c)
{
    struct request *r = c->q->r;
    struct counters *counters = &r->server->counters;
    uint64_t now = clock_us();
    uint64_t us = c->token_us ? now - c->token_us : (uint64_t)(1000 * (clock_ms() - r->began_ms));
    histogram_add(c->token_us ? &counters->next_token_us : &counters->first_token_us, &histogram_times, us);
    if (c->token_us)
        activity_next_token(r->held.activity, us);
    else
        activity_first_token(r->held.activity, us);
    c->token_us = now;
}

static bool on_token(void *arg, const struct engine_token *t)
{
    struct inference_choice *c = arg;
    struct request *r = c->q->r;
    bool more = false;
    time_token(c);
    pthread_mutex_lock(&r->lock);
    c->failed = output_push(&c->output, t, &more, &c->error) != 0;
    bool news = c->q->streaming && inference_choice_has_news(c);
    pthread_mutex_unlock(&r->lock);
    if (news)
        request_wake(r);
    return more && !c->failed;
}

/* What was expected of the prompt's next token. */
static void on_prompt_logits(void *arg, size_t row, const float *logits)
{
    const struct inference_choice *c = arg;
    const struct inference_prompt *p = c->prompt;
    int vocab_size = c->q->vocab_size;
    if (row + 1 >= p->tokens.count)
        return;
    int32_t next = p->tokens.ids[row + 1];
    if (p->top) {
        p->top[row + 1].token = next;
        logprobs_fill(logits, vocab_size, c->q->sampling.logprobs, &p->top[row + 1]);
    } else {
        p->logprob[row + 1] = logprobs_of(logits, vocab_size, next);
    }
}

static void on_output_row(void *arg, size_t row, const float *values)
{
    struct inference *q = ((struct inference_choice *)arg)->q;
    size_t size = (size_t)q->vocab_size;
    memcpy(q->numeric + row * size, values, size * sizeof *values);
}

/* ---- the end ---- */

/* Of the prompts, as far as they were computed at all; a row of a numeric model counts as one. */
static int64_t tokens_in(const struct inference *q)
{
    int64_t sum = 0;
    for (int i = 0; i < q->choice_count; i += q->choices_each) {
        const struct inference_choice *c = &q->choices[i];
        bool computed =
            c->result.finish == ENGINE_STOP || c->result.finish == ENGINE_LENGTH || c->result.prefill_ms > 0;
        if (computed)
            sum += (int64_t)(c->prompt ? c->prompt->tokens.count : q->row_count);
    }
    return sum;
}

/* What the answer says in its usage. */
static void count(const struct inference *q)
{
    int64_t tokens[USAGE_KINDS] = {[USAGE_PROMPT_TOKENS] = tokens_in(q),
                                   [USAGE_COMPLETION_TOKENS] = inference_answer_tokens(q),
                                   [USAGE_CACHED_TOKENS] = inference_cached_tokens(q)};
    limits_settle(q->r, tokens[USAGE_PROMPT_TOKENS] + tokens[USAGE_COMPLETION_TOKENS]);
    limits_count(q->r, tokens, inference_failed(q) != NULL);
}

static void count_run(const struct inference_choice *c)
{
    struct counters *counters = &c->q->r->server->counters;
    histogram_add(&counters->queue_us, &histogram_times, (uint64_t)(1000 * c->result.queue_ms));
    counters_add(&counters->runs[c->failed ? ENGINE_FAILED : c->result.finish], 1);
}

static bool numeric_finite(const struct inference *q)
{
    size_t count = q->row_count * (size_t)q->vocab_size;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(q->numeric[i]))
            return false;
    return true;
}

static void note_failure(struct inference_choice *c)
{
    c->failed = true;
    if (c->result.error)
        c->error = *c->result.error;
    else
        err_memory(&c->error);
    c->result.error = NULL; /* the engine's */
}

/* Runs can end without an answer, and end well and have no good one. */
static void check_result(struct inference_choice *c)
{
    const struct inference *q = c->q;
    if (c->failed)
        return;
    if (c->result.finish == ENGINE_FAILED)
        note_failure(c);
    else if (q->numeric && c->result.finish != ENGINE_CANCELLED && !numeric_finite(q))
        c->failed =
            err_set(&c->error, "output_not_finite", "an output for this input is not a finite number") != 0;
    else
        c->failed = output_finish(&c->output, &c->error) != 0;
}

/* Those that the engine has not yet will not be run. */
static void drop_unfed_locked(struct inference *q)
{
    for (; q->fed < q->choice_count; q->fed++, q->running--) {
        q->choices[q->fed].done = true;
        q->choices[q->fed].result.finish = ENGINE_CANCELLED;
    }
}

static void feed(struct inference *q);

/* All runs are over; the request may be gone afterwards. */
static void end(struct inference *q)
{
    count(q);
    delta_unref(q->fed_delta); /* adapters may go, however slowly the answer is read */
    q->fed_delta = NULL;
}

static void on_done(void *arg, const struct engine_done *d)
{
    struct inference_choice *c = arg;
    struct inference *q = c->q;
    struct request *r = q->r;
    pthread_mutex_lock(&r->lock);
    c->done = true;
    c->result = *d;
    check_result(c);
    if (c->output.cut)
        c->result.finish = ENGINE_STOP;
    q->running--;
    if (c->failed || r->waits.cancelled)
        drop_unfed_locked(q);
    bool failed = c->failed, last = q->running == 0;
    bool awaited = q->stream ? q->streaming : last;
    pthread_mutex_unlock(&r->lock);
    count_run(c);
    if (failed && !last) /* nobody will see the others */
        inference_choices_cancel(q);
    if (!last) {
        feed(q);
        return;
    }
    end(q);
    if (awaited)
        request_wake(r);
    request_unref(r);
}

/* ---- before ---- */

static int prepare_prompt(struct inference *q, struct inference_prompt *p, struct err *e)
{
    if (!q->prompt_logprobs || p->tokens.count == 0)
        return 0;
    if (q->openai.echo)
        p->top = calloc(p->tokens.count, sizeof *p->top);
    else
        p->logprob = calloc(p->tokens.count, sizeof *p->logprob);
    return p->top || p->logprob ? 0 : err_memory(e);
}

/* Did the prompt end in ordinary text? */
static bool is_continued(const struct inference *q, const struct inference_prompt *p)
{
    for (size_t i = 0; i < p->tokens.count; i++)
        if (!tokenizer_is_special(q->tokenizer, p->tokens.ids[i]))
            return true;
    return false;
}

static void prepare_choice(struct inference *q, int index)
{
    struct inference_choice *c = &q->choices[index];
    *c = (struct inference_choice){.q = q, .index = index};
    c->prompt = q->prompt_count ? &q->prompts[index / q->choices_each] : NULL;
    c->seed = (q->sampling.seed + (uint64_t)(index % q->choices_each)) & INFERENCE_SEED_MAX;
    output_init(&c->output, q->tokenizer,
                &(struct output_options){.stops = &q->stops,
                                         .least_tokens = q->sampling.min_tokens,
                                         .continued = c->prompt && is_continued(q, c->prompt),
                                         .show_special = q->show_special,
                                         .find_special = q->stops_special && !q->show_special,
                                         .want_logprobs = q->sampling.logprobs >= 0,
                                         .marks = q->reading.marks,
                                         .mark_count = q->reading.mark_count});
    answer_reader_init(&c->reader, &q->reading.form);
}

int inference_choices_prepare(struct inference *q, struct delta *delta, struct err *e)
{
    const struct model_info *info = q->r->server->info;
    int count = q->prompt_count ? q->prompt_count * q->choices_each : 1;
    q->fed_delta = delta_ref(delta);
    for (int i = 0; i < q->prompt_count; i++)
        if (prepare_prompt(q, &q->prompts[i], e) != 0)
            return -1;
    q->choices = calloc((size_t)count, sizeof *q->choices);
    if (info->numeric)
        q->numeric = calloc(q->row_count * (size_t)info->vocab_size, sizeof *q->numeric);
    if (!q->choices || (info->numeric && !q->numeric))
        return err_memory(e);
    for (q->choice_count = 0; q->choice_count < count; q->choice_count++)
        prepare_choice(q, q->choice_count);
    return q->dialect->prepare ? q->dialect->prepare(q, e) : 0;
}

void inference_choices_fini(struct inference *q)
{
    for (int i = 0; i < q->choice_count; i++) {
        output_fini(&q->choices[i].output);
        answer_reader_fini(&q->choices[i].reader);
    }
    free(q->choices);
    json_decref(q->reading.tools);
    for (int i = 0; i < q->prompt_count; i++) {
        token_list_fini(&q->prompts[i].tokens);
        buf_fini(&q->prompts[i].text);
        free(q->prompts[i].logprob);
        free(q->prompts[i].top);
    }
    free(q->prompts);
    free(q->numeric);
    delta_unref(q->fed_delta);
}

/* ---- the way into the engine ---- */

/* What decides a prompt's keys and values besides its tokens; the tenant is in it, so that nobody finds
 * another's. */
static void cache_root(const struct inference *q, uint8_t out[SHA256_BYTES])
{
    const struct model_info *info = q->r->server->info;
    struct sha256 s;
    sha256_init(&s);
    sha256_update(&s, &q->r->tenant.number, sizeof q->r->tenant.number);
    sha256_update(&s, info->fingerprint, sizeof info->fingerprint);
    for (int i = 0; i < q->part_count; i++) {
        sha256_update(&s, q->parts[i].version->digest, sizeof q->parts[i].version->digest);
        if (q->listed)
            sha256_update(&s, &q->parts[i].scale, sizeof q->parts[i].scale);
    }
    sha256_final(&s, out);
}

static int room_behind(const struct inference *q, const struct inference_prompt *p)
{
    struct engine_stats stats;
    engine_stats(q->r->server->engine, &stats);
    int64_t room = stats.context_length - (int64_t)p->tokens.count;
    return room > 1 ? (int)room : 1;
}

static struct engine_request request_of(const struct inference_choice *c)
{
    const struct inference *q = c->q;
    const struct inference_prompt *p = c->prompt;
    int64_t weight = q->r->tenant.quota.of[QUOTA_WEIGHT];
    bool first = c->index % q->choices_each == 0;
    struct engine_request request = {.tenant = q->r->tenant.number,
                                     .extra_cost = c->index == 0 ? q->load_cost : 0,
                                     .weight = weight == QUOTA_UNSET ? 0 : (int)weight,
                                     .cache_root = q->fed_root,
                                     .delta = q->fed_delta,
                                     .follows = !first,
                                     .tokens = p ? p->tokens.ids : NULL,
                                     .token_count = p ? p->tokens.count : 0,
                                     .input = q->rows,
                                     .input_rows = q->row_count,
                                     .sampling = q->sampling,
                                     .on_token = on_token,
                                     .on_logits = !p                                ? on_output_row
                                                  : first && (p->logprob || p->top) ? on_prompt_logits
                                                                                    : NULL,
                                     .on_done = on_done,
                                     .arg = (void *)c,
                                     .name = q->part_count == 1 ? q->parts[0].version->name : NULL};
    request.sampling.seed = c->seed;
    if (q->fill_context && p)
        request.sampling.max_tokens = room_behind(q, p);
    if (q->dialect->ask)
        q->dialect->ask(c, &request);
    return request;
}

/* One text each. */
static int constrain(const struct inference *q, struct engine_request *requests, int count, struct err *e)
{
    const struct grammars_ends ends = {q->sampling.end_tokens, q->sampling.end_token_count};
    for (int i = 0; q->structure.guide && i < count; i++)
        if (grammars_constrain(q->r->server->grammars, q->structure.guide, &ends,
                               &requests[i].sampling.constraint, e) != 0)
            return -1;
    return 0;
}

static void free_constraints(struct engine_request *requests, int count)
{
    for (int i = 0; i < count; i++)
        if (requests[i].sampling.constraint)
            requests[i].sampling.constraint->free(requests[i].sampling.constraint);
}

/* The next `count` of them, which are fed from now on. */
static int submit(struct inference *q, int first, int count, struct engine_request *requests, uint64_t *ids,
                  struct err *e)
{
    for (int i = 0; i < count; i++)
        requests[i] = request_of(&q->choices[first + i]);
    if (constrain(q, requests, count, e) != 0 ||
        engine_submit_all(q->r->server->engine, requests, count, ids, e) != 0) {
        free_constraints(requests, count);
        return -1;
    }
    limits_submitted(q->r);
    pthread_mutex_lock(&q->r->lock);
    for (int i = 0; i < count; i++)
        q->choices[first + i].engine_id = ids[i];
    q->submitted = true;
    bool cancel = q->r->waits.cancelled || inference_failed(q);
    pthread_mutex_unlock(&q->r->lock);
    if (cancel)
        inference_choices_cancel(q);
    return 0;
}

static int submit_next(struct inference *q, int count, struct err *e)
{
    struct engine_request *requests = calloc((size_t)count, sizeof *requests);
    uint64_t *ids = calloc((size_t)count, sizeof *ids);
    int first = q->fed, result = requests && ids ? 0 : err_memory(e);
    q->fed += count; /* before the first can be done */
    if (result == 0)
        result = submit(q, first, count, requests, ids, e);
    if (result != 0)
        q->fed = first;
    free(requests);
    free(ids);
    return result;
}

int inference_choices_submit(struct inference *q, struct err *e)
{
    cache_root(q, q->fed_root);
    q->running = q->choice_count;
    return submit_next(q, q->choice_count < INFERENCE_AT_ONCE ? q->choice_count : INFERENCE_AT_ONCE, e);
}

static bool is_full(const struct err *e)
{
    return strcmp(e->code, "queue_full") == 0 || strcmp(e->code, "tenant_queue_full") == 0;
}

/* The next one cannot be run. True: it was the last that anybody waited for. */
static bool fail_next(struct inference *q, const struct err *e)
{
    struct request *r = q->r;
    pthread_mutex_lock(&r->lock);
    q->choices[q->fed].failed = true;
    q->choices[q->fed].error = *e;
    drop_unfed_locked(q);
    bool last = q->running == 0;
    pthread_mutex_unlock(&r->lock);
    return last;
}

/* One was done: the engine gets the next. Where its queue is full now, it is asked again when another of ours
 * is done. Engine thread; the request may be gone afterwards. */
static void feed(struct inference *q)
{
    struct err e;
    int left = q->choice_count - q->fed;
    if (left == 0 || submit_next(q, 1, &e) == 0 || (is_full(&e) && q->running > left))
        return;
    if (!fail_next(q, &e)) {
        inference_choices_cancel(q);
        return;
    }
    end(q);
    request_wake(q->r);
    request_unref(q->r);
}

/* Ids stay what they are once they are set; the engine does not mind those that are done. */
void inference_choices_cancel(struct inference *q)
{
    pthread_mutex_lock(&q->r->lock);
    bool submitted = q->submitted && q->running > 0;
    pthread_mutex_unlock(&q->r->lock);
    for (int i = 0; submitted && i < q->choice_count; i++)
        engine_cancel(q->r->server->engine, q->choices[i].engine_id);
}

void inference_choices_abandon(struct inference *q)
{
    pthread_mutex_lock(&q->r->lock);
    for (int i = 0; i < q->choice_count; i++) {
        q->choices[i].done = true;
        q->choices[i].result.finish = ENGINE_CANCELLED;
    }
    pthread_mutex_unlock(&q->r->lock);
}
