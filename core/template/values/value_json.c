#include "core/template/values/value_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/template/values/value_print.h"

static int from_array(struct context *c, const json_t *json, struct value *out)
{
    if (value_new_list(c, VALUE_LIST, json_array_size(json), out) != 0)
        return -1;
    for (size_t i = 0; i < out->list->count; i++)
        if (value_from_json(c, json_array_get(json, i), &out->list->items[i]) != 0)
            return -1;
    return 0;
}

/* JSON was parsed with its keys checked to differ, so that none has to be looked for before it is added. */
static int from_object(struct context *c, const json_t *json, struct value *out)
{
    const char *key;
    size_t length;
    json_t *member;
    if (value_new_dict(c, VALUE_DICT, json_object_size(json), out) != 0)
        return -1;
    json_object_keylen_foreach((json_t *)json, key, length, member)
    {
        struct entry *entry = &out->dict->entries[out->dict->count++];
        entry->key = value_string((struct string){key, length});
        if (value_from_json(c, member, &entry->value) != 0)
            return -1;
    }
    return 0;
}

static int from(struct context *c, const json_t *json, struct value *out)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return from_object(c, json, out);
    case JSON_ARRAY:
        return from_array(c, json, out);
    case JSON_STRING:
        *out = value_string((struct string){json_string_value(json), json_string_length(json)});
        return 0;
    case JSON_INTEGER:
        *out = value_integer(json_integer_value(json));
        return 0;
    case JSON_REAL:
        *out = value_float(json_real_value(json));
        return 0;
    case JSON_NULL:
        *out = (struct value){.kind = VALUE_NONE};
        return 0;
    default:
        *out = value_bool(json_is_true(json));
        return 0;
    }
}

int value_from_json(struct context *c, const json_t *json, struct value *out)
{
    if (context_enter(c) != 0)
        return -1;
    int result = from(c, json, out);
    context_leave(c);
    return result;
}

/* ---- to JSON ---- */

