#include "server/http/download.h"

#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"
#include "server/http/reply.h"

struct download {
    struct download_source source; /* owned */
    struct jobs *jobs;
    size_t length, sent;
    bool ended, failed;
    char block[DOWNLOAD_BLOCK_BYTES];
};

static void close_source(void *arg)
{
    struct download *d = arg;
    d->source.close(d->source.arg);
    free(d);
}

/* Often on an HTTP thread, and closing may touch the disk. */
static void download_free(void *arg)
{
    struct download *d = arg;
    if (jobs_submit(d->jobs, close_source, d) != 0)
        close_source(d);
}

/* On a job thread; the HTTP thread waits for the wake. */
static void fill(struct request *r)
{
    struct err e;
    struct download *d = r->task;
    d->sent = d->length = 0;
    if (request_cancelled(r)) {
        d->failed = true;
    } else if (d->source.read(d->source.arg, d->block, sizeof d->block, &d->length, &e) != 0) {
        d->failed = true;
        log_message("error", "%s: the answer is cut off: %s: %s", r->id, e.code, e.message);
    }
    d->ended = d->length == 0;
    request_wake(r);
}

/* False: asleep until the block is there. */
static bool fill_now_or_sleep(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    bool pending = r->waits.pending;
    if (pending)
        request_sleep_locked(r);
    pthread_mutex_unlock(&r->lock);
    return !pending;
}

static ssize_t read_block(struct request *r, char *out, size_t max)
{
    struct download *d = r->task;
    while (d->sent == d->length) {
        if (d->failed || d->ended)
            return d->failed ? REPLY_STREAM_BROKEN : REPLY_STREAM_END;
        if (request_defer(r, r->server->disk_jobs, fill) != 0)
            return REPLY_STREAM_BROKEN;
        if (!fill_now_or_sleep(r))
            return 0;
    }
    size_t count = d->length - d->sent < max ? d->length - d->sent : max;
    memcpy(out, d->block + d->sent, count);
    d->sent += count;
    return (ssize_t)count;
}

void download_start(struct request *r, const char *content_type, const struct download_source *s)
{
    struct err e;
    struct download *d = calloc(1, sizeof *d);
    if (!d) {
        s->close(s->arg);
        err_memory(&e);
        reply_error(r, &e);
        return;
    }
    d->source = *s;
    d->jobs = r->server->disk_jobs;
    r->task = d;
    r->task_free = download_free;
    reply_stream_of(r, content_type, read_block);
}
