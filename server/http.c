#include "server/http.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "core/system/clock.h"
#include "server/admission/admission.h"
#include "server/admission/limits.h"
#include "server/base/log.h"
#include "server/base/memory.h"
#include "server/http/reply.h"
#include "server/http/request.h"
#include "server/wire/connections.h"

enum {
    HTTP_THREADS = 2,
    HTTP_STACK_BYTES = 2 << 20, /* jansson: one frame per level of nesting */
    /* Headers and buffers of one connection; bounds the headers. Above 32 KiB libmicrohttpd gives it back to
     * the kernel when the connection ends, with what was in it. */
    CONNECTION_MEMORY = (32 << 10) + 1,
    INACTIVITY_S = 60,
    SWALLOW_MAX = 1 << 20, /* what is read and dropped so that a refused client can keep its connection */
    EXCESS_MAX = 64 << 20, /* what is dropped of a body of unknown length after its refusal */
    STREAM_BLOCK = 16 << 10,
    CANCEL_WAIT_MS = 5000,
    FRAMING_IS_OURS = -1 /* libmicrohttpd refuses in HTML; what it leaves, framing.c refuses in JSON */
};

struct http {
    struct server *server;
    struct MHD_Daemon *daemon;
    int listen_fd; /* the library's from its start on; http_quiesce puts another file behind it */
};

static uint64_t from_now(uint64_t ms)
{
    return clock_us() + ms * 1000;
}

/* ---- answers ---- */

/* Before the last of an answer goes out where that is known here: what its client looks at next has it. */
static void count_answer(struct request *r, int status)
{
    if (r->progress.counted)
        return;
    r->progress.counted = true;
    counters_answer(&r->server->counters, r->match.place, status,
                    (uint64_t)(1000 * (clock_ms() - r->began_ms)));
}

