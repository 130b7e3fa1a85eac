/* The values of templates, which are Python's. They live in the arena of their rendering (constants in that
 * of their template) and never change, but for namespaces and generators. Functions take the rendering's
 * context for its memory, its limits and its errors; they return 0 or -1. */
#pragma once
#include "core/template/values/context.h"
#include "core/template/values/string.h"

enum value_kind {
    VALUE_UNDEFINED, /* string: what is undefined */
    VALUE_NONE,
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_FLOAT,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_TUPLE,
    VALUE_RANGE,
    VALUE_KEYS, /* views of a dict */
    VALUE_VALUES,
    VALUE_ITEMS,
    VALUE_GENERATOR, /* iterated once, by whoever comes first */
    VALUE_DICT,
    VALUE_NAMESPACE,
    VALUE_LOOP,
    VALUE_MACRO,
    VALUE_FUNCTION,
    VALUE_METHOD
};

struct value {
    enum value_kind kind;
    bool safe; /* a string that went through "safe": what would escape others because of it is refused */
    union {
        bool boolean;
        int64_t integer;
        double number;
        struct string string;
        struct list *list; /* VALUE_LIST to VALUE_GENERATOR */
        struct dict *dict; /* VALUE_DICT, VALUE_NAMESPACE */
        struct loop *loop;
        const struct macro *macro;
        const struct function *function;
        const struct bound *bound; /* VALUE_METHOD */
    };
};

struct list {
    size_t count;
    struct value *items;
};

struct entry {
    struct value key, value;
};
struct dict { /* in order of insertion */
    size_t count, capacity;
    struct entry *entries;
};

static inline struct value value_bool(bool b)
{
    return (struct value){.kind = VALUE_BOOL, .boolean = b};
}
static inline struct value value_integer(int64_t i)
{
    return (struct value){.kind = VALUE_INTEGER, .integer = i};
}
static inline struct value value_float(double d)
{
    return (struct value){.kind = VALUE_FLOAT, .number = d};
}
static inline struct value value_string(struct string s)
{
    return (struct value){.kind = VALUE_STRING, .string = s};
}
static inline struct value value_undefined(struct string what)
{
    return (struct value){.kind = VALUE_UNDEFINED, .string = what};
}

/* The error that `v` is undefined. */
int value_fail_undefined(struct context *c, struct value v);

const char *value_kind_name(struct value v); /* Python's: "str", "NoneType" */
bool value_is_list(struct value v);          /* has a `list` */
bool value_is_number(struct value v);        /* int, float, bool */
bool value_truth(struct value v);
double value_as_float(struct value v);               /* of a number */
bool value_as_integer(struct value v, int64_t *out); /* int or bool */

/* a == b, as in Python. */
MUST_USE int value_equal(struct context *c, struct value a, struct value b, bool *out);
/* What a loop over `v` goes through; uses a generator up. */
MUST_USE int value_items(struct context *c, struct value v, struct list *out);

MUST_USE int value_new_list(struct context *c, enum value_kind kind, size_t count, struct value *out);
MUST_USE int value_new_dict(struct context *c, enum value_kind kind, size_t capacity, struct value *out);
/* What a dict holds: VALUE_KEYS, VALUE_VALUES or VALUE_ITEMS. */
MUST_USE int value_new_view(struct context *c, enum value_kind kind, const struct dict *d, struct value *out);
MUST_USE int value_put(struct context *c, struct dict *d, struct value key, struct value value);
/* An error unless `v` can be a key: lists and dicts cannot, nor tuples with such in them. */
MUST_USE int value_check_key(struct context *c, struct value v);
/* *out: what the dict has under this key; NULL: there is no such key. */
MUST_USE int value_find(struct context *c, const struct dict *d, struct value key, struct value **out);

/* The buffer's text as a string; empties the buffer in any case. */
MUST_USE int value_take(struct context *c, struct buf *text, struct value *out);
