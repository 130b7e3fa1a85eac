/* The console's files, and the status that it shows. */
#include <stdio.h>
#include <string.h>

#include "server/console/handlers.h"
#include "server/console/pulse.h"
#include "server/console/status.h"
#include "server/console/status_stream.h"
#include "server/console/web_files.h"
#include "server/http/reply.h"

/* What a page of the console may do: load from here, talk to here, and be shown by nobody else. */
#define SAFETY                                                                                             \
    {"Content-Security-Policy",                                                                            \
     "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "               \
     "connect-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"},                   \
        {"X-Content-Type-Options", "nosniff"}, {"Referrer-Policy", "no-referrer"},                         \
        {"Cross-Origin-Opener-Policy", "same-origin"}, {"Cross-Origin-Resource-Policy", "same-origin"},    \
        {"Permissions-Policy", "camera=(), microphone=(), geolocation=()"}, {"Cache-Control", "no-cache"}, \
    {                                                                                                      \
        "Vary", "Accept-Encoding"                                                                          \
    }

static const struct reply_header plain_headers[] = {SAFETY, {NULL, NULL}};
static const struct reply_header gzip_headers[] = {SAFETY, {"Content-Encoding", "gzip"}, {NULL, NULL}};

static void send_file(struct request *r, const struct web_file *f)
{
    struct buf body = {0};
    struct err e;
    const char *text = r->takes_gzip ? f->gzip : f->text;
    size_t length = (size_t)((r->takes_gzip ? f->gzip_end : f->text_end) - text);
    snprintf(r->reply.etag, sizeof r->reply.etag, "\"%s%s\"", f->etag, r->takes_gzip ? "-gzip" : "");
    r->reply.more = r->takes_gzip ? gzip_headers : plain_headers;
    if (etag_listed(r->if_none_match, r->reply.etag)) {
        reply_not_modified(r);
    } else if (buf_append(&body, text, length) == 0) {
        reply_text(r, f->content_type, &body);
    } else {
        err_memory(&e);
        r->reply.more = NULL;
        reply_error(r, &e);
    }
}

static const struct web_file *find_file(const char *name)
{
    for (size_t i = 0; i < web_files_count; i++)
        if (strcmp(web_files[i].name, name) == 0)
            return &web_files[i];
    return NULL;
}

void route_console_page(struct request *r)
{
    send_file(r, find_file("index.html"));
}

void route_console_file(struct request *r)
{
    const struct web_file *f = find_file(r->path + sizeof "/console/" - 1);
    struct err e;
    if (f) {
        send_file(r, f);
        return;
    }
    err_set(&e, "not_found", "the console has no such file");
    reply_error(r, &e);
}

void route_console_status(struct request *r)
{
    const char *stream = query_text(&r->query, "stream");
    struct err e;
    if (!stream || strcmp(stream, "true") != 0)
        reply_json(r, 200, status_json(r));
    else if (status_stream_start(r, &e) != 0)
        reply_error(r, &e);
}

void route_console_history(struct request *r)
{
    struct buf body = {0};
    struct err e;
    if (pulse_print(r->server->pulse, &body) == 0) {
        reply_text(r, "application/json", &body);
        return;
    }
    buf_fini(&body);
    err_memory(&e);
    reply_error(r, &e);
}
