/* What is known of a grammar's nodes before it is compiled: which can be empty, which can end at all, and how
 * deep the calls of rules go at least until they end. Also takes out what would make an automaton run in
 * circles without reading: repetitions of what may be empty, and left recursion, which is refused. */
#pragma once
#include "core/grammar/grammar.h"

struct analysis { /* owned; free with analysis_fini */
    int *need;    /* [node_count] calls within calls at least; -1: no text ever ends here */
};

/* Changes `g`: repetitions of what can be empty repeat what is not empty, in nodes that are added.
 * Errors: "grammar_undefined_rule", "grammar_left_recursive", "grammar_empty" (no text matches), those of
 * grammar_check. */
MUST_USE int analysis_run(struct analysis *a, struct grammar *g, struct err *e);
void analysis_fini(struct analysis *a);
