/* Filters of Jinja2: "x | upper". */
#pragma once
#include "core/template/builtins/builtin.h"

const struct filter *filters_find(struct string name); /* NULL: it is not supported */
MUST_USE int filters_apply(struct context *c, const struct filter *f, struct value in,
                           const struct arguments *a, struct value *out);
