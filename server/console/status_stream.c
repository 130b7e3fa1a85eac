#include "server/console/status_stream.h"

#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "core/system/clock.h"
#include "server/console/status.h"
#include "server/http/reply.h"
#include "server/wire/connections.h"

struct status_streams {
    pthread_mutex_t lock;
    LIST_HEAD(, status_stream) all;
    bool stopped;
};

struct status_stream {
    LIST_ENTRY(status_stream) link;
    struct status_streams *all;
    struct request *request;
    bool due, over; /* under the request's lock */
    struct buf out; /* HTTP thread */
    size_t sent;
};

int status_streams_new(struct status_streams **out, struct err *e)
{
    struct status_streams *s = calloc(1, sizeof *s);
    if (!s)
        return err_memory(e);
    pthread_mutex_init(&s->lock, NULL);
    LIST_INIT(&s->all);
    *out = s;
    return 0;
}

void status_streams_free(struct status_streams *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

static bool still_allowed(struct request *r)
{
    return r->server->config.no_auth || registry_caller_holds(r->server->registry, &r->caller);
}

static void tell(struct status_stream *f, bool over)
{
    bool ends = over || !still_allowed(f->request);
    pthread_mutex_lock(&f->request->lock);
    f->due = true;
    f->over = f->over || ends;
    pthread_mutex_unlock(&f->request->lock);
    request_wake(f->request);
}

static void tell_all(struct status_streams *s, bool over)
{
    struct status_stream *f;
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stopped = s->stopped || over;
    LIST_FOREACH(f, &s->all, link)
        tell(f, over);
    pthread_mutex_unlock(&s->lock);
}

void status_streams_notify(struct status_streams *s)
{
    tell_all(s, false);
}

void status_streams_stop(struct status_streams *s)
{
    tell_all(s, true);
}

static void client_left(struct request *r)
{
    struct status_stream *f = r->task;
    pthread_mutex_lock(&r->lock);
    f->over = true;
    pthread_mutex_unlock(&r->lock);
    request_wake(r);
}

static void stream_free(void *task)
{
    struct status_stream *f = task;
    pthread_mutex_lock(&f->all->lock);
    LIST_REMOVE(f, link);
    pthread_mutex_unlock(&f->all->lock);
    buf_fini(&f->out);
    free(f);
}

/* ---- sending, on the HTTP thread ---- */

static int print_event(struct status_stream *f)
{
    buf_clear(&f->out);
    f->sent = 0;
    return reply_print_event(&f->out, status_json(f->request));
}

static ssize_t copy(struct status_stream *f, char *out, size_t max)
{
    size_t count = f->out.length - f->sent;
    if (count > max)
        count = max;
    memcpy(out, f->out.data + f->sent, count);
    f->sent += count;
    return (ssize_t)count;
}

/* True: there is an event to be made, or the end (in *over); otherwise the connection sleeps. */
static bool take_due(struct status_stream *f, bool *over)
{
    struct request *r = f->request;
    pthread_mutex_lock(&r->lock);
    bool due = f->due || f->over;
    *over = f->over;
    f->due = false;
    if (!due)
        request_sleep_locked(r);
    pthread_mutex_unlock(&r->lock);
    return due;
}

static ssize_t read_stream(struct request *r, char *out, size_t max)
{
    struct status_stream *f = r->task;
    bool over;
    if (f->sent < f->out.length)
        return copy(f, out, max);
    if (!take_due(f, &over))
        return 0;
    if (over)
        return REPLY_STREAM_END;
    return print_event(f) == 0 ? copy(f, out, max) : REPLY_STREAM_BROKEN;
}

/* ---- the beginning ---- */

/* Tenants leave room for admins. */
static int add(struct status_streams *s, struct status_stream *f, struct err *e)
{
    const struct status_stream *other;
    const struct caller *own = &f->request->caller;
    int same = 0, kind = 0;
    pthread_mutex_lock(&s->lock);
    LIST_FOREACH(other, &s->all, link) {
        kind += other->request->caller.role == own->role;
        same += other->request->caller.tenant == own->tenant;
    }
    bool room = kind < STATUS_STREAMS_MAX && (own->role == ROLE_ADMIN || same < STATUS_STREAMS_TENANT_MAX);
    f->over = s->stopped;
    if (room)
        LIST_INSERT_HEAD(&s->all, f, link);
    pthread_mutex_unlock(&s->lock);
    return room
               ? 0
               : err_set(e, "too_many_in_flight",
                         "the status is streamed on %d connections already, the most at the same time", same);
}

int status_stream_start(struct request *r, struct err *e)
{
    struct status_stream *f = calloc(1, sizeof *f);
    if (!f)
        return err_memory(e);
    f->all = r->server->status_streams;
    f->request = r;
    f->due = true;
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