static ssize_t stream_block(void *arg, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct request *r = arg;
    ssize_t count = r->reply.stream(r, out, max);
    if (count > 0)
        connections_deadline(r->peer, from_now(DEADLINE_WRITE_MS));
    else if (count == 0)
        connections_deadline(r->peer, 0); /* waiting for us, not for the client */
    if (count >= 0)
        return count;
    if (count == REPLY_STREAM_END)
        count_answer(r, r->reply.status);
    return count == REPLY_STREAM_END ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void stream_end(void *arg)
{
    request_unref(arg);
}

static struct MHD_Response *make_response(struct request *r)
{
    struct reply *p = &r->reply;
    if (p->stream) {
        request_ref(r);
        struct MHD_Response *response = MHD_create_response_from_callback(
            p->stream_bytes ? p->stream_bytes : MHD_SIZE_UNKNOWN, STREAM_BLOCK, stream_block, r, stream_end);
        if (!response)
            request_unref(r);
        return response;
    }
    size_t length = p->body.length;
    struct MHD_Response *response =
        length ? MHD_create_response_from_buffer_with_free_callback(length, p->body.data, memory_free_wiped)
               : MHD_create_response_from_buffer(0, (char[1]){0}, MHD_RESPMEM_PERSISTENT);
    if (response && length)
        p->body = (struct buf){0};
    return response;
}

typedef void header_sink(void *arg, const char *name, const char *value);

static void add_to_response(void *response, const char *name, const char *value)
{
    MHD_add_response_header(response, name, value);
}

static void add_headers(struct request *r, header_sink *add, void *arg)
{
    const struct reply *p = &r->reply;
    if (p->content_type)
        add(arg, "Content-Type", p->content_type);
    add(arg, "X-Request-Id", r->id);
    if (p->adapter_version[0])
        add(arg, "X-Adapter-Version", p->adapter_version);
    if (p->etag[0])
        add(arg, "ETag", p->etag);
    if (p->allow[0])
        add(arg, "Allow", p->allow);
    if (p->retry_s) {
        char seconds[16];
        snprintf(seconds, sizeof seconds, "%d", p->retry_s);
        add(arg, "Retry-After", seconds);
    }
    limits_headers(r, add, arg);
    cors_headers(&r->cors, add, arg);
    if (p->challenge)
        add(arg, "WWW-Authenticate", "Bearer realm=\"adapterd\"");
    for (const struct reply_header *h = p->more; h && h->name; h++)
        add(arg, h->name, h->value);
    if (p->no_store)
        add(arg, "Cache-Control", "no-store");
    if (p->close || atomic_load(&r->server->draining))
        add(arg, "Connection", "close");
}

static enum MHD_Result send_reply(struct request *r)
{
    uint64_t length = r->reply.body.length;
    struct MHD_Response *response = make_response(r);
    if (!response)
        return MHD_NO;
    add_headers(r, add_to_response, response);
    if (!r->reply.stream)
        count_answer(r, r->reply.status);
    connections_deadline(r->peer, from_now(DEADLINE_WRITE_MS + length * 1000 / BODY_RATE_MIN));
    enum MHD_Result result = MHD_queue_response(r->connection, (unsigned)r->reply.status, response);
    MHD_destroy_response(response);
    return result;
}

struct by_hand {
    struct buf text;
    bool failed; /* memory ran out */
};

static void add_by_hand(void *arg, const char *name, const char *value)
{
    struct by_hand *h = arg;
    h->failed |= buf_printf(&h->text, "%s: %s\r\n", name, value) != 0;
}

/* An answer while the body is still coming: libmicrohttpd cannot send one then, so it is written by hand; the
 * rest of the body is read and dropped, and the connection closed. */
static void send_midway(struct request *r)
{
    struct by_hand h = {0};
    const struct buf *body = &r->reply.body;
    int fd = connections_fd(r->peer);
    r->progress.answered_early = r->coming.discard = r->reply.close = true;
    count_answer(r, r->reply.status);
    h.failed = buf_printf(&h.text, "HTTP/1.1 %d %s\r\nContent-Length: %zu\r\n", r->reply.status,
                          MHD_get_reason_phrase_for((unsigned)r->reply.status), body->length) != 0;
    add_headers(r, add_by_hand, &h);
    h.failed |= buf_append_string(&h.text, "\r\n") != 0 || buf_append(&h.text, body->data, body->length) != 0;
    if (!h.failed &&
        send(fd, h.text.data, h.text.length, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)h.text.length)
        shutdown(fd, SHUT_WR);
    buf_fini(&h.text);
}

/* ---- the way of a request ---- */

/* True: another thread works for this request and its connection waits. */
static bool suspend_if_pending(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    bool pending = r->waits.pending;
    if (pending) {
        connections_deadline(r->peer, 0);
        request_sleep_locked(r);
    }
    pthread_mutex_unlock(&r->lock);
    return pending;
}

/* Where the route's place says. */
static int start_handler(struct request *r, struct err *e)
{
    const struct route *route = r->match.route;
    if (route->place == PLACE_TEXT)
        return request_take_turn(r, route->handler, e);
    if (route->place == PLACE_HTTP)
        route->handler(r);
    else if (request_defer(r, r->server->disk_jobs, route->handler) != 0)
        return err_set(e, "overloaded", "too much work of this kind is waiting");
    return 0;
}

static void call_handler(struct request *r)
{
    struct err e;
    r->progress.handled = true;
    if (start_handler(r, &e) != 0)
        reply_error(r, &e);
}

/* Did the library understand what another program would read differently? */
static bool malformed(struct request *r, struct err *e)
{
    const char *problem = connections_problem(r->peer);
    return problem && err_set(e, "invalid_request", "%s", problem) != 0;
}

/* The body is complete (or dropped): go on until there is an answer or something to wait for. */
static enum MHD_Result advance(struct request *r)
{
    struct err e;
    if (r->progress.answered_early)
        return MHD_NO;
    for (;;) {
        if (suspend_if_pending(r))
            return MHD_YES;
        if (r->reply.ready)
            return send_reply(r);
        if (!r->progress.handled && malformed(r, &e)) {
            r->reply.close = true;
            reply_error(r, &e);
        } else if (!r->progress.handled) {
            call_handler(r);
        } else if (r->resume) {
            void (*resume)(struct request *) = r->resume;
            r->resume = NULL;
            resume(r);
        } else {
            err_set(&e, "internal_error", "the request was not answered");
            reply_error(r, &e);
        }
    }
}

/* A refusal before the body: small bodies are swallowed, so that the connection lives on; otherwise the
 * answer goes out now and what the client still sends is drained after the connection's end. */
static enum MHD_Result refuse(struct request *r, const struct err *e)
{
    reply_error(r, e);
    bool small = r->coming.content_length >= 0 && r->coming.content_length <= SWALLOW_MAX &&
                 !r->coming.expect_continue;
    if (!r->reply.close && (!r->coming.has_body || small)) {
        r->coming.discard = true;
        return MHD_YES;
    }
    r->reply.close = true;
    return send_reply(r);
}

static enum MHD_Result begin(struct request *r, const char *method, const char *version)
{
    struct err e;
    r->progress.begun = true;
    r->progress.active = true;
    atomic_fetch_add(&r->server->active, 1);
    snprintf(r->method, sizeof r->method, "%s", method);
    r->reply.close = malformed(r, &e);
    int result = r->reply.close ? -1 : admission_check(r, r->connection, version, &e);
    r->coming.clock_us = clock_us();
    request_body_deadline(r);
    if (r->caller.role != ROLE_NONE)
        connections_known(r->server->connections, r->peer);
    if (result != 0)
        return refuse(r, &e);
    const struct route_body *body = r->match.route->body;
    if (body->kind == ROUTE_BODY_FORM && body->begin(r, r->connection, &e) != 0)
        return refuse(r, &e);
    return MHD_YES;
}

static void refuse_midway(struct request *r, const struct err *e)
{
    if (e)
        reply_error(r, e);
    buf_fini(&r->body);
    r->coming.discard = true;
    int64_t left = r->coming.content_length - (int64_t)r->coming.received;
    if (r->coming.content_length < 0 || left > SWALLOW_MAX)
        send_midway(r);
}

static enum MHD_Result take_body(struct request *r, const char *data, size_t length)
{
    struct err e;
    if (r->coming.discard) {
        r->coming.received += length;
        request_body_deadline(r);
        return r->coming.content_length < 0 &&
                       r->coming.received > r->match.route->body->bytes_max + EXCESS_MAX
                   ? MHD_NO
                   : MHD_YES;
    }
    if (malformed(r, &e) || admission_body(r, length, &e) != 0 ||
        (buf_append(&r->body, data, length) != 0 && err_memory(&e) != 0)) {
        refuse_midway(r, &e);
        return MHD_YES;
    }
    request_body_deadline(r);
    if (r->match.route->body->kind == ROUTE_BODY_FORM) {
        counters_add(&r->server->counters.upload_bytes, length);
        r->match.route->body->more(r);
        suspend_if_pending(r);
    }
    return MHD_YES;
}

static bool is_pending(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    bool pending = r->waits.pending;
    pthread_mutex_unlock(&r->lock);
    return pending;
}

static enum MHD_Result access_handler(void *arg, struct MHD_Connection *connection, const char *url,
                                      const char *method, const char *version, const char *data,
                                      size_t *length, void **context)
{
    (void)arg;
    (void)url; /* decoded; what counts is the raw one */
    struct request *r = *context;
    if (!r)
        return MHD_NO;
    if (!r->progress.begun) {
        r->connection = connection;
        return begin(r, method, version);
    }
    if (*length == 0) {
        enum MHD_Result result = advance(r);
        memory_wipe_stack();
        return result;
    }
    /* libmicrohttpd goes on to the next chunk that it has although the connection was suspended; while
     * another thread has the body, nothing is taken of it and it comes again. */
    if (is_pending(r))
        return MHD_YES;
    /* Refused while a slice of it was being stored. */
    if (r->reply.ready && !r->coming.discard)
        refuse_midway(r, NULL);
    size_t count = *length;
    *length = 0;
    return take_body(r, data, count);
}

/* ---- connections ---- */

static struct connection *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

/* What the library answers is gone with the next question: version 1.0 has one place for it. */
static struct connection *add_connection(struct http *h, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return NULL;
    int fd = info->connect_fd;
    info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return connections_add(h->server->connections, fd, info ? info->client_addr : NULL);
}

static void on_connection(void *arg, struct MHD_Connection *connection, void **context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http *h = arg;
    bool started = code == MHD_CONNECTION_NOTIFY_STARTED;
    atomic_fetch_add(&h->server->connection_count, started ? 1 : -1);
    if (started) {
        counters_add(&h->server->counters.connections, 1);
        *context = add_connection(h, connection);
    } else if (*context) {
        connections_remove(h->server->connections, *context);
        *context = NULL;
    }
}

/* The request line is there. The returned request becomes the context of the access handler. */
static void *on_uri(void *arg, const char *uri, struct MHD_Connection *connection)
{
    struct http *h = arg;
    struct connection *p = peer_of(connection);
    struct request *r = p ? request_new(h->server, uri) : NULL;
    if (!r)
        return NULL;
    connections_deadline_at_most(p, from_now(DEADLINE_HEADERS_MS));
    connections_next(p);
    request_attach(r, h->server->connections, p);
    return r;
}

static void log_end(struct request *r, enum MHD_RequestTerminationCode code)
{
    bool sent = r->progress.answered_early || (r->reply.ready && code == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    count_answer(r, sent ? r->reply.status : 0);
    pthread_mutex_lock(&r->lock);
    struct log_request line = {.id = r->id,
                               .method = r->method,
                               .path = r->path,
                               .tenant = r->tenant.id,
                               .trace = r->trace.id,
                               .status = sent ? r->reply.status : 0,
                               .ms = clock_ms() - r->began_ms};
    log_request(&line);
    pthread_mutex_unlock(&r->lock);
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **context,
                         enum MHD_RequestTerminationCode code)
{
    (void)connection;
    struct http *h = arg;
    struct request *r = *context;
    *context = NULL;
    if (!r)
        return;
    connections_attach(h->server->connections, r->peer, NULL, NULL);
    connections_deadline(r->peer, from_now(DEADLINE_IDLE_MS));
    if (r->progress.begun && r->coming.has_body && r->reply.close)
        connections_linger(h->server->connections, r->peer);
    pthread_mutex_lock(&r->lock);
    r->connection = NULL;
    pthread_mutex_unlock(&r->lock);
    request_cancel(r);
    if (r->progress.begun)
        log_end(r, code);
    if (r->progress.active)
        atomic_fetch_sub(&h->server->active, 1);
    request_unref(r);
}

/* ---- start and stop ---- */

int http_start(struct http **out, struct server *s, int fd, struct err *e)
{
    struct http *h = calloc(1, sizeof *h);
    if (!h) {
        close(fd);
        return err_memory(e);
    }
    h->server = s;
    h->listen_fd = fd;
    h->daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, access_handler, h,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_THREAD_POOL_SIZE, (unsigned)HTTP_THREADS,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)HTTP_STACK_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)(s->connection_limit + CONNECTIONS_SPARE), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)CONNECTION_MEMORY, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)INACTIVITY_S,
        MHD_OPTION_STRICT_FOR_CLIENT, FRAMING_IS_OURS, MHD_OPTION_URI_LOG_CALLBACK, on_uri, h,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, h, MHD_OPTION_NOTIFY_COMPLETED, on_completed, h,
        MHD_OPTION_END);
    if (!h->daemon) {
        err_errno(e, "cannot start the HTTP server");
        close(fd);
        free(h);
        return -1;
    }
    *out = h;
    return 0;
}

/* Not by MHD_quiesce_daemon: it takes the socket out of its threads' epoll sets while they may do the same,
 * and whoever comes second aborts the process; and once the socket is closed, a new connection may get its
 * number. With another file behind the number the socket is closed, the number stays taken, and the sets
 * forget it by themselves. */
void http_quiesce(struct http *h)
{
    int silent = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (silent < 0 || dup3(silent, h->listen_fd, O_CLOEXEC) < 0)
        shutdown(h->listen_fd, SHUT_RDWR); /* refuses as well, but its threads spin */
    if (silent >= 0)
        close(silent);
}

static void pause_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000}, NULL);
}

void http_stop(struct http *h)
{
    struct server *s = h->server;
    /* Cancel again and again: a request may just have begun. Later cut what does not even read its answer.
     * What remains are job threads at work, and these end. libmicrohttpd aborts when it is stopped with a
     * suspended connection. */
    for (int waited = 0; atomic_load(&s->active) > 0; waited += 10) {
        connections_cancel_all(s->connections);
        if (waited >= CANCEL_WAIT_MS)
            connections_cut_all(s->connections);
        pause_ms(10);
    }
    MHD_stop_daemon(h->daemon);
    free(h);
}
