/* Streams answers from an HTTP server to many clients at once and notes when each token comes. One thread,
 * so that it takes little of the machine that it measures.
 *
 *   streams --address 127.0.0.1:8080 <requests >results
 *
 * A request is a line {"path", "body", "key" (a bearer token, or absent), "at_ms" (when to send it, from 0),
 * "label"}. A result is a line {"label", "status", "sent_ms", "end_ms", "at_ms": [of each token], "error"},
 * in the order of the requests, all times from the same start. Server-sent events with "tokens" count as many
 * tokens as the list has; without it, one when "content" or "text" is not empty. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/bench.h"
#include "core/base/buf.h"
#include "core/system/clock.h"

enum { STREAMS_MAX = 1024, SECONDS_MAX = 600, LINE_MAX_BYTES = 1 << 20 };

struct stream {
    char *label;
    struct buf request; /* the whole, to be sent */
    double at_ms, sent_ms, end_ms;
    int fd; /* -1: not begun, or over */
    bool begun, over;
    size_t written;
    struct buf raw;  /* received, not yet decoded */
    struct buf line; /* of the body, without chunks */
    int status;      /* of HTTP; 0: the head is not there yet */
    bool chunked;
    long chunk_left; /* -1: a size line comes next */
    double *token_ms;
    int tokens, token_room;
    char error[160];
};

static double start_ms;

static double now_ms(void)
{
    return clock_ms() - start_ms;
}

/* ---- requests ---- */

static void read_request(struct stream *s, const char *line, const char *address)
{
    json_error_t error;
    json_t *root = json_loads(line, JSON_REJECT_DUPLICATES, &error), *at = json_object_get(root, "at_ms");
    const char *path = json_string_value(json_object_get(root, "path")),
               *key = json_string_value(json_object_get(root, "key")),
               *label = json_string_value(json_object_get(root, "label"));
    char *body = json_dumps(json_object_get(root, "body"), JSON_COMPACT);
    if (!path || !body)
        bench_fail("a request needs path and body: %.200s", line);
    *s = (struct stream){.fd = -1, .chunk_left = -1, .at_ms = json_number_value(at)};
    s->label = strdup(label ? label : "");
    buf_printf(&s->request, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n", path,
               address);
    if (key)
        buf_printf(&s->request, "Authorization: Bearer %s\r\n", key);
    buf_printf(&s->request, "Connection: close\r\nContent-Length: %zu\r\n\r\n", strlen(body));
    buf_append_string(&s->request, body);
    free(body);
    json_decref(root);
}

static int read_requests(struct stream *streams, const char *address)
{
    char *line = malloc(LINE_MAX_BYTES);
    int count = 0;
    while (line && fgets(line, LINE_MAX_BYTES, stdin)) {
        if (count == STREAMS_MAX)
            bench_fail("at most %d requests", STREAMS_MAX);
        read_request(&streams[count++], line, address);
    }
    free(line);
    return count;
}

static void finish(struct stream *s, const char *error)
{
    if (error && !s->error[0])
        snprintf(s->error, sizeof s->error, "%s", error);
    s->end_ms = now_ms();
    s->over = true;
    close(s->fd);
    s->fd = -1;
}

static void begin(struct stream *s, const struct sockaddr_in *to)
{
    int on = 1;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    s->begun = true;
    s->sent_ms = now_ms();
    if (s->fd < 0)
        bench_fail("socket: %m");
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(s->fd, (const struct sockaddr *)to, sizeof *to) != 0 && errno != EINPROGRESS)
        finish(s, strerror(errno));
}

/* ---- answers ---- */

static int tokens_of(const json_t *event)
{
    const json_t *tokens = json_object_get(event, "tokens"), *content = json_object_get(event, "content");
    if (!content)
        content = json_object_get(event, "text");
    if (json_is_array(tokens) && json_array_size(tokens) > 0)
        return (int)json_array_size(tokens);
    return json_is_string(content) && json_string_length(content) > 0;
}

static void take_tokens(struct stream *s, int count, double at)
{
    while (s->tokens + count > s->token_room) {
        s->token_room = s->token_room ? 2 * s->token_room : 64;
        s->token_ms = realloc(s->token_ms, (size_t)s->token_room * sizeof *s->token_ms);
        if (!s->token_ms)
            bench_fail("out of memory");
    }
    for (int i = 0; i < count; i++)
        s->token_ms[s->tokens++] = at;
}

static void take_line(struct stream *s, const char *line, double at)
{
    json_error_t ignored;
    if (s->status != 200) {
        snprintf(s->error, sizeof s->error, "HTTP %d: %s", s->status, line);
        return;
    }
    if (strncmp(line, "data:", 5) != 0 || strstr(line, "[DONE]"))
        return;
    json_t *event = json_loads(line + 5, JSON_ALLOW_NUL, &ignored);
    if (event)
        take_tokens(s, tokens_of(event), at);
    if (json_object_get(event, "error"))
        snprintf(s->error, sizeof s->error, "%s", line + 5);
    json_decref(event);
}

static void take_body(struct stream *s, const char *data, size_t length, double at)
{
    char *end;
    buf_append(&s->line, data, length);
    while (s->line.length && (end = memchr(s->line.data, '\n', s->line.length))) {
        *end = '\0';
        take_line(s, s->line.data, at);
        buf_consume(&s->line, (size_t)(end - s->line.data) + 1);
    }
}

