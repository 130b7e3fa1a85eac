/* What a rendering takes and may not exceed: its memory, its steps, how deep it is nested, and the line of
 * the template that it is at, for messages. Values live in its arena, which is overwritten and freed as a
 * whole. Belongs to the one thread that renders. Knows neither the template nor its names. */
#pragma once
#include <stdint.h>

#include "core/base/arena.h"
#include "core/base/buf.h"
#include "core/base/err.h"

struct context { /* zero-initialize; set arena.bytes_max, steps_max and e */
    struct arena arena;
    uint64_t steps, steps_max;
    int depth, line;
    struct err *e;
};

/* "chat_template_failed", with the line. */
int context_fail(struct context *c, const char *format, ...) __attribute__((format(printf, 2, 3)));
MUST_USE int context_work(struct context *c, size_t steps); /* count them */
MUST_USE int context_bytes(struct context *c,
                           size_t length);     /* count the steps for looking at so many bytes */
MUST_USE int context_enter(struct context *c); /* one deeper, until context_leave */
void context_leave(struct context *c);
void *context_alloc(struct context *c, size_t size); /* not initialized; NULL: the error is set */
/* Append to a text that the template writes: it is bounded, and each byte is work. */
MUST_USE int context_append(struct context *c, struct buf *out, const char *data, size_t length);
