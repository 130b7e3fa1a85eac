/* The values of templates, which are Python's. They live in the arena of their rendering (constants in that
 * of their template) and never change, but for namespaces and generators. Functions take the rendering for
 * its memory, its limits and its errors; they return 0 or -1. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/arena.h"

struct run;

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

struct string { /* UTF-8, may hold U+0000; sequences of code points */
    const char *data;
    size_t length; /* bytes */
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

#define STRING(text) ((struct string){(text), sizeof(text) - 1})

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
bool string_is(struct string s, const char *text);
int string_order(struct string a, struct string b); /* < 0, 0 or > 0 */

const char *value_kind_name(struct value v); /* Python's: "str", "NoneType" */
bool value_is_list(struct value v);          /* has a `list` */
bool value_is_number(struct value v);        /* int, float, bool */
bool value_truth(struct value v);
double value_as_float(struct value v);               /* of a number */
bool value_as_integer(struct value v, int64_t *out); /* int or bool */

/* a == b, as in Python. */
int value_equal(struct run *r, struct value a, struct value b, bool *out);
/* *out < 0, 0 or > 0; two numbers or two strings; *unordered: one is no number at all. */
int value_order(struct run *r, struct value a, struct value b, int *out, bool *unordered);
/* item in container */
int value_contains(struct run *r, struct value container, struct value item, bool *out);
int value_length(struct run *r, struct value v, int64_t *out);
/* What a loop over `v` goes through; uses a generator up. */
int value_items(struct run *r, struct value v, struct list *out);

int value_new_list(struct run *r, enum value_kind kind, size_t count, struct value *out);
int value_new_dict(struct run *r, enum value_kind kind, size_t capacity, struct value *out);
/* What a dict holds: VALUE_KEYS, VALUE_VALUES or VALUE_ITEMS. */
int value_new_view(struct run *r, enum value_kind kind, const struct dict *d, struct value *out);
int value_put(struct run *r, struct dict *d, struct value key, struct value value);
/* NULL: no such key. */
struct value *value_find(struct run *r, const struct dict *d, struct value key);

/* Append str(v), as {{ }} does, or repr(v). */
int value_print(struct run *r, struct value v, struct buf *out);
int value_repr(struct run *r, struct value v, struct buf *out);
/* str(v) as a value; of a string itself. */
int value_to_string(struct run *r, struct value v, struct string *out);
/* The buffer's text as a string; empties the buffer in any case. */
int value_take(struct run *r, struct buf *text, struct value *out);
/* Append a float as Python prints it. */
int value_print_float(struct run *r, double d, struct buf *out);

/* ---- template_json.c ---- */
int value_from_json(struct run *r, const json_t *json, struct value *out);
struct json_style {
    bool ascii, sorted, indented;
    struct string indent, between, colon;
};
int value_to_json(struct run *r, struct value v, const struct json_style *style, struct buf *out);
