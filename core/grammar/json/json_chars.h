/* Characters as JSON writes them within a string (RFC 8259, section 7). Owns nothing. */
#pragma once
#include "core/grammar/grammar.h"

/* One character of the ranges, as it is where that may be, otherwise with the shortest escape. */
int json_chars(struct grammar *g, const struct grammar_range *ranges, size_t count);
/* The same, but for those that need an escape. */
int json_chars_plain(struct grammar *g, const struct grammar_range *ranges, size_t count);
/* Any one character in any of its spellings; a pair of surrogates is one character. */
int json_chars_any(struct grammar *g);
/* `text` (valid UTF-8) as it stands between quotation marks. */
int json_chars_text(struct grammar *g, const char *text, size_t length);
