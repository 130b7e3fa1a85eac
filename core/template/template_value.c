#include "core/template/template_value.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/template/template_run.h"
#include "core/base/utf8.h"

bool string_is(struct string s, const char *text)
{
    return strlen(text) == s.length && (s.length == 0 || memcmp(s.data, text, s.length) == 0);
}

int string_order(struct string a, struct string b)
{
    size_t common = a.length < b.length ? a.length : b.length;
    int order = common ? memcmp(a.data, b.data, common) : 0; /* UTF-8: the order of code points */
    return order ? order : (a.length > b.length) - (a.length < b.length);
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

static int lists_equal(struct run *r, const struct list *a, const struct list *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; i < a->count && *out; i++)
        if (value_equal(r, a->items[i], b->items[i], out) != 0)
            return -1;
    return 0;
}

static int dicts_equal(struct run *r, const struct dict *a, const struct dict *b, bool *out)
{
    *out = a->count == b->count;
    for (size_t i = 0; i < a->count && *out; i++) {
        if (run_work(r, b->count) != 0)
            return -1;
        const struct value *other = value_find(r, b, a->entries[i].key);
        *out = other != NULL;
        if (other && value_equal(r, a->entries[i].value, *other, out) != 0)
            return -1;
    }
    return 0;
}

static int same_kind_equal(struct run *r, struct value a, struct value b, bool *out)
{
    *out = true;
    switch (a.kind) {
    case VALUE_UNDEFINED:
    case VALUE_NONE:
        return 0;
    case VALUE_STRING:
        *out =
            a.string.length == b.string.length && memcmp(a.string.data, b.string.data, a.string.length) == 0;
        return run_bytes(r, a.string.length);
    case VALUE_LIST:
    case VALUE_TUPLE:
    case VALUE_RANGE:
        return lists_equal(r, a.list, b.list, out);
    case VALUE_DICT:
        return dicts_equal(r, a.dict, b.dict, out);
    default:
        *out = a.list == b.list; /* the same object */
        return 0;
    }
}

int value_equal(struct run *r, struct value a, struct value b, bool *out)
{
    if (value_is_number(a) && value_is_number(b)) {
        *out = numbers_equal(a, b);
        return run_work(r, 1);
    }
    if (a.kind != b.kind) {
        *out = false;
        return run_work(r, 1);
    }
    if (run_enter(r) != 0)
        return -1;
    int result = same_kind_equal(r, a, b, out);
    r->depth--;
    return result;
}

int value_order(struct run *r, struct value a, struct value b, int *out, bool *unordered)
{
    int64_t x, y;
    *unordered = false;
    if (a.kind == VALUE_STRING && b.kind == VALUE_STRING) {
        *out = string_order(a.string, b.string);
        return run_bytes(r, a.string.length);
    }
    if (value_as_integer(a, &x) && value_as_integer(b, &y)) {
        *out = (x > y) - (x < y);
        return 0;
    }
    if (value_is_number(a) && value_is_number(b)) {
        double p = value_as_float(a), q = value_as_float(b);
        *out = (p > q) - (p < q);
        *unordered = isnan(p) || isnan(q);
        return 0;
    }
    if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED)
        return run_undefined(r, a.kind == VALUE_UNDEFINED ? a : b);
    return run_fail(r, "%s and %s cannot be ordered", value_kind_name(a), value_kind_name(b));
}

int value_contains(struct run *r, struct value container, struct value item, bool *out)
{
    if (container.kind == VALUE_STRING) {
        if (item.kind == VALUE_UNDEFINED)
            return run_undefined(r, item);
        if (item.kind != VALUE_STRING)
            return run_fail(r, "\"in\" a str needs a str, not %s", value_kind_name(item));
        *out = string_find(container.string, item.string, 0) >= 0;
        return run_bytes(r, container.string.length);
    }
    if (container.kind == VALUE_DICT) {
        if (item.kind == VALUE_LIST || item.kind == VALUE_DICT)
            return run_fail(r, "%s cannot be a key", value_kind_name(item));
        *out = value_find(r, container.dict, item) != NULL;
        return run_work(r, container.dict->count);
    }
    struct list items;
    if (value_items(r, container, &items) != 0)
        return -1;
    *out = false;
    for (size_t i = 0; i < items.count && !*out; i++)
        if (value_equal(r, item, items.items[i], out) != 0)
            return -1;
    return 0;
}

