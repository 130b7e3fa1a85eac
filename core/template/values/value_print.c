#include "core/template/values/value_print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/base/utf8.h"

int value_print_float(struct context *c, double d, struct buf *out)
{
    char text[40];
    if (isnan(d) || isinf(d))
        return buf_append_string(out, isnan(d) ? "nan" : d < 0 ? "-inf" : "inf") == 0 ? 0 : err_memory(c->e);
    int digits = 1;
    do
        snprintf(text, sizeof text, "%.*e", digits - 1, d);
    while (strtod(text, NULL) != d && digits++ < 17);
    int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent >= -4 && exponent < 16) /* Python writes these without an exponent */
        snprintf(text, sizeof text, "%.*f", digits - 1 > exponent ? digits - 1 - exponent : 1, d);
    return buf_append_string(out, text) == 0 ? 0 : err_memory(c->e);
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

static int repr_string(struct context *c, struct string s, struct buf *out)
{
    char quote = s.length && memchr(s.data, '\'', s.length) && !memchr(s.data, '"', s.length) ? '"' : '\'';
    if (context_work(c, s.length / 4) != 0 || context_append(c, out, &quote, 1) != 0)
        return -1;
    for (size_t at = 0, size; at < s.length; at += size) {
        uint32_t code = utf8_decode(s.data + at, &size);
        if (repr_character(code, s.data + at, size, quote, out) != 0)
            return err_memory(c->e);
    }
    return context_append(c, out, &quote, 1);
}

static int repr_list(struct context *c, struct value v, struct buf *out)
{
    bool tuple = v.kind == VALUE_TUPLE;
    if (context_append(c, out, tuple ? "(" : "[", 1) != 0)
        return -1;
    for (size_t i = 0; i < v.list->count; i++)
        if ((i && context_append(c, out, ", ", 2) != 0) || value_repr(c, v.list->items[i], out) != 0)
            return -1;
    if (tuple && v.list->count == 1 && context_append(c, out, ",", 1) != 0)
        return -1;
    return context_append(c, out, tuple ? ")" : "]", 1);
}

static int repr_view(struct context *c, struct value v, struct buf *out)
{
    const char *name = value_kind_name(v);
    return context_append(c, out, name, strlen(name)) != 0 || context_append(c, out, "(", 1) != 0 ||
                   repr_list(c, v, out) != 0
               ? -1
               : context_append(c, out, ")", 1);
}

static int repr_dict(struct context *c, const struct dict *d, struct buf *out)
{
    if (context_append(c, out, "{", 1) != 0)
        return -1;
    for (size_t i = 0; i < d->count; i++)
        if ((i && context_append(c, out, ", ", 2) != 0) || value_repr(c, d->entries[i].key, out) != 0 ||
            context_append(c, out, ": ", 2) != 0 || value_repr(c, d->entries[i].value, out) != 0)
            return -1;
    return context_append(c, out, "}", 1);
}

/* A string that went through "safe" is of a class of its own there, markupsafe's. */
static int repr_safe(struct context *c, struct string s, struct buf *out)
{
    return context_append(c, out, "Markup(", 7) != 0 || repr_string(c, s, out) != 0
               ? -1
               : context_append(c, out, ")", 1);
}

static int repr(struct context *c, struct value v, struct buf *out)
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
        return buf_printf(out, "%lld", (long long)v.integer) == 0 ? 0 : err_memory(c->e);
    case VALUE_FLOAT:
        return value_print_float(c, v.number, out);
    case VALUE_STRING:
        return v.safe ? repr_safe(c, v.string, out) : repr_string(c, v.string, out);
    case VALUE_LIST:
    case VALUE_TUPLE:
        return repr_list(c, v, out);
    case VALUE_KEYS:
    case VALUE_VALUES:
    case VALUE_ITEMS:
        return repr_view(c, v, out);
    case VALUE_DICT:
        return repr_dict(c, v.dict, out);
    default:
        return context_fail(c, "a value of the type %s cannot be written", value_kind_name(v));
    }
    return context_append(c, out, word, strlen(word));
}

int value_repr(struct context *c, struct value v, struct buf *out)
{
    if (context_enter(c) != 0)
        return -1;
    int result = repr(c, v, out);
    context_leave(c);
    return result;
}

int value_print(struct context *c, struct value v, struct buf *out)
{
    if (v.kind == VALUE_UNDEFINED)
        return 0;
    return v.kind == VALUE_STRING ? context_append(c, out, v.string.data, v.string.length)
                                  : value_repr(c, v, out);
}

int value_to_string(struct context *c, struct value v, struct string *out)
{
    struct buf text = {0};
    if (v.kind == VALUE_STRING) {
        *out = v.string;
        return 0;
    }
    if (value_print(c, v, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    if (value_take(c, &text, &v) != 0)
        return -1;
    *out = v.string;
    return 0;
}
