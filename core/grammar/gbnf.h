/* Grammars as people write them for llama.cpp (GBNF), which docs/structured-output.md describes: rules `name
 * ::= ...` of texts in quotation marks, classes of characters in brackets, a dot for any character, names of
 * rules, groups, alternatives, and the repetitions * + ? {m} {m,} {m,n}. Owns nothing; any thread. */
#pragma once
#include "core/grammar/grammar.h"

enum { GBNF_BYTES_MAX = 64 << 10, GBNF_DEPTH_MAX = 100 };

/* Texts begin with the rule "root", the first that is made: the grammar's own where `g` is new. Errors:
 * "grammar_malformed" with line and column, those of grammar_check. */
MUST_USE int gbnf_grammar(struct grammar *g, const char *text, size_t length, struct err *e);
