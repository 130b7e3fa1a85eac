/* How many examples an adapter answers exactly as their file has it. One thread. */
#pragma once
#include "cli/lib/commands.h"

enum { EXACT_EXAMPLES_MAX = 100 };

/* The first lines of the file at `path` that have an answer: of a conversation its last turn, a completion,
 * or the last run of labels. *all 0: there are none. Greedy, through /infer. */
MUST_USE int exact_count(struct context *c, const char *tenant, const char *adapter, const char *path,
                         int *right, int *all, struct err *e);
