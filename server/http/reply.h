/* The only ways out of a handler. Each fills the request's reply and wakes it; http.c sends it. Any thread,
 * once per request. Here alone error codes become HTTP statuses. */
#pragma once
#include <jansson.h>

#include "server/http/request.h"

/* Takes the reference to `body`; NULL (memory ran out while it was built) becomes an error. */
void reply_json(struct request *r, int status, json_t *body);
void reply_empty(struct request *r);        /* 204 */
void reply_not_modified(struct request *r); /* 304, with the etag that is set */
void reply_error(struct request *r, const struct err *e);
/* 200 with the adapter's ETag, by its active version (NULL: none) and its body; 304 where a GET has it
 * already. */
void reply_adapter(struct request *r, const struct version *active, json_t *body);
/* The error of a lost compare-and-swap; "current" in it is the active version, null for "". */
void reply_conflict(struct request *r, const char *digest, const struct err *e);
/* 200 text/event-stream. `read` is called on the HTTP thread and gives a number of bytes, 0 after
 * request_sleep_locked, or one of the two below. */
enum { REPLY_STREAM_END = -1, REPLY_STREAM_BROKEN = -2 };
void reply_stream(struct request *r, ssize_t (*read)(struct request *r, char *out, size_t max));

/* Put an event of such a stream behind `out`. Consumes `event`, which may be NULL; -1: out of memory. */
MUST_USE int reply_print_event(struct buf *out, json_t *event);

/* The same for any other content: 200, `content_type` (static). */
void reply_stream_of(struct request *r, const char *content_type,
                     ssize_t (*read)(struct request *r, char *out, size_t max));

/* 200 with `body`, which is taken over; `content_type` (static). */
void reply_text(struct request *r, const char *content_type, struct buf *body);

/* The same with a document of the daemon's own (static), with an ETag; 304 where the client has it
 * already. */
void reply_document(struct request *r, const char *content_type, const char *text, size_t length);

/* The codes of errors, each with its status, one after the other; NULL behind the last. */
const char *reply_code(size_t i, int *status);
/* The status of a code; 500 for codes that no client can cause. */
int reply_status(const char *code);
/* {"error": {...}} as text, as the clients of this request expect it; 0, or -1 when memory ran out. */
int reply_format_error(const struct request *r, const struct err *e, struct buf *out);
/* How every JSON that leaves the daemon is printed: floats survive the trip. */
enum { REPLY_JSON_FLAGS = JSON_COMPACT | JSON_REAL_PRECISION(9) };
