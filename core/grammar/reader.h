/* Where one stands in the text of a grammar or an expression while it becomes a grammar. The caller's
 * storage; one thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "core/base/err.h"

struct grammar;

struct reader {
    struct grammar *g;
    const char *text;
    size_t length, at;
    int depth;
    bool search; /* an expression's: it may begin and end anywhere */
    bool failed; /* *e is filled */
    struct err *e;
};

static inline bool reader_more(const struct reader *r)
{
    return r->at < r->length;
}

static inline bool reader_is_next(const struct reader *r, const char *text)
{
    size_t length = strlen(text);
    return r->length - r->at >= length && memcmp(r->text + r->at, text, length) == 0;
}

/* Moves behind the text where it stands next. */
static inline bool reader_take(struct reader *r, const char *text)
{
    bool found = reader_is_next(r, text);
    if (found)
        r->at += strlen(text);
    return found;
}
