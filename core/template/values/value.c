#include "core/template/values/value.h"

#include <string.h>

#include "core/base/utf8.h"

int value_fail_undefined(struct context *c, struct value v)
{
    struct string what = v.string;
    return context_fail(c, "\"%.*s\" is undefined", (int)(what.length < 100 ? what.length : 100),
                        what.data ? what.data : "");
}

const char *value_kind_name(struct value v)
{
    static const char *const names[] = {
        [VALUE_UNDEFINED] = "Undefined", [VALUE_NONE] = "NoneType",      [VALUE_BOOL] = "bool",
        [VALUE_INTEGER] = "int",         [VALUE_FLOAT] = "float",        [VALUE_STRING] = "str",
        [VALUE_LIST] = "list",           [VALUE_TUPLE] = "tuple",        [VALUE_RANGE] = "range",
        [VALUE_KEYS] = "dict_keys",      [VALUE_VALUES] = "dict_values", [VALUE_ITEMS] = "dict_items",
        [VALUE_GENERATOR] = "generator", [VALUE_DICT] = "dict",          [VALUE_NAMESPACE] = "Namespace",
        [VALUE_LOOP] = "LoopContext",    [VALUE_MACRO] = "Macro",        [VALUE_FUNCTION] = "function",
        [VALUE_METHOD] = "method"};
    return names[v.kind];
}

bool value_is_list(struct value v)
{
    return v.kind >= VALUE_LIST && v.kind <= VALUE_GENERATOR;
}

bool value_is_number(struct value v)
{
    return v.kind >= VALUE_BOOL && v.kind <= VALUE_FLOAT;
}

bool value_truth(struct value v)
{
    switch (v.kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return false;
    case VALUE_BOOL:
        return v.boolean;
    case VALUE_INTEGER:
        return v.integer != 0;
    case VALUE_FLOAT:
        return v.number != 0;
    case VALUE_STRING:
        return v.string.length > 0;
    case VALUE_DICT:
        return v.dict->count > 0;
    case VALUE_GENERATOR:
        return true;
    default:
        return !value_is_list(v) || v.list->count > 0;
    }
}

double value_as_float(struct value v)
{
    return v.kind == VALUE_FLOAT ? v.number : v.kind == VALUE_BOOL ? v.boolean : (double)v.integer;
}

bool value_as_integer(struct value v, int64_t *out)
{
    if (v.kind != VALUE_INTEGER && v.kind != VALUE_BOOL)
        return false;
    *out = v.kind == VALUE_BOOL ? v.boolean : v.integer;
    return true;
}

/* ---- comparing ---- */

static bool numbers_equal(struct value a, struct value b)
{
    int64_t x, y;
    if (value_as_integer(a, &x) && value_as_integer(b, &y))
        return x == y;
    return value_as_float(a) == value_as_float(b);
}

static int lists_equal(struct context *c, const struct list *a, const struct list *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; i < a->count && *out; i++)
        if (value_equal(c, a->items[i], b->items[i], out) != 0)
            return -1;
    return 0;
}

static int dicts_equal(struct context *c, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; i < a->count && *out; i++) {
        if (context_work(c, b->count) != 0)
            return -1;
        struct value *other;
        if (value_find(c, b, a->entries[i].key, &other) != 0)
            return -1;
        *out = other != NULL;
        if (other && value_equal(c, a->entries[i].value, *other, out) != 0)
            return -1;
    }
    return 0;
}

static int same_kind_equal(struct context *c, struct value a, struct value b, bool *out)
{
    *out = true;
    switch (a.kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return 0;
    case VALUE_STRING:
        *out =
            a.string.length == b.string.length && memcmp(a.string.data, b.string.data, a.string.length) == 0;
        return context_bytes(c, a.string.length);
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
        return lists_equal(c, a.list, b.list, out);
    case VALUE_DICT:
        return dicts_equal(c, a.dict, b.dict, out);
    default:
        *out = a.list == b.list; /* loops, macros, functions and views are equal to themselves alone */
        return 0;
    }
}

int value_equal(struct context *c, struct value a, struct value b, bool *out)
{
    if (value_is_number(a) && value_is_number(b)) {
        *out = numbers_equal(a, b);
        return context_work(c, 1);
    }
    if (a.kind != b.kind) {
        *out = false;
        return context_work(c, 1);
    }
    if (context_enter(c) != 0)
        return -1;
    int result = same_kind_equal(c, a, b, out);
    context_leave(c);
    return result;
}

/* ---- going through ---- */

