/* Functions that templates call: Jinja2's range, dict and namespace, transformers' raise_exception and
 * strftime_now. */
#pragma once
#include "core/template/builtins/builtin.h"

const struct function *functions_find(struct string name); /* NULL: none of that name */
