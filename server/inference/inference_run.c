#include "server/inference/inference.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine/logprobs.h"
#include "core/system/clock.h"
#include "server/base/fields.h"
#include "server/admission/admission.h"
#include "server/admission/limits.h"
#include "server/base/memory.h"
#include "server/http/reply.h"
#include "server/wire/connections.h"

void inference_free(void *arg)
{
    struct inference *q = arg;
    token_list_fini(&q->tokens);
    inference_lease_fini(q);
    output_fini(&q->output);
    buf_fini(&q->event);
    free(q->rows);
    buf_fini(&q->openai.prompt);
    free(q->prompt_logprob);
    free(q->prompt_top);
    free(q->numeric);
    memory_free_wiped(q); /* stop strings, names */
}

/* ---- the engine's events, on its thread ---- */

static void time_token(struct inference *q)
{
    struct counters *c = &q->r->server->counters;
    uint64_t now = clock_us();
    if (q->token_us)
        histogram_add(&c->next_token_us, &histogram_times, now - q->token_us);
    else
        histogram_add(&c->first_token_us, &histogram_times, (uint64_t)(1000 * (clock_ms() - q->r->began_ms)));
    q->token_us = now;
}

/* Is there anything that the stream may show and did not yet? */
static bool has_news(const struct inference *q)
{
    return q->output.text_ready > q->sent_text || (!q->text_only && q->output.tokens_ready > q->sent_tokens);
}

static bool on_token(void *arg, const struct engine_token *t)
{
    struct inference *q = arg;
    struct request *r = q->r;
    bool more = false;
    time_token(q);
    pthread_mutex_lock(&r->lock);
    q->failed = output_push(&q->output, t, &more, &q->error) != 0;
    bool news = q->streaming && has_news(q);
    pthread_mutex_unlock(&r->lock);
    if (news)
        request_wake(r);
    return more && !q->failed;
}

/* What was expected of the prompt's next token. */
static void on_prompt_logits(void *arg, size_t row, const float *logits)
{
    struct inference *q = arg;
    int vocab_size = q->r->server->info->vocab_size;
    if (row + 1 >= q->tokens.count)
        return;
    int32_t next = q->tokens.ids[row + 1];
    if (q->prompt_top) {
        q->prompt_top[row + 1].token = next;
        logprobs_fill(logits, vocab_size, q->sampling.logprobs, &q->prompt_top[row + 1]);
    } else {
        q->prompt_logprob[row + 1] = logprobs_of(logits, vocab_size, next);
    }
}

static void on_output_row(void *arg, size_t row, const float *values)
{
    struct inference *q = arg;
    size_t size = (size_t)q->r->server->info->vocab_size;
    memcpy(q->numeric + row * size, values, size * sizeof *values);
}

/* Of the prompt, as far as it was computed at all; a row of a numeric model counts as one. */
static int64_t tokens_in(const struct inference *q)
{
    enum engine_finish finish = q->result.finish;
    bool computed = finish == ENGINE_STOP || finish == ENGINE_LENGTH || q->result.prefill_ms > 0;
    size_t count = q->r->server->info->numeric ? q->row_count : q->tokens.count;
    return computed ? (int64_t)count : 0;
}

/* What the answer says in its usage. */
static void count(const struct inference *q)
{
    struct counters *c = &q->r->server->counters;
    histogram_add(&c->queue_us, &histogram_times, (uint64_t)(1000 * q->result.queue_ms));
    counters_add(&c->runs[q->failed ? ENGINE_FAILED : q->result.finish], 1);
    int64_t tokens[USAGE_KINDS] = {[USAGE_PROMPT_TOKENS] = tokens_in(q),
                                   [USAGE_COMPLETION_TOKENS] = (int64_t)q->output.token_count,
                                   [USAGE_CACHED_TOKENS] = q->result.cached_tokens};
    limits_count(q->r, tokens, q->failed);
}

static bool numeric_finite(const struct inference *q)
{
    size_t count = q->row_count * (size_t)q->r->server->info->vocab_size;
    for (size_t i = 0; i < count; i++)
        if (!isfinite(q->numeric[i]))
            return false;
    return true;
}

/* Runs can end without an answer, and end well and have no good one. */
static void check_result(struct inference *q)
{
    if (q->failed)
        return;
    if (q->result.finish == ENGINE_FAILED)
        q->failed = err_memory(&q->error) != 0;
    else if (q->numeric && q->result.finish != ENGINE_CANCELLED && !numeric_finite(q))
        q->failed =
            err_set(&q->error, "output_not_finite", "an output for this input is not a finite number") != 0;
    else
        q->failed = output_finish(&q->output, &q->error) != 0;
}

