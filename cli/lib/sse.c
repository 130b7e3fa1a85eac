#include "cli/lib/sse.h"

#include <stdio.h>
#include <string.h>

static int add_data(struct sse *s, const char *value, size_t length, struct err *e)
{
    if (s->data.length + length > SSE_EVENT_BYTES_MAX)
        return err_set(e, "answer_too_large", "an event of the stream is larger than %d bytes",
                       SSE_EVENT_BYTES_MAX);
    if (buf_append(&s->data, value, length) != 0 || buf_append(&s->data, "\n", 1) != 0)
        return err_memory(e);
    return 0;
}

static int end_event(struct sse *s, sse_on_event *on_event, void *arg, struct err *e)
{
    int result = 0;
    if (s->data.length > 0) {
        s->data.data[--s->data.length] = '\0';
        result = on_event(arg, s->event, s->data.data, s->data.length, e);
    }
    buf_clear(&s->data);
    s->event[0] = '\0';
    return result;
}

static int take_line(struct sse *s, const char *line, size_t length, sse_on_event *on_event, void *arg,
                     struct err *e)
{
    if (length > 0 && line[length - 1] == '\r')
        length--;
    if (length == 0)
        return end_event(s, on_event, arg, e);
    const char *colon = memchr(line, ':', length);
    size_t name = colon ? (size_t)(colon - line) : length;
    const char *value = colon ? colon + 1 : line + length;
    size_t size = length - (size_t)(value - line);
    if (size > 0 && *value == ' ') {
        value++;
        size--;
    }
    if (name == 4 && memcmp(line, "data", 4) == 0)
        return add_data(s, value, size, e);
    if (name == 5 && memcmp(line, "event", 5) == 0)
        snprintf(s->event, sizeof s->event, "%.*s",
                 (int)(size < sizeof s->event ? size : sizeof s->event - 1), value);
    return 0; /* comments and fields that do not matter here */
}

int sse_feed(struct sse *s, const char *bytes, size_t length, sse_on_event *on_event, void *arg,
             struct err *e)
{
    while (length > 0) {
        const char *end = memchr(bytes, '\n', length);
        size_t size = end ? (size_t)(end - bytes) : length;
        if (s->line.length + size > SSE_EVENT_BYTES_MAX)
            return err_set(e, "answer_too_large", "a line of the stream is longer than %d bytes",
                           SSE_EVENT_BYTES_MAX);
        if (buf_append(&s->line, bytes, size) != 0)
            return err_memory(e);
        if (end) {
            const char *line = s->line.data ? s->line.data : "";
            if (take_line(s, line, s->line.length, on_event, arg, e) != 0)
                return -1;
            buf_clear(&s->line);
        }
        size += end != NULL;
        bytes += size;
        length -= size;
    }
    return 0;
}

void sse_fini(struct sse *s)
{
    buf_fini(&s->line);
    buf_fini(&s->data);
}
