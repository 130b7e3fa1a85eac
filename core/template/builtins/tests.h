/* Tests of Jinja2: "is defined". */
#pragma once
#include "core/template/builtins/builtin.h"

const struct test *tests_find(struct string name); /* NULL: it is not supported */
