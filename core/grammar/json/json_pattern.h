/* Regular expressions over the characters of a JSON string, with a bounded number of them. Owns nothing. */
#pragma once
#include "core/grammar/grammar.h"

enum { JSON_PATTERN_STATES_MAX = 1 << 22 }; /* of the expression, times lengths */

/* A node for what stands between the quotation marks: texts in which the pattern matches (regex_search), of
 * min..max characters (max -1: no limit). GRAMMAR_BAD: refused, with the errors of regex_search or
 * "grammar_too_large"; or grammar_check of `g` knows. */
int json_pattern(struct grammar *g, const char *pattern, size_t length, int min, int max, struct err *e);
/* Does the pattern match somewhere in `text` (UTF-8)? 1, 0, or -1 with the errors above. */
int json_pattern_matches(const char *pattern, const char *text, struct err *e);
