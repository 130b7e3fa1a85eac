/* Stretches of a rendered text: what blocks of {% generation %} wrote, which is what the assistant says.
 * Types and their memory only. */
#pragma once
#include <stddef.h>
#include <stdlib.h>

struct template_span {
    size_t from, to; /* bytes [from, to) of the text */
};

struct template_spans {          /* zero-initialize; free with template_spans_fini */
    struct template_span *items; /* owned, in order, none inside of another */
    size_t count, capacity;
};

static inline void template_spans_fini(struct template_spans *s)
{
    free(s->items);
    *s = (struct template_spans){0};
}
