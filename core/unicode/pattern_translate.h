/* Regular expressions from the syntax of Oniguruma to that of PCRE2, with the same meaning. Owns nothing; any
 * thread. */
#pragma once
#include <stddef.h>

#include "core/base/buf.h"
#include "core/base/err.h"

/* Append `regex` in PCRE2's syntax. "tokenizer_unsupported" names a construct whose meaning there would not
 * surely be the same. */
MUST_USE int pattern_translate(const char *regex, size_t length, struct buf *out, struct err *e);