static void on_done(void *arg, const struct engine_done *d)
{
    struct inference *q = arg;
    struct request *r = q->r;
    pthread_mutex_lock(&r->lock);
    q->done = true;
    q->result = *d;
    check_result(q);
    if (q->output.cut)
        q->result.finish = ENGINE_STOP;
    bool awaited = !q->stream || q->streaming;
    pthread_mutex_unlock(&r->lock);
    limits_settle(r, tokens_in(q) + (int64_t)q->output.token_count);
    count(q);
    if (awaited)
        request_wake(r);
    request_unref(r);
}

/* ---- the stream, on the HTTP thread ---- */

static int next_event_locked(struct inference *q)
{
    if (has_news(q))
        return q->form->event(q);
    if (q->done) {
        q->stage = STREAM_END;
        return q->form->last_event(q);
    }
    uint64_t now = clock_us();
    bool due = q->r->keepalive_due_us && now >= q->r->keepalive_due_us;
    q->r->keepalive_due_us = now + KEEPALIVE_MS * UINT64_C(1000);
    if (due)
        return buf_append_string(&q->event, ": keepalive\n\n");
    request_sleep_locked(q->r);
    return 0;
}

static ssize_t read_stream(struct request *r, char *out, size_t max)
{
    struct inference *q = r->task;
    if (q->event_sent == q->event.length) {
        q->event_sent = 0;
        buf_clear(&q->event);
        if (q->stage == STREAM_END)
            return REPLY_STREAM_END;
        pthread_mutex_lock(&r->lock);
        q->streaming = true;
        int result = next_event_locked(q);
        pthread_mutex_unlock(&r->lock);
        if (result != 0)
            return REPLY_STREAM_BROKEN;
    }
    size_t count = q->event.length - q->event_sent;
    if (count == 0)
        return 0; /* asleep */
    if (count > max)
        count = max;
    memcpy(out, q->event.data + q->event_sent, count);
    q->event_sent += count;
    return (ssize_t)count;
}

/* ---- the end without a stream, on the HTTP thread ---- */

