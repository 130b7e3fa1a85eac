/* Checks the arguments of a call against what is called, when both are known. Any thread. */
#pragma once
#include "core/template/syntax/node.h"

/* Whether these arguments (NODE_ARGUMENT) fit; refuses by name. `what`: "filter \"join\"". */
MUST_USE int signature_check(const struct signature *s, const struct node *arguments, const char *what,
                             int line, struct err *e);
/* The parameter of the argument `a`, which is the one at `at`; -1: there is none of that name. */
int signature_index(const struct signature *s, const struct node *a, int at);
