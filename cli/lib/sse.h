/* Server-sent events out of bytes that come in any pieces (WHATWG HTML, section 9.2). The caller's storage;
 * zero it before, sse_fini after. Memory is bounded by SSE_EVENT_BYTES_MAX. */
#pragma once
#include "core/base/buf.h"
#include "core/base/err.h"

enum { SSE_EVENT_BYTES_MAX = 4 << 20 };

struct sse {
    struct buf line, data; /* what is incomplete yet */
    char event[32];
};

/* Called once per event; `event` is "" unless the stream named it. Nonzero, with *e filled, breaks off. */
typedef int sse_on_event(void *arg, const char *event, const char *data, size_t length, struct err *e);

MUST_USE int sse_feed(struct sse *s, const char *bytes, size_t length, sse_on_event *on_event, void *arg,
                      struct err *e);
void sse_fini(struct sse *s);
