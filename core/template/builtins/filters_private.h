/* The filters of the table in filters.c: each file has those of one kind of value. */
#pragma once
#include "core/template/builtins/builtin.h"

#define FILTER(name) \
    int filter_##name(struct context *c, struct value in, const struct arguments *a, struct value *out)

/* filters_text.c */
FILTER(trim);
FILTER(upper);
FILTER(lower);
FILTER(title);
FILTER(capitalize);
FILTER(string);
FILTER(replace);
FILTER(safe);
FILTER(indent);

/* filters_number.c */
FILTER(int);
FILTER(float);
FILTER(abs);

/* filters_sequence.c */
FILTER(length);
FILTER(default);
FILTER(list);
FILTER(first);
FILTER(last);
FILTER(items);
FILTER(dictsort);
FILTER(sort);
FILTER(unique);
FILTER(reverse);
FILTER(join);

/* So many spaces. */
MUST_USE int filter_spaces(struct context *c, int64_t count, struct value *out);
