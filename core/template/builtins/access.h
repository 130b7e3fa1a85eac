/* What values have: attributes, items, methods. As in Jinja2, what is missing is VALUE_UNDEFINED. */
#pragma once
#include "core/template/values/value.h"

/* of.name; methods come before the keys of a dict. */
MUST_USE int access_attribute(struct context *c, struct value of, struct string name, struct value *out);
/* of[key] */
MUST_USE int access_subscript(struct context *c, struct value of, struct value key, struct value *out);
/* "a.b.0" of a value, item by item; `otherwise`, where given, takes the place of what is missing. */
MUST_USE int access_path(struct context *c, struct value of, struct value path, struct value otherwise,
                         struct value *out);
