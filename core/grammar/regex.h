/* Regular expressions as grammars: what JavaScript's, Python's and RE2's syntax have in common. What would
 * need more than a grammar (looking around, back references, word boundaries) is refused. Owns nothing; any
 * thread.
 *
 * \d, \w and \s are the ASCII ones and \D, \W their complement within ASCII; \S leaves out whatever is a
 * space to anybody; a dot takes no end of a line. So a text that is written matches in each of those
 * languages. */
#pragma once
#include "core/grammar/grammar.h"

enum { REGEX_BYTES_MAX = 64 << 10, REGEX_DEPTH_MAX = 100, REGEX_RANGES_MAX = 256 /* of one class */ };

/* A node for the whole texts that match: anchors at the ends are taken and mean nothing. It is made of CHARS,
 * ALL, ANY and REPEAT alone, so that one CHARS is one character. GRAMMAR_BAD: refused, "regex_malformed",
 * "regex_unsupported", or grammar_check knows. */
int regex_whole(struct grammar *g, const char *pattern, size_t length, struct err *e);
/* The texts that match somewhere, unless anchors say where, as "pattern" in JSON Schema means it. */
int regex_search(struct grammar *g, const char *pattern, size_t length, struct err *e);

/* Texts begin with the rule "root", the first that is made: the grammar's own where `g` is new. Errors: those
 * above, those of grammar_check. */
MUST_USE int regex_grammar(struct grammar *g, const char *pattern, size_t length, struct err *e);