int value_length(struct run *r, struct value v, int64_t *out)
{
    if (v.kind == VALUE_STRING) {
        *out = (int64_t)string_count(v.string);
        return run_bytes(r, v.string.length);
    }
    if (v.kind == VALUE_UNDEFINED)
        *out = 0;
    else if (v.kind == VALUE_DICT)
        *out = (int64_t)v.dict->count;
    else if (v.kind == VALUE_LOOP) {
        struct value length;
        if (loop_attribute(r, v.loop, STRING("length"), &length) != 0)
            return -1;
        *out = length.integer;
    } else if (value_is_list(v) && v.kind != VALUE_GENERATOR)
        *out = (int64_t)v.list->count;
    else
        return run_fail(r, "%s has no length", value_kind_name(v));
    return 0;
}

/* ---- going through ---- */

static int string_items(struct run *r, struct string s, struct list *out)
{
    struct value v;
    size_t at = 0, size;
    if (run_work(r, s.length) != 0 || value_new_list(r, VALUE_LIST, string_count(s), &v) != 0)
        return -1;
    for (size_t i = 0; i < v.list->count; i++, at += size) {
        size = utf8_size(s.data[at]);
        v.list->items[i] = value_string((struct string){s.data + at, size});
    }
    *out = *v.list;
    return 0;
}

int value_items(struct run *r, struct value v, struct list *out)
{
    struct value keys;
    switch (v.kind) {
    case VALUE_UNDEFINED:
        *out = (struct list){0};
        return 0;
    case VALUE_STRING:
        if (v.safe)
            return run_fail(r, "characters of what went through \"safe\" are not supported");
        return string_items(r, v.string, out);
    case VALUE_DICT:
        if (value_new_view(r, VALUE_KEYS, v.dict, &keys) != 0)
            return -1;
        *out = *keys.list;
        return 0;
    case VALUE_GENERATOR:
        *out = *v.list;
        *v.list = (struct list){0};
        return 0;
    default:
        if (!value_is_list(v))
            return run_fail(r, "%s cannot be iterated", value_kind_name(v));
        *out = *v.list;
        return 0;
    }
}

/* ---- making ---- */

int value_new_list(struct run *r, enum value_kind kind, size_t count, struct value *out)
{
    struct list *l = run_work(r, count / 8) == 0 ? run_alloc(r, sizeof *l) : NULL;
    struct value *items = l ? run_alloc(r, count * sizeof *items) : NULL;
    if (!items)
        return -1;
    *l = (struct list){count, items};
    *out = (struct value){.kind = kind, .list = l};
    return 0;
}

int value_take(struct run *r, struct buf *text, struct value *out)
{
    size_t length = text->length;
    char *copy = run_bytes(r, length) == 0 ? run_alloc(r, length + 1) : NULL;
    if (copy && length)
        memcpy(copy, text->data, length);
    buf_fini(text);
    if (!copy)
        return -1;
    *out = value_string((struct string){copy, length});
    return 0;
}

int value_new_dict(struct run *r, enum value_kind kind, size_t capacity, struct value *out)
{
    struct dict *d = run_alloc(r, sizeof *d);
    struct entry *entries = d ? run_alloc(r, capacity * sizeof *entries) : NULL;
    if (!entries)
        return -1;
    *d = (struct dict){0, capacity, entries};
    *out = (struct value){.kind = kind, .dict = d};
    return 0;
}

