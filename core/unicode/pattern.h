/* Patterns that split or replace: a literal string, or a regular expression in the syntax of Oniguruma (which
 * the `tokenizers` library uses), matched by PCRE2 with the same meaning. Read-only once made: any thread may
 * use it, each with its own struct pattern_work. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

struct pattern;
struct pattern_work; /* one thread's memory for matching */

/* `regex` is valid UTF-8. Error "tokenizer_unsupported" names a construct whose meaning here would not surely
 * be the same. */
MUST_USE int pattern_new_regex(struct pattern **out, const char *regex, size_t length, struct err *e);
MUST_USE int pattern_new_literal(struct pattern **out, const char *text, size_t length,
                                 struct err *e); /* length > 0 */
void pattern_free(struct pattern *p);
bool pattern_can_be_empty(const struct pattern *p); /* it may match nothing between two characters */

MUST_USE int pattern_work_new(struct pattern_work **out, struct err *e);
void pattern_work_free(struct pattern_work *w);

struct pattern_scan { /* one pass over one text, which it borrows */
    const struct pattern *pattern;
    struct pattern_work *work;
    const char *text; /* valid UTF-8 */
    size_t length, at, last_end;
    bool matched;
};
void pattern_scan_init(struct pattern_scan *s, const struct pattern *p, struct pattern_work *w,
                       const char *text, size_t length);
/* The next match from the left: 1, 0 at the end, -1 on error ("tokenizer_split_failed": it needs too much
 * work). */
MUST_USE int pattern_scan_next(struct pattern_scan *s, size_t *start, size_t *end, struct err *e);
