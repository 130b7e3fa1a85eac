/* Methods of Python's str and dict. */
#pragma once
#include "core/template/builtins/builtin.h"

bool methods_known(struct string name); /* of any type */
/* The method of a value, *out NULL: none. An error where Python has one that is missing here. */
MUST_USE int methods_find(struct context *c, struct value self, struct string name,
                          const struct method **out);
