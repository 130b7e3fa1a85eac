/* Expressions to values. An expression may call a macro, whose body is statements, whose expressions come
 * here again: run.c and evaluate.c know each other. */
#pragma once
#include "core/template/run.h"

MUST_USE int evaluate(struct run *r, const struct node *n, struct value *out);
