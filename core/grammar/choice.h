/* One of some texts, as a grammar. Owns nothing; any thread. */
#pragma once
#include "core/grammar/grammar.h"

enum { CHOICE_TEXTS_MAX = 10000 };

struct choice_text {
    const char *bytes; /* valid UTF-8 */
    size_t length;
};

/* Texts begin with the rule "root", the first that is made: the grammar's own where `g` is new. Errors:
 * "choice_malformed" (none, too many, an empty one, no UTF-8), those of grammar_check. */
MUST_USE int choice_grammar(struct grammar *g, const struct choice_text *texts, size_t count, struct err *e);
