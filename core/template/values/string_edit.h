/* New strings from strings, in the arena of a rendering: what Python's replace, split, rsplit and splitlines
 * make of a str. */
#pragma once
#include "core/template/values/value.h"

/* `count` places at most; negative: all. */
MUST_USE int string_replace(struct context *c, struct string s, struct string old, struct string new,
                            int64_t count, struct value *out);
/* A list; `separator` NULL: words, between white space; `max` cuts at most, negative: all. */
MUST_USE int string_split(struct context *c, struct string s, const struct value *separator, int64_t max,
                          bool from_right, struct value *out);
MUST_USE int string_lines(struct context *c, struct string s, bool keep_ends, struct value *out);