static void answer(struct request *r)
{
    struct inference *q = r->task;
    struct err e;
    json_t *body;
    if (q->failed)
        reply_error(r, &q->error);
    else if (q->form->answer(q, &body, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, body);
}

/* ---- submit ---- */

static int prepare(struct inference *q, struct err *e)
{
    const struct server *s = q->r->server;
    if (s->info->numeric) {
        q->numeric = calloc(q->row_count * (size_t)s->info->vocab_size, sizeof *q->numeric);
        return q->numeric ? 0 : err_memory(e);
    }
    bool continued = false;
    for (size_t i = 0; i < q->tokens.count && !continued; i++)
        continued = !tokenizer_is_special(s->tokenizer, q->tokens.ids[i]);
    output_init(&q->output, s->tokenizer, continued, q->sampling.logprobs >= 0);
    q->output.stops = q->stops;
    if (!q->prompt_logprobs || q->tokens.count == 0)
        return 0;
    if (q->openai.echo)
        q->prompt_top = calloc(q->tokens.count, sizeof *q->prompt_top);
    else
        q->prompt_logprob = calloc(q->tokens.count, sizeof *q->prompt_logprob);
    return q->prompt_top || q->prompt_logprob ? 0 : err_memory(e);
}

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

static int submit(struct inference *q, struct delta *delta, struct err *e)
{
    bool numeric = q->r->server->info->numeric;
    uint8_t root[SHA256_BYTES];
    cache_root(q, root);
    int64_t weight = q->r->tenant.quota.of[QUOTA_WEIGHT];
    struct engine_request request = {.tenant = q->r->tenant.number,
                                     .extra_cost = q->load_cost,
                                     .weight = weight == QUOTA_UNSET ? 0 : (int)weight,
                                     .cache_root = root,
                                     .delta = delta,
                                     .tokens = q->tokens.ids,
                                     .token_count = q->tokens.count,
                                     .input = q->rows,
                                     .input_rows = q->row_count,
                                     .sampling = q->sampling,
                                     .on_token = on_token,
                                     .on_logits = numeric                              ? on_output_row
                                                  : q->prompt_logprob || q->prompt_top ? on_prompt_logits
                                                                                       : NULL,
                                     .on_done = on_done,
                                     .arg = q};
    uint64_t id;
    if (engine_submit(q->r->server->engine, &request, &id, e) != 0)
        return -1;
    limits_submitted(q->r);
    pthread_mutex_lock(&q->r->lock);
    q->engine_id = id;
    q->submitted = true;
    bool cancel = q->r->cancelled && !q->done;
    pthread_mutex_unlock(&q->r->lock);
    if (cancel)
        engine_cancel(q->r->server->engine, id);
    return 0;
}

/* The client left, or the daemon ends, before the engine had it. */
static void end_unsubmitted(struct inference *q)
{
    struct request *r = q->r;
    pthread_mutex_lock(&r->lock);
    q->done = true;
    q->result.finish = ENGINE_CANCELLED;
    pthread_mutex_unlock(&r->lock);
    if (q->stream)
        reply_stream(r, read_stream);
    else
        request_wake(r);
    request_unref(r);
}

static void fail(struct inference *q, const struct err *e)
{
    struct request *r = q->r;
    reply_error(r, e);
    request_unref(r);
}

/* The delta is there (NULL: bare base; borrowed). Owns the reference that request_hold took, and passes it to
 * on_done. */
static void go_on(struct inference *q, struct delta *delta)
{
    struct request *r = q->r;
    struct err e;
    if (request_cancelled(r)) {
        end_unsubmitted(q);
        return;
    }
    request_ref(r); /* on_done may come before submit returns */
    if (prepare(q, &e) != 0 || submit(q, delta, &e) != 0)
        fail(q, &e);
    else if (q->stream)
        reply_stream(r, read_stream);
    request_unref(r);
}

static void on_ready(struct inference *q, struct delta *delta, const struct err *e)
{
    struct request *r = q->r;
    request_ref(r);
    if (e)
        fail(q, e);
    else
        go_on(q, delta);
    inference_lease_release(q);
    request_unref(r);
}

/* ---- the beginning ---- */

static void cancel(struct request *r)
{
    struct inference *q = r->task;
    pthread_mutex_lock(&r->lock);
    bool running = q->submitted && !q->done;
    uint64_t id = q->engine_id;
    pthread_mutex_unlock(&r->lock);
    if (running)
        engine_cancel(r->server->engine, id);
}

/* The prompt and the longest answer that it may get. */
static int64_t tokens_at_most(const struct inference *q)
{
    const struct model_info *info = q->r->server->info;
    int64_t prompt = (int64_t)q->tokens.count, room = info->context_length - prompt;
    if (info->numeric)
        return (int64_t)q->row_count;
    return prompt + (q->sampling.max_tokens < room ? q->sampling.max_tokens : room > 0 ? room : 0);
}

/* Whose account it goes to. */
static void name_usage(const struct inference *q)
{
    if (q->part_count == 1)
        limits_name(q->r, q->parts[0].version->name, q->parts[0].version->digest);
    else if (q->part_count > 1)
        limits_name(q->r, USAGE_SEVERAL, "");
}

static int parse(struct inference *q, const struct buf *text, struct err *e)
{
    json_t *body = fields_parse(text->data, text->length, e);
    if (!body)
        return -1;
    int result = q->form->parse(q, body, e);
    json_decref(body);
    return result;
}

static int understand(struct request *r, struct inference *q, struct err *e)
{
    if (parse(q, &r->body, e) != 0 || limits_admit(r, e) != 0 || q->form->resolve(q, e) != 0)
        return -1;
    name_usage(q);
    if (limits_take(r, tokens_at_most(q), e) != 0)
        return -1;
    buf_fini(&r->body);
    admission_body_gone(r);
    return 0;
}

void inference_run(struct request *r, const struct inference_dialect *form)
{
    struct err e;
    struct inference *q = calloc(1, sizeof *q);
    if (!q) {
        err_memory(&e);
        reply_error(r, &e);
        return;
    }
    q->r = r;
    q->form = form;
    r->task = q;
    r->task_free = inference_free;
    if (understand(r, q, &e) != 0) {
        reply_error(r, &e);
        return;
    }
    if (!q->stream)
        r->resume = answer;
    pthread_mutex_lock(&r->lock);
    r->on_cancel = cancel;
    pthread_mutex_unlock(&r->lock);
    request_hold(r);
    inference_lease(q, on_ready);
}
