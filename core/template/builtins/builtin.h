/* What a filter, test, function or method is, and what it is called with. All of them are tables that never
 * change; a compiled template points into them. */
#pragma once
#include "core/template/values/value.h"

/* What it takes: names in order, NULL-terminated, of which the first `required` must be given. */
enum { PARAMETERS_MAX = 4 };
struct signature {
    const char *names[PARAMETERS_MAX + 1];
    int required;
};

/* Arguments by parameter; VALUE_UNDEFINED with string.data NULL: not given. */
struct arguments {
    struct value values[PARAMETERS_MAX];
};
static inline bool argument_given(struct value v)
{
    return v.kind != VALUE_UNDEFINED || v.string.data;
}
static inline bool argument_none(struct value v) /* or not given */
{
    return v.kind == VALUE_NONE || !argument_given(v);
}
static inline struct value argument_or(struct value v, struct value otherwise)
{
    return argument_given(v) ? v : otherwise;
}

struct filter {
    const char *name;
    struct signature signature;
    int (*apply)(struct context *c, struct value in, const struct arguments *a, struct value *out);
    bool takes_safe; /* it gives the same for strings that went through "safe" */
};
struct test {
    const char *name;
    struct signature signature;
    int (*apply)(struct context *c, struct value in, const struct arguments *a, bool *out);
};
struct function {
    const char *name;
    struct signature signature;
    bool any_names; /* takes whatever names; `named` is a dict of them */
    int (*call)(struct context *c, const struct arguments *a, struct dict *named, struct value *out);
};
struct method {
    const char *name;
    struct signature signature;
    int of; /* kinds of values, as methods.c numbers them */
    int (*call)(struct context *c, struct value self, const struct arguments *a, struct value *out);
};
struct bound { /* VALUE_METHOD */
    struct value self;
    const struct method *method;
};