static int string_items(struct context *c, struct string s, struct list *out)
{
    struct value v;
    size_t at = 0, size;
    if (context_work(c, s.length) != 0 || value_new_list(c, VALUE_LIST, string_count(s), &v) != 0)
        return -1;
    for (size_t i = 0; i < v.list->count; i++, at += size) {
        size = utf8_size(s.data[at]);
        v.list->items[i] = value_string((struct string){s.data + at, size});
    }
    *out = *v.list;
    return 0;
}

int value_items(struct context *c, struct value v, struct list *out)
{
    struct value keys;
    switch (v.kind) {
    case VALUE_UNDEFINED:
        *out = (struct list){0};
        return 0;
    case VALUE_STRING:
        if (v.safe)
            return context_fail(c, "characters of what went through \"safe\" are not supported");
        return string_items(c, v.string, out);
    case VALUE_DICT:
        if (value_new_view(c, VALUE_KEYS, v.dict, &keys) != 0)
            return -1;
        *out = *keys.list;
        return 0;
    case VALUE_GENERATOR:
        *out = *v.list;
        *v.list = (struct list){0};
        return 0;
    default:
        if (!value_is_list(v))
            return context_fail(c, "%s cannot be iterated", value_kind_name(v));
        *out = *v.list;
        return 0;
    }
}

/* ---- making ---- */

int value_new_list(struct context *c, enum value_kind kind, size_t count, struct value *out)
{
    struct list *l = context_work(c, count / 8) == 0 ? context_alloc(c, sizeof *l) : NULL;
    struct value *items = l ? context_alloc(c, count * sizeof *items) : NULL;
    if (!items)
        return -1;
    *l = (struct list){count, items};
    *out = (struct value){.kind = kind, .list = l};
    return 0;
}

int value_take(struct context *c, struct buf *text, struct value *out)
{
    size_t length = text->length;
    char *copy = context_bytes(c, length) == 0 ? context_alloc(c, length + 1) : NULL;
    if (copy && length)
        memcpy(copy, text->data, length);
    buf_fini(text);
    if (!copy)
        return -1;
    *out = value_string((struct string){copy, length});
    return 0;
}

int value_new_dict(struct context *c, enum value_kind kind, size_t capacity, struct value *out)
{
    struct dict *d = context_alloc(c, sizeof *d);
    struct entry *entries = d ? context_alloc(c, capacity * sizeof *entries) : NULL;
    if (!entries)
        return -1;
    *d = (struct dict){0, capacity, entries};
    *out = (struct value){.kind = kind, .dict = d};
    return 0;
}

int value_new_view(struct context *c, enum value_kind kind, const struct dict *d, struct value *out)
{
    if (value_new_list(c, kind, d->count, out) != 0)
        return -1;
    for (size_t i = 0; i < d->count; i++) {
        struct value *item = &out->list->items[i];
        if (kind != VALUE_ITEMS) {
            *item = kind == VALUE_KEYS ? d->entries[i].key : d->entries[i].value;
            continue;
        }
        if (value_new_list(c, VALUE_TUPLE, 2, item) != 0)
            return -1;
        item->list->items[0] = d->entries[i].key;
        item->list->items[1] = d->entries[i].value;
    }
    return 0;
}

int value_find(struct context *c, const struct dict *d, struct value key, struct value **out)
{
    bool same = false;
    size_t i = 0;
    for (; i < d->count && !same; i++)
        if (value_equal(c, d->entries[i].key, key, &same) != 0)
            return -1;
    *out = same ? &d->entries[i - 1].value : NULL;
    return 0;
}

static int grow(struct context *c, struct dict *d)
{
    size_t capacity = 2 * d->capacity + 4;
    struct entry *entries = context_alloc(c, capacity * sizeof *entries);
    if (!entries)
        return -1;
    if (d->count)
        memcpy(entries, d->entries, d->count * sizeof *entries);
    d->entries = entries;
    d->capacity = capacity;
    return 0;
}

int value_check_key(struct context *c, struct value v)
{
    if (v.kind == VALUE_LIST || v.kind == VALUE_DICT)
        return context_fail(c, "%s cannot be a key", value_kind_name(v));
    if (v.kind != VALUE_TUPLE)
        return 0;
    if (context_enter(c) != 0)
        return -1;
    for (size_t i = 0; i < v.list->count; i++)
        if (value_check_key(c, v.list->items[i]) != 0)
            return -1;
    context_leave(c);
    return 0;
}

int value_put(struct context *c, struct dict *d, struct value key, struct value value)
{
    struct value *there;
    if (value_check_key(c, key) != 0 || context_work(c, d->count) != 0 || value_find(c, d, key, &there) != 0)
        return -1;
    if (there) {
        *there = value;
        return 0;
    }
    if (d->count == d->capacity && grow(c, d) != 0)
        return -1;
    d->entries[d->count++] = (struct entry){key, value};
    return 0;
}
