/* Values as text, as Python's str() and repr() write them. */
#pragma once
#include "core/template/values/value.h"

/* Append str(v), as {{ }} does, or repr(v). */
MUST_USE int value_print(struct context *c, struct value v, struct buf *out);
MUST_USE int value_repr(struct context *c, struct value v, struct buf *out);
/* str(v) as a value; of a string itself. */
MUST_USE int value_to_string(struct context *c, struct value v, struct string *out);
/* Append a float as Python prints it. */
MUST_USE int value_print_float(struct context *c, double d, struct buf *out);
