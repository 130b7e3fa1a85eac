#include "core/template/values/context.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "core/template/values/limits.h"

int context_fail(struct context *c, const char *format, ...)
{
    char what[400];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof what, format, arguments);
    va_end(arguments);
    err_set(c->e, "chat_template_failed", "the model's chat template, line %d: %s", c->line, what);
    explicit_bzero(what, sizeof what);
    return -1;
}

int context_work(struct context *c, size_t steps)
{
    if (steps > c->steps_max - c->steps)
        return context_fail(c, "it takes more than %llu steps for these messages",
                            (unsigned long long)c->steps_max);
    c->steps += steps;
    return 0;
}

int context_bytes(struct context *c, size_t length)
{
    return context_work(c, length / 32);
}

int context_enter(struct context *c)
{
    if (c->depth == TEMPLATE_DEPTH_MAX)
        return context_fail(c, "nested more than %d deep", TEMPLATE_DEPTH_MAX);
    c->depth++;
    return context_work(c, 1);
}

void context_leave(struct context *c)
{
    c->depth--;
}

void *context_alloc(struct context *c, size_t size)
{
    void *out = arena_alloc(&c->arena, size);
    if (!out && c->arena.full)
        context_fail(c, "it takes more than %zu bytes of memory for these messages", c->arena.bytes_max);
    else if (!out)
        err_memory(c->e);
    return out;
}

int context_append(struct context *c, struct buf *out, const char *data, size_t length)
{
    if (out->length > TEMPLATE_OUTPUT_BYTES_MAX || length > TEMPLATE_OUTPUT_BYTES_MAX - out->length)
        return context_fail(c, "the text is longer than %d bytes", TEMPLATE_OUTPUT_BYTES_MAX);
    if (context_bytes(c, length) != 0)
        return -1;
    return buf_append(out, data, length) == 0 ? 0 : err_memory(c->e);
}