int value_new_view(struct run *r, enum value_kind kind, const struct dict *d, struct value *out)
{
    if (value_new_list(r, kind, d->count, out) != 0)
        return -1;
    for (size_t i = 0; i < d->count; i++) {
        struct value *item = &out->list->items[i];
        if (kind != VALUE_ITEMS) {
            *item = kind == VALUE_KEYS ? d->entries[i].key : d->entries[i].value;
            continue;
        }
        if (value_new_list(r, VALUE_TUPLE, 2, item) != 0)
            return -1;
        item->list->items[0] = d->entries[i].key;
        item->list->items[1] = d->entries[i].value;
    }
    return 0;
}

struct value *value_find(struct run *r, const struct dict *d, struct value key)
{
    for (size_t i = 0; i < d->count; i++) {
        bool same;
        if (value_equal(r, d->entries[i].key, key, &same) == 0 && same)
            return &d->entries[i].value;
    }
    return NULL;
}

static int grow(struct run *r, struct dict *d)
{
    size_t capacity = 2 * d->capacity + 4;
    struct entry *entries = run_alloc(r, capacity * sizeof *entries);
    if (!entries)
        return -1;
    if (d->count)
        memcpy(entries, d->entries, d->count * sizeof *entries);
    d->entries = entries;
    d->capacity = capacity;
    return 0;
}

int value_put(struct run *r, struct dict *d, struct value key, struct value value)
{
    if (key.kind == VALUE_LIST || key.kind == VALUE_DICT)
        return run_fail(r, "%s cannot be a key", value_kind_name(key));
    if (run_work(r, d->count) != 0)
        return -1;
    struct value *there = value_find(r, d, key);
    if (there) {
        *there = value;
        return 0;
    }
    if (d->count == d->capacity && grow(r, d) != 0)
        return -1;
    d->entries[d->count++] = (struct entry){key, value};
    return 0;
}

/* ---- printing, as Python does ---- */

int value_print_float(struct run *r, double d, struct buf *out)
{
    char text[40];
    if (isnan(d) || isinf(d))
        return buf_append_string(out, isnan(d) ? "nan" : d < 0 ? "-inf" : "inf") == 0 ? 0 : err_memory(r->e);
    int digits = 1;
    do
        snprintf(text, sizeof text, "%.*e", digits - 1, d);
    while (strtod(text, NULL) != d && digits++ < 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent >= -4 && exponent < 16) /* otherwise it stands there already */
        snprintf(text, sizeof text, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 1, d);
    return buf_append_string(out, text) == 0 ? 0 : err_memory(r->e);
}

static bool printable(uint32_t code)
{
    utf8proc_category_t c = utf8proc_category((utf8proc_int32_t)code);
    return code == ' ' ||
           !(c == UTF8PROC_CATEGORY_CN || c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF ||
             c == UTF8PROC_CATEGORY_CS || c == UTF8PROC_CATEGORY_CO || c == UTF8PROC_CATEGORY_ZL ||
             c == UTF8PROC_CATEGORY_ZP || c == UTF8PROC_CATEGORY_ZS);
}

static int repr_character(uint32_t code, const char *text, size_t size, char quote, struct buf *out)
{
    switch (code) {
    case '\n':
        return buf_append(out, "\\n", 2);
    case '\r':
        return buf_append(out, "\\r", 2);
    case '\t':
        return buf_append(out, "\\t", 2);
    default:
        if (code == '\\' || code == (unsigned char)quote)
            return buf_printf(out, "\\%c", (char)code);
        if (printable(code))
            return buf_append(out, text, size);
        return buf_printf(out, code < 0x100 ? "\\x%02x" : code < 0x10000 ? "\\u%04x" : "\\U%08x", code);
    }
}