static bool take_head(struct stream *s)
{
    char *end = s->raw.length ? strstr(s->raw.data, "\r\n\r\n") : NULL;
    if (!end || sscanf(s->raw.data, "HTTP/1.1 %d", &s->status) != 1)
        return false;
    *end = '\0';
    s->chunked = strcasestr(s->raw.data, "\r\ntransfer-encoding: chunked") != NULL;
    buf_consume(&s->raw, (size_t)(end - s->raw.data) + 4);
    return true;
}

/* One chunk's size line, or the data that is there of it; false when more must come. */
static bool take_chunk(struct stream *s, double at)
{
    if (s->chunk_left < 0) {
        char *end = s->raw.length ? memmem(s->raw.data, s->raw.length, "\r\n", 2) : NULL;
        if (!end)
            return false;
        s->chunk_left = strtol(s->raw.data, NULL, 16) + 2; /* and the line's end behind it */
        buf_consume(&s->raw, (size_t)(end - s->raw.data) + 2);
        return true;
    }
    if (s->raw.length == 0)
        return false;
    size_t left = (size_t)s->chunk_left, count = s->raw.length < left ? s->raw.length : left;
    size_t data = left - count >= 2 ? count : left > 2 ? left - 2 : 0;
    take_body(s, s->raw.data, data, at);
    buf_consume(&s->raw, count);
    s->chunk_left = left == count ? -1 : (long)(left - count);
    return true;
}

static void receive(struct stream *s)
{
    char bytes[16384];
    ssize_t got = recv(s->fd, bytes, sizeof bytes, 0);
    double at = now_ms();
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got > 0) {
        buf_append(&s->raw, bytes, (size_t)got);
        if (!s->status && !take_head(s))
            return;
        while (s->chunked && take_chunk(s, at))
            continue;
        if (!s->chunked) {
            take_body(s, s->raw.data, s->raw.length, at);
            buf_clear(&s->raw);
        }
        return;
    }
    if (s->line.length)
        take_body(s, "\n", 1, at);
    finish(s, got < 0 ? strerror(errno) : s->status ? NULL : "closed without an answer");
}

static void transmit(struct stream *s)
{
    ssize_t sent = send(s->fd, s->request.data + s->written, s->request.length - s->written, MSG_NOSIGNAL);
    if (sent > 0)
        s->written += (size_t)sent;
    else if (errno != EAGAIN && errno != EINTR)
        finish(s, strerror(errno));
}

/* ---- the whole ---- */

/* Begin what is due; the milliseconds until the next one is, or -1 when all are over. */
static int begin_due(struct stream *streams, int count, const struct sockaddr_in *to)
{
    double now = now_ms(), next = 1000;
    bool open = false;
    for (int i = 0; i < count; i++) {
        struct stream *s = &streams[i];
        if (!s->begun && s->at_ms <= now)
            begin(s, to);
        if (!s->begun && s->at_ms - now < next)
            next = s->at_ms - now;
        open |= !s->over;
    }
    return open ? (int)next + 1 : -1;
}

static void run(struct stream *streams, int count, const struct sockaddr_in *to)
{
    struct pollfd fds[STREAMS_MAX];
    int wait;
    start_ms = clock_ms();
    while ((wait = begin_due(streams, count, to)) >= 0) {
        for (int i = 0; i < count; i++) {
            bool sending = streams[i].written < streams[i].request.length;
            fds[i] = (struct pollfd){.fd = streams[i].fd, .events = sending ? POLLOUT : POLLIN};
        }
        if (poll(fds, (nfds_t)count, wait) < 0 && errno != EINTR)
            bench_fail("poll: %m");
        for (int i = 0; i < count; i++) {
            if (fds[i].fd >= 0 && fds[i].revents & POLLOUT)
                transmit(&streams[i]);
            else if (fds[i].fd >= 0 && fds[i].revents)
                receive(&streams[i]);
        }
        if (now_ms() > SECONDS_MAX * 1000.0)
            bench_fail("not over after %d s", SECONDS_MAX);
    }
}

static void print(struct stream *s)
{
    json_t *times = json_array();
    for (int i = 0; i < s->tokens; i++)
        json_array_append_new(times, json_real(s->token_ms[i]));
    json_t *result = json_pack("{s:s, s:i, s:f, s:f, s:o, s:s}", "label", s->label, "status", s->status,
                               "sent_ms", s->sent_ms, "end_ms", s->end_ms, "at_ms", times, "error", s->error);
    if (!result || json_dumpf(result, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)) != 0)
        bench_fail("cannot write a result");
    putchar('\n');
    json_decref(result);
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"address", required_argument, NULL, 'a'}, {0}};
    static struct stream streams[STREAMS_MAX];
    struct sockaddr_in to = {.sin_family = AF_INET};
    char address[64] = "", host[64];
    unsigned short port = 0;
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;)
        if (c == 'a')
            snprintf(address, sizeof address, "%s", optarg);
    if (sscanf(address, "%63[0-9.]:%hu", host, &port) != 2 || inet_pton(AF_INET, host, &to.sin_addr) != 1)
        bench_fail("--address 127.0.0.1:PORT is wanted");
    to.sin_port = htons(port);
    int count = read_requests(streams, address);
    run(streams, count, &to);
    for (int i = 0; i < count; i++) {
        print(&streams[i]);
        free(streams[i].label);
        free(streams[i].token_ms);
        buf_fini(&streams[i].request);
        buf_fini(&streams[i].raw);
        buf_fini(&streams[i].line);
    }
    return 0;
}
