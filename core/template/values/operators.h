/* Operators of Jinja2, which are Python's. Integers have 64 bits here: what does not fit is an error. */
#pragma once
#include "core/template/values/value.h"

/* An operator of one or two characters as a number: '+', TWO('*', '*'); "in" is 'i', "not in" 'n'. */
#define TWO(a, b) ((a) | (b) << 8)

MUST_USE int operate(struct context *c, int symbol, struct value a, struct value b, struct value *out);
MUST_USE int operate_sign(struct context *c, int symbol, struct value a, struct value *out);
MUST_USE int operate_compare(struct context *c, int symbol, struct value a, struct value b, bool *out);
/* *out < 0, 0 or > 0; two numbers or two strings; *unordered: one is no number at all. */
MUST_USE int operate_order(struct context *c, struct value a, struct value b, int *out, bool *unordered);
/* of[a:b:c]; VALUE_NONE: left out. */
MUST_USE int operate_slice(struct context *c, struct value of, const struct value bounds[3],
                           struct value *out);
/* Negative from the end; false: there is none. */
bool operate_index(int64_t index, size_t count, size_t *out);
