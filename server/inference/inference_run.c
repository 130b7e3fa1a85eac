#include "server/inference/inference.h"

#include <stdlib.h>
#include <string.h>

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
    inference_lease_fini(q);
    inference_structure_fini(q);
    inference_choices_fini(q);
    if (q->own)
        q->own_free(q->own);
    buf_fini(&q->event);
    free(q->rows);
    free(q->biases);
    free(q->bans);
    token_list_fini(&q->ban_tokens);
    memory_free_wiped(q); /* stop strings, names */
}

/* ---- the stream, on the HTTP thread ---- */

/* Of one choice: what is new, or that there is no more of it. 0: nothing to say; what is new may be nothing
 * that is said yet. */
static int choice_event(struct inference *q, struct inference_choice *c)
{
    while (!c->ended && !c->failed && q->event.length == 0) {
        bool last = !inference_choice_has_news(c);
        if (last && (!c->done || c->result.finish == ENGINE_CANCELLED))
            return 0;
        c->ended = last;
        if (q->dialect->event(q, c, last) != 0)
            return -1;
    }
    return q->event.length > 0;
}

/* The choices in turn, so that none waits for another. */
static int next_choice_event(struct inference *q)
{
    int said = 0;
    for (int i = 0; i < q->choice_count && said == 0; i++) {
        said = choice_event(q, &q->choices[q->turn]);
        q->turn = (q->turn + 1) % q->choice_count;
    }
    return said;
}

static int next_event_locked(struct inference *q)
{
    bool failed = inference_failed(q) != NULL;
    int said = failed ? 0 : next_choice_event(q);
    if (said != 0)
        return said < 0 ? -1 : 0;
    if (failed || q->running == 0) {
        q->event_last = true;
        return q->dialect->last_event(q);
    }
    uint64_t now = clock_us();
    bool due = q->r->waits.keepalive_due_us && now >= q->r->waits.keepalive_due_us;
    q->r->waits.keepalive_due_us = now + KEEPALIVE_MS * UINT64_C(1000);
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
        if (q->event_last)
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

static void refuse(struct inference *q, struct err *e)
{
    if (q->dialect->translate)
        q->dialect->translate(q, e);
    reply_error(q->r, e);
}

/* On a thread for text: many numbers take a while. */
static void write_answer(struct request *r)
{
    struct inference *q = r->task;
    struct buf body = {0};
    struct err e;
    if (q->dialect->write(q, &body, &e) == 0) {
        reply_text(r, "application/json", &body);
        return;
    }
    buf_fini(&body);
    refuse(q, &e);
}

static void answer(struct request *r)
{
    struct inference *q = r->task;
    struct err e;
    json_t *body;
    const struct inference_choice *failed = inference_failed(q);
    if (failed) {
        e = failed->error;
        refuse(q, &e);
    } else if (q->dialect->write) {
        if (request_take_turn(r, write_answer, &e) != 0)
            write_answer(r);
    } else if (q->dialect->answer(q, &body, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, body);
}

/* ---- submit ---- */

/* The client left, or the daemon ends, before the engine had it. */
static void end_unsubmitted(struct inference *q)
{
    struct request *r = q->r;
    inference_choices_abandon(q);
    if (q->stream)
        reply_stream(r, read_stream);
    else
        request_wake(r);
    request_unref(r);
}

static void fail(struct inference *q, const struct err *e)
{
    struct request *r = q->r;
    struct err said = *e;
    refuse(q, &said);
    request_unref(r);
}

static int prepare(struct inference *q, struct delta *delta, struct err *e)
{
    if (inference_choices_prepare(q, delta, e) != 0)
        return -1;
    if (q->stream && q->dialect->first_event && q->dialect->first_event(q) != 0)
        return err_memory(e);
    return 0;
}

/* The delta is there (NULL: bare base; borrowed). Owns the reference that request_hold took, and passes it to
 * on_done. */
static void go_on(struct inference *q, struct delta *delta)
{
    struct request *r = q->r;
    struct err e;
    request_ref(r); /* the runs may be done before submit returns */
    int result = prepare(q, delta, &e);
    if (result == 0 && request_cancelled(r))
        end_unsubmitted(q);
    else if (result != 0 || inference_choices_submit(q, &e) != 0)
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
    inference_choices_cancel(r->task);
}

/* The prompts and the longest answers that they may get. */
static int64_t tokens_at_most(const struct inference *q)
{
    const struct model_info *info = q->r->server->info;
    int64_t sum = inference_prompt_tokens(q);
    if (info->numeric)
        return (int64_t)q->row_count;
    for (int i = 0; i < q->prompt_count; i++) {
        int64_t room = info->context_length - (int64_t)q->prompts[i].tokens.count;
        int64_t answer = q->sampling.max_tokens < room ? q->sampling.max_tokens : room > 0 ? room : 0;
        sum += answer * q->choices_each;
    }
    return sum;
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
    int result = q->dialect->parse(q, body, e);
    json_decref(body);
    memory_give_back(text->length);
    return result;
}

static int understand(struct request *r, struct inference *q, struct err *e)
{
    if (parse(q, &r->body, e) != 0 || limits_admit(r, e) != 0)
        return -1;
    name_usage(q);
    if (limits_take(r, tokens_at_most(q), e) != 0)
        return -1;
    limits_begin(r);
    buf_fini(&r->body);
    admission_body_shrinks(r, q->kept_bytes);
    return 0;
}

void inference_run(struct request *r, const struct inference_dialect *dialect)
{
    struct err e;
    struct inference *q = calloc(1, sizeof *q);
    if (!q) {
        err_memory(&e);
        reply_error(r, &e);
        return;
    }
    q->r = r;
    q->dialect = dialect;
    q->choices_each = 1;
    r->task = q;
    r->task_free = inference_free;
    if (understand(r, q, &e) != 0) {
        refuse(q, &e);
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
