#include "server/training/job_stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "adapters/jobs/job_rows.h"
#include "core/system/clock.h"
#include "server/http/reply.h"
#include "server/training/job_json.h"
#include "server/wire/connections.h"

enum { EVENTS_AT_ONCE = 64, STREAMS_TENANT_MAX = 32 };

struct job_streams {
    pthread_mutex_t lock;
    LIST_HEAD(, job_stream) all;
};

struct job_stream {
    LIST_ENTRY(job_stream) link;
    struct job_streams *all;
    struct request *request;
    int64_t job;
    uint32_t tenant;
    char id[JOB_ID_BYTES];
    /* under the request's lock */
    bool changed; /* there may be more than was read */
    bool filling; /* a job thread reads */
    bool over, failed;
    struct buf out;
    size_t sent;
    int64_t place; /* of the last event in `out` or before; the job thread's while it fills */
};

int job_streams_new(struct job_streams **out, struct err *e)
{
    struct job_streams *s = calloc(1, sizeof *s);
    if (!s)
        return err_memory(e);
    pthread_mutex_init(&s->lock, NULL);
    LIST_INIT(&s->all);
    *out = s;
    return 0;
}

void job_streams_free(struct job_streams *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

void job_streams_notify(struct job_streams *s, int64_t job)
{
    struct job_stream *f;
    pthread_mutex_lock(&s->lock);
    LIST_FOREACH(f, &s->all, link) {
        if (f->job != job)
            continue;
        pthread_mutex_lock(&f->request->lock);
        f->changed = true;
        bool wake = !f->filling;
        pthread_mutex_unlock(&f->request->lock);
        if (wake)
            request_wake(f->request);
    }
    pthread_mutex_unlock(&s->lock);
}

/* Nothing more is read for it; `over`: it ends in good order. */
static void end_stream(struct job_stream *f, bool over)
{
    pthread_mutex_lock(&f->request->lock);
    f->over = f->over || over;
    f->failed = f->failed || !over;
    bool wake = !f->filling;
    pthread_mutex_unlock(&f->request->lock);
    if (wake)
        request_wake(f->request);
}

void job_streams_stop(struct job_streams *s)
{
    struct job_stream *f;
    pthread_mutex_lock(&s->lock);
    LIST_FOREACH(f, &s->all, link)
        end_stream(f, true);
    pthread_mutex_unlock(&s->lock);
}

static void client_left(struct request *r)
{
    end_stream(r->task, false);
}

static void stream_free(void *task)
{
    struct job_stream *f = task;
    pthread_mutex_lock(&f->all->lock);
    LIST_REMOVE(f, link);
    pthread_mutex_unlock(&f->all->lock);
    buf_fini(&f->out);
    free(f);
}

/* ---- reading, on a job thread ---- */

/* The events first: what is written after the state was read says so by a change of its own. */
static int read_more(struct job_stream *f, struct registry *registry, struct buf *out, int64_t *place,
                     bool *more, bool *over, struct err *e)
{
    struct job_row j = {0};
    struct job_event events[EVENTS_AT_ONCE];
    size_t count = 0;
    if (job_rows_find(registry, f->tenant, f->id, &j, e) != 0)
        return -1;
    *over = job_is_over(j.status);
    int result = job_rows_events(registry, &j, *place, false, EVENTS_AT_ONCE, events, &count, more, e);
    for (size_t i = 0; i < count; i++) {
        if (result == 0 && reply_print_event(out, job_json_event(&j, &events[i])) != 0)
            result = err_memory(e);
        *place = events[i].place;
        job_event_fini(&events[i]);
    }
    job_row_fini(&j);
    return result;
}

static void fill(struct request *r)
{
    struct job_stream *f = r->task;
    struct buf out = {0};
    struct err e;
    int64_t place = f->place;
    bool more = false, over = false;
    int result = read_more(f, r->server->registry, &out, &place, &more, &over, &e);
    if (result == 0 && over && !more)
        result = buf_append_string(&out, "data: [DONE]\n\n");
    pthread_mutex_lock(&r->lock);
    buf_fini(&f->out);
    f->out = out;
    f->sent = 0;
    f->place = place;
    f->over = f->over || (over && !more);
    f->failed = f->failed || result != 0;
    f->changed = f->changed || more;
    f->filling = false;
    pthread_mutex_unlock(&r->lock);
    request_wake(r);
}

/* ---- sending, on the HTTP thread ---- */

static ssize_t copy_locked(struct job_stream *f, char *out, size_t max)
{
    size_t count = f->out.length - f->sent;
    if (count > max)
        count = max;
    memcpy(out, f->out.data + f->sent, count);
    f->sent += count;
    return (ssize_t)count;
}

/* A sign of life, where one is due; otherwise it sleeps. */
static ssize_t rest_locked(struct request *r, char *out, size_t max)
{
    static const char keepalive[] = ": keepalive\n\n";
    uint64_t now = clock_us();
    bool due = r->waits.keepalive_due_us && now >= r->waits.keepalive_due_us;
    r->waits.keepalive_due_us = now + KEEPALIVE_MS * UINT64_C(1000);
    if (due && max >= sizeof keepalive - 1) {
        memcpy(out, keepalive, sizeof keepalive - 1);
        return sizeof keepalive - 1;
    }
    request_sleep_locked(r);
    return 0;
}

/* False: somebody is to fill it first. */
static bool next_locked(struct request *r, char *out, size_t max, ssize_t *result)
{
    struct job_stream *f = r->task;
    *result = 0;
    if (f->filling)
        request_sleep_locked(r);
    else if (f->failed)
        *result = REPLY_STREAM_BROKEN;
    else if (f->sent < f->out.length)
        *result = copy_locked(f, out, max);
    else if (f->over)
        *result = REPLY_STREAM_END;
    else if (f->changed)
        return false;
    else
        *result = rest_locked(r, out, max);
    return true;
}

static ssize_t read_stream(struct request *r, char *out, size_t max)
{
    struct job_stream *f = r->task;
    ssize_t result;
    for (;;) {
        pthread_mutex_lock(&r->lock);
        bool done = next_locked(r, out, max, &result);
        if (!done) {
            f->changed = false;
            f->filling = true;
        }
        pthread_mutex_unlock(&r->lock);
        if (done)
            return result;
        if (request_defer(r, r->server->disk_jobs, fill) != 0)
            return REPLY_STREAM_BROKEN;
    }
}

/* A stream may last as long as a job, and a paused job for ever: no tenant has all connections. */
static int add(struct job_streams *s, struct job_stream *f, struct err *e)
{
    const struct job_stream *other;
    int own = 0;
    pthread_mutex_lock(&s->lock);
    LIST_FOREACH(other, &s->all, link)
        own += other->tenant == f->tenant;
    if (own < STREAMS_TENANT_MAX)
        LIST_INSERT_HEAD(&s->all, f, link);
    pthread_mutex_unlock(&s->lock);
    return own < STREAMS_TENANT_MAX
               ? 0
               : err_set(e, "too_many_in_flight",
                         "events are streamed on %d connections of this tenant already, the most at the same "
                         "time",
                         own);
}

int job_stream_start(struct request *r, const struct job_row *j, int64_t place, struct err *e)
{
    struct job_stream *f = calloc(1, sizeof *f);
    if (!f)
        return err_memory(e);
    f->all = r->server->job_streams;
    f->request = r;
    f->job = j->number;
    f->tenant = j->tenant;
    f->place = place;
    f->changed = true;
    strcpy(f->id, j->id);
    if (add(f->all, f, e) != 0) {
        free(f);
        return -1;
    }
    r->task = f;
    r->task_free = stream_free;
    pthread_mutex_lock(&r->lock);
    r->on_cancel = client_left;
    pthread_mutex_unlock(&r->lock);
    reply_stream(r, read_stream);
    return 0;
}