static int escape(uint32_t code, const char *text, size_t size, bool ascii, struct buf *out)
{
    static const char letters[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
    const char *known = code && code < 0x80 ? strchr(letters, (int)code) : NULL;
    if (known)
        return buf_printf(out, "\\%c", names[known - letters]);
    if (code >= 0x10000 && ascii)
        return buf_printf(out, "\\u%04x\\u%04x", 0xD800 + ((code - 0x10000) >> 10), 0xDC00 + (code & 0x3FF));
    if (code < 0x20 || (code > 0x7E && ascii))
        return buf_printf(out, "\\u%04x", code);
    return buf_append(out, text, size);
}

static int write_string(struct context *c, struct string s, const struct json_style *style, struct buf *out)
{
    if (context_work(c, s.length / 4) != 0 || context_append(c, out, "\"", 1) != 0)
        return -1;
    for (size_t at = 0, size; at < s.length; at += size) {
        uint32_t code = utf8_decode(s.data + at, &size);
        if (escape(code, s.data + at, size, style->ascii, out) != 0)
            return err_memory(c->e);
    }
    return context_append(c, out, "\"", 1);
}

static int write_float(struct context *c, double d, struct buf *out)
{
    if (!isnan(d) && !isinf(d))
        return value_print_float(c, d, out);
    return buf_append_string(out, isnan(d) ? "NaN"
                                  : d < 0  ? "-Infinity"
                                           : "Infinity") == 0
               ? 0
               : err_memory(c->e);
}

static int write(struct context *c, struct value v, const struct json_style *style, int level,
                 struct buf *out);

static int new_line(struct context *c, const struct json_style *style, int level, struct buf *out)
{
    if (!style->indented)
        return 0;
    if (context_append(c, out, "\n", 1) != 0)
        return -1;
    for (int i = 0; i < level; i++)
        if (context_append(c, out, style->indent.data, style->indent.length) != 0)
            return -1;
    return 0;
}

static int between(struct context *c, const struct json_style *style, size_t i, int level, struct buf *out)
{
    if (i > 0 && context_append(c, out, style->between.data, style->between.length) != 0)
        return -1;
    return new_line(c, style, level, out);
}

static int write_list(struct context *c, const struct list *l, const struct json_style *style, int level,
                      struct buf *out)
{
    if (l->count == 0)
        return context_append(c, out, "[]", 2);
    if (context_append(c, out, "[", 1) != 0)
        return -1;
    for (size_t i = 0; i < l->count; i++)
        if (between(c, style, i, level + 1, out) != 0 || write(c, l->items[i], style, level + 1, out) != 0)
            return -1;
    return new_line(c, style, level, out) != 0 ? -1 : context_append(c, out, "]", 1);
}

/* Like json.dumps, which writes keys that are numbers, booleans or None as strings. */
static int write_key(struct context *c, struct value key, const struct json_style *style, struct buf *out)
{
    if (key.kind == VALUE_STRING)
        return write_string(c, key.string, style, out);
    if (!value_is_number(key) && key.kind != VALUE_NONE)
        return context_fail(c, "%s cannot be a key in JSON", value_kind_name(key));
    return context_append(c, out, "\"", 1) != 0 || write(c, key, style, 0, out) != 0
               ? -1
               : context_append(c, out, "\"", 1);
}

static int by_key(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    return string_order(x->key.string, y->key.string);
}

/* The entries in the order of their keys, which must be strings. */
static int sort(struct context *c, const struct dict *d, struct dict *out)
{
    struct entry *entries = context_alloc(c, d->count * sizeof *entries);
    if (!entries || context_work(c, 16 * d->count) != 0)
        return -1;
    for (size_t i = 0; i < d->count; i++) {
        if (d->entries[i].key.kind != VALUE_STRING)
            return context_fail(c, "sort_keys needs keys that are strings, not %s",
                                value_kind_name(d->entries[i].key));
        entries[i] = d->entries[i];
    }
    qsort(entries, d->count, sizeof *entries, by_key);
    *out = (struct dict){d->count, d->count, entries};
    return 0;
}

static int write_dict(struct context *c, const struct dict *d, const struct json_style *style, int level,
                      struct buf *out)
{
    struct dict sorted = *d;
    if (d->count == 0)
        return context_append(c, out, "{}", 2);
    if (context_append(c, out, "{", 1) != 0 || (style->sorted && sort(c, d, &sorted) != 0))
        return -1;
    for (size_t i = 0; i < sorted.count; i++)
        if (between(c, style, i, level + 1, out) != 0 ||
            write_key(c, sorted.entries[i].key, style, out) != 0 ||
            context_append(c, out, style->colon.data, style->colon.length) != 0 ||
            write(c, sorted.entries[i].value, style, level + 1, out) != 0)
            return -1;
    return new_line(c, style, level, out) != 0 ? -1 : context_append(c, out, "}", 1);
}

static int write_any(struct context *c, struct value v, const struct json_style *style, int level,
                     struct buf *out)
{
    switch (v.kind) {
    case VALUE_NONE:
        return context_append(c, out, "null", 4);
    case VALUE_BOOL:
        return v.boolean ? context_append(c, out, "true", 4) : context_append(c, out, "false", 5);
    case VALUE_INTEGER:
        return value_repr(c, v, out);
    case VALUE_FLOAT:
        return write_float(c, v.number, out);
    case VALUE_STRING:
        return write_string(c, v.string, style, out);
    case VALUE_LIST:
    case VALUE_TUPLE:
        return write_list(c, v.list, style, level, out);
    case VALUE_DICT:
        return write_dict(c, v.dict, style, level, out);
    case VALUE_UNDEFINED:
        return value_fail_undefined(c, v);
    default:
        return context_fail(c, "%s cannot be written as JSON", value_kind_name(v));
    }
}

static int write(struct context *c, struct value v, const struct json_style *style, int level,
                 struct buf *out)
{
    if (context_enter(c) != 0)
        return -1;
    int result = write_any(c, v, style, level, out);
    context_leave(c);
    return result;
}

int value_to_json(struct context *c, struct value v, const struct json_style *style, struct buf *out)
{
    return write(c, v, style, 0, out);
}