static int repr_string(struct run *r, struct string s, struct buf *out)
{
    char quote = s.length && memchr(s.data, '\'', s.length) && !memchr(s.data, '"', s.length) ? '"' : '\'';
    if (run_work(r, s.length / 4) != 0 || run_append(r, out, &quote, 1) != 0)
        return -1;
    for (size_t at = 0, size; at < s.length; at += size) {
        uint32_t code = utf8_decode(s.data + at, &size);
        if (repr_character(code, s.data + at, size, quote, out) != 0)
            return err_memory(r->e);
    }
    return run_append(r, out, &quote, 1);
}

static int repr_list(struct run *r, struct value v, struct buf *out)
{
    bool tuple = v.kind == VALUE_TUPLE;
    if (run_append(r, out, tuple ? "(" : "[", 1) != 0)
        return -1;
    for (size_t i = 0; i < v.list->count; i++)
        if ((i && run_append(r, out, ", ", 2) != 0) || value_repr(r, v.list->items[i], out) != 0)
            return -1;
    if (tuple && v.list->count == 1 && run_append(r, out, ",", 1) != 0)
        return -1;
    return run_append(r, out, tuple ? ")" : "]", 1);
}

static int repr_view(struct run *r, struct value v, struct buf *out)
{
    const char *name = value_kind_name(v);
    return run_append(r, out, name, strlen(name)) != 0 || run_append(r, out, "(", 1) != 0 ||
                   repr_list(r, v, out) != 0
               ? -1
               : run_append(r, out, ")", 1);
}

static int repr_dict(struct run *r, const struct dict *d, struct buf *out)
{
    if (run_append(r, out, "{", 1) != 0)
        return -1;
    for (size_t i = 0; i < d->count; i++)
        if ((i && run_append(r, out, ", ", 2) != 0) || value_repr(r, d->entries[i].key, out) != 0 ||
            run_append(r, out, ": ", 2) != 0 || value_repr(r, d->entries[i].value, out) != 0)
            return -1;
    return run_append(r, out, "}", 1);
}

static int repr(struct run *r, struct value v, struct buf *out)
{
    const char *word = v.kind == VALUE_NONE   ? "None"
                       : v.kind != VALUE_BOOL ? NULL
                       : v.boolean            ? "True"
                                              : "False";
    switch (v.kind) {
    case VALUE_UNDEFINED:
        word = "Undefined";
        break;
    case VALUE_NONE:
    case VALUE_BOOL:
        break;
    case VALUE_INTEGER:
        return buf_printf(out, "%lld", (long long)v.integer) == 0 ? 0 : err_memory(r->e);
    case VALUE_FLOAT:
        return value_print_float(r, v.number, out);
    case VALUE_STRING:
        return repr_string(r, v.string, out);
    case VALUE_LIST:
    case VALUE_TUPLE:
        return repr_list(r, v, out);
    case VALUE_KEYS:
    case VALUE_VALUES:
    case VALUE_ITEMS:
        return repr_view(r, v, out);
    case VALUE_DICT:
        return repr_dict(r, v.dict, out);
    default:
        return run_fail(r, "a value of the type %s cannot be written", value_kind_name(v));
    }
    return run_append(r, out, word, strlen(word));
}

int value_repr(struct run *r, struct value v, struct buf *out)
{
    if (run_enter(r) != 0)
        return -1;
    int result = repr(r, v, out);
    r->depth--;
    return result;
}

int value_print(struct run *r, struct value v, struct buf *out)
{
    if (v.kind == VALUE_UNDEFINED)
        return 0;
    return v.kind == VALUE_STRING ? run_append(r, out, v.string.data, v.string.length)
                                  : value_repr(r, v, out);
}

int value_to_string(struct run *r, struct value v, struct string *out)
{
    struct buf text = {0};
    if (v.kind == VALUE_STRING) {
        *out = v.string;
        return 0;
    }
    if (value_print(r, v, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    if (value_take(r, &text, &v) != 0)
        return -1;
    *out = v.string;
    return 0;
}
