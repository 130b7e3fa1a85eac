#include "core/template/builtins/methods.h"

#include <string.h>

#include "core/template/values/string_case.h"
#include "core/template/values/string_edit.h"
#include "core/template/values/value_print.h"

#define METHOD(name)                                                                          \
    static int method_##name(struct context *c, struct value self, const struct arguments *a, \
                             struct value *out)

static int need_string(struct context *c, struct value v)
{
    if (v.kind == VALUE_STRING)
        return 0;
    return v.kind == VALUE_UNDEFINED && argument_given(v)
               ? value_fail_undefined(c, v)
               : context_fail(c, "a method needs a str, not %s", value_kind_name(v));
}

/* ---- str: ends ---- */

static int strip(struct context *c, struct value self, struct value chars, enum string_sides sides,
                 struct value *out)
{
    struct string of = {0};
    if (!argument_none(chars) && need_string(c, chars) != 0)
        return -1;
    if (!argument_none(chars))
        of = chars.string.length ? chars.string : STRING("");
    *out = value_string(string_strip(self.string, of, sides));
    return context_bytes(c, (self.string.length - out->string.length) * (1 + of.length));
}

METHOD(strip)
{
    return strip(c, self, a->values[0], STRING_BOTH, out);
}

METHOD(lstrip)
{
    return strip(c, self, a->values[0], STRING_LEFT, out);
}

METHOD(rstrip)
{
    return strip(c, self, a->values[0], STRING_RIGHT, out);
}

static bool has_part(struct string s, struct string part, bool end)
{
    return part.length <= s.length && (part.length == 0 || memcmp(s.data + (end ? s.length - part.length : 0),
                                                                  part.data, part.length) == 0);
}

/* One string, or a tuple of which any will do. */
static int begins_or_ends(struct context *c, struct value self, struct value with, bool end,
                          struct value *out)
{
    struct list one = {1, &with}, parts = with.kind == VALUE_TUPLE ? *with.list : one;
    *out = value_bool(false);
    for (size_t i = 0; i < parts.count; i++) {
        if (need_string(c, parts.items[i]) != 0 || context_bytes(c, parts.items[i].string.length) != 0)
            return -1;
        out->boolean = out->boolean || has_part(self.string, parts.items[i].string, end);
    }
    return 0;
}

METHOD(startswith)
{
    return begins_or_ends(c, self, a->values[0], false, out);
}

METHOD(endswith)
{
    return begins_or_ends(c, self, a->values[0], true, out);
}

METHOD(removeprefix)
{
    struct value part = a->values[0];
    if (need_string(c, part) != 0)
        return -1;
    *out = self;
    if (has_part(self.string, part.string, false))
        *out = value_string(
            (struct string){self.string.data + part.string.length, self.string.length - part.string.length});
    return 0;
}

METHOD(removesuffix)
{
    struct value part = a->values[0];
    if (need_string(c, part) != 0)
        return -1;
    *out = self;
    if (has_part(self.string, part.string, true))
        out->string.length -= part.string.length;
    return 0;
}

/* ---- str: parts ---- */

static int split(struct context *c, struct value self, const struct arguments *a, bool from_right,
                 struct value *out)
{
    int64_t max = -1;
    bool words = argument_none(a->values[0]);
    if (!words && need_string(c, a->values[0]) != 0)
        return -1;
    if (!words && a->values[0].string.length == 0)
        return context_fail(c, "the separator of split() is empty");
    if (argument_given(a->values[1]) && !value_as_integer(a->values[1], &max))
        return context_fail(c, "split() needs an int as limit, not %s", value_kind_name(a->values[1]));
    return string_split(c, self.string, words ? NULL : &a->values[0], max, from_right, out);
}

METHOD(split)
{
    return split(c, self, a, false, out);
}

METHOD(rsplit)
{
    return split(c, self, a, true, out);
}

METHOD(splitlines)
{
    return string_lines(c, self.string, argument_given(a->values[0]) && value_truth(a->values[0]), out);
}

METHOD(replace)
{
    int64_t count = -1;
    if (need_string(c, a->values[0]) != 0 || need_string(c, a->values[1]) != 0)
        return -1;
    if (argument_given(a->values[2]) && !value_as_integer(a->values[2], &count))
        return context_fail(c, "replace() needs an int as count, not %s", value_kind_name(a->values[2]));
    return string_replace(c, self.string, a->values[0].string, a->values[1].string, count, out);
}

METHOD(find_in)
{
    if (need_string(c, a->values[0]) != 0 || context_bytes(c, self.string.length) != 0)
        return -1;
    ptrdiff_t at = string_find(self.string, a->values[0].string, 0);
    struct string before = {self.string.data, at < 0 ? 0 : (size_t)at};
    *out = value_integer(at < 0 ? -1 : (int64_t)string_count(before));
    return 0;
}

METHOD(count)
{
    int64_t count = 0;
    if (need_string(c, a->values[0]) != 0 || context_work(c, self.string.length / 8) != 0)
        return -1;
    struct string part = a->values[0].string;
    if (part.length == 0)
        count = (int64_t)string_count(self.string) + 1;
    else
        for (ptrdiff_t at = 0; (at = string_find(self.string, part, (size_t)at)) >= 0;
             at += (ptrdiff_t)part.length)
            count++;
    *out = value_integer(count);
    return 0;
}

METHOD(join)
{
    struct list items;
    struct buf text = {0};
    int result = value_items(c, a->values[0], &items);
    if (a->values[0].kind ==
        VALUE_UNDEFINED) /* str.join is Python's, not Jinja2's: to it an undefined value is no iterable */
        return value_fail_undefined(c, a->values[0]);
    for (size_t i = 0; result == 0 && i < items.count; i++) {
        result = need_string(c, items.items[i]);
        if (result == 0 && i > 0)
            result = context_append(c, &text, self.string.data, self.string.length);
        if (result == 0)
            result = context_work(c, 1) != 0 ? -1 : value_print(c, items.items[i], &text);
    }
    if (result == 0)
        return value_take(c, &text, out);
    buf_fini(&text);
    return -1;
}

/* ---- str: case ---- */

METHOD(upper)
{
    (void)a;
    return string_change_case(c, self.string, STRING_UPPER, out);
}

METHOD(lower)
{
    (void)a;
    return string_change_case(c, self.string, STRING_LOWER, out);
}

METHOD(title)
{
    (void)a;
    return string_change_case(c, self.string, STRING_TITLE, out);
}

METHOD(capitalize)
{
    (void)a;
    return string_change_case(c, self.string, STRING_CAPITALIZED, out);
}

METHOD(isdigit)
{
    (void)a;
    *out = value_bool(self.string.length > 0);
    for (size_t i = 0; i < self.string.length; i++) {
        if ((unsigned char)self.string.data[i] >= 0x80)
            return context_fail(c, "isdigit() of other characters than ASCII is not supported");
        out->boolean = out->boolean && self.string.data[i] >= '0' && self.string.data[i] <= '9';
    }
    return context_bytes(c, self.string.length);
}

METHOD(isspace)
{
    (void)a;
    const struct string none = {0};
    *out = value_bool(self.string.length > 0 && string_strip(self.string, none, STRING_LEFT).length == 0);
    return context_bytes(c, self.string.length);
}

/* ---- dict ---- */

METHOD(get)
{
    struct value *found;
    if (value_check_key(c, a->values[0]) != 0 || value_find(c, self.dict, a->values[0], &found) != 0)
        return -1;
    *out = found ? *found : argument_given(a->values[1]) ? a->values[1] : (struct value){.kind = VALUE_NONE};
    return context_work(c, self.dict->count);
}

METHOD(items)
{
    (void)a;
    return value_new_view(c, VALUE_ITEMS, self.dict, out);
}

METHOD(keys)
{
    (void)a;
    return value_new_view(c, VALUE_KEYS, self.dict, out);
}

METHOD(values)
{
    (void)a;
    return value_new_view(c, VALUE_VALUES, self.dict, out);
}

/* ---- all of them ---- */

enum { OF_STRING = 1, OF_DICT = 2, OF_LIST = 4, OF_TUPLE = 8, OF_NUMBER = 16 };

static const struct method methods[] = {
    {"capitalize", {{NULL}, 0}, OF_STRING, method_capitalize},
    {"count", {{"sub"}, 1}, OF_STRING, method_count},
    {"endswith", {{"suffix"}, 1}, OF_STRING, method_endswith},
    {"find", {{"sub"}, 1}, OF_STRING, method_find_in},
    {"get", {{"key", "default"}, 1}, OF_DICT, method_get},
    {"isdigit", {{NULL}, 0}, OF_STRING, method_isdigit},
    {"isspace", {{NULL}, 0}, OF_STRING, method_isspace},
    {"items", {{NULL}, 0}, OF_DICT, method_items},
    {"join", {{"iterable"}, 1}, OF_STRING, method_join},
    {"keys", {{NULL}, 0}, OF_DICT, method_keys},
    {"lower", {{NULL}, 0}, OF_STRING, method_lower},
    {"lstrip", {{"chars"}, 0}, OF_STRING, method_lstrip},
    {"removeprefix", {{"prefix"}, 1}, OF_STRING, method_removeprefix},
    {"removesuffix", {{"suffix"}, 1}, OF_STRING, method_removesuffix},
    {"replace", {{"old", "new", "count"}, 2}, OF_STRING, method_replace},
    {"rsplit", {{"sep", "maxsplit"}, 0}, OF_STRING, method_rsplit},
    {"rstrip", {{"chars"}, 0}, OF_STRING, method_rstrip},
    {"split", {{"sep", "maxsplit"}, 0}, OF_STRING, method_split},
    {"splitlines", {{"keepends"}, 0}, OF_STRING, method_splitlines},
    {"startswith", {{"prefix"}, 1}, OF_STRING, method_startswith},
    {"strip", {{"chars"}, 0}, OF_STRING, method_strip},
    {"title", {{NULL}, 0}, OF_STRING, method_title},
    {"upper", {{NULL}, 0}, OF_STRING, method_upper},
    {"values", {{NULL}, 0}, OF_DICT, method_values},
};

/* Methods that Python has and this has not. A template that asks whether there is one must not be told that
 * there is none. */
static const struct {
    const char *name;
    int of;
} unsupported[] = {{"casefold", OF_STRING},
                   {"center", OF_STRING},
                   {"encode", OF_STRING},
                   {"expandtabs", OF_STRING},
                   {"format", OF_STRING},
                   {"format_map", OF_STRING},
                   {"index", OF_STRING | OF_LIST | OF_TUPLE},
                   {"isalnum", OF_STRING},
                   {"isalpha", OF_STRING},
                   {"isascii", OF_STRING},
                   {"isdecimal", OF_STRING},
                   {"isidentifier", OF_STRING},
                   {"islower", OF_STRING},
                   {"isnumeric", OF_STRING},
                   {"isprintable", OF_STRING},
                   {"istitle", OF_STRING},
                   {"isupper", OF_STRING},
                   {"ljust", OF_STRING},
                   {"maketrans", OF_STRING},
                   {"partition", OF_STRING},
                   {"rfind", OF_STRING},
                   {"rindex", OF_STRING},
                   {"rjust", OF_STRING},
                   {"rpartition", OF_STRING},
                   {"swapcase", OF_STRING},
                   {"translate", OF_STRING},
                   {"zfill", OF_STRING},
                   {"clear", OF_DICT | OF_LIST},
                   {"copy", OF_DICT | OF_LIST},
                   {"fromkeys", OF_DICT},
                   {"pop", OF_DICT | OF_LIST},
                   {"popitem", OF_DICT},
                   {"setdefault", OF_DICT},
                   {"update", OF_DICT},
                   {"append", OF_LIST},
                   {"count", OF_LIST | OF_TUPLE},
                   {"extend", OF_LIST},
                   {"insert", OF_LIST},
                   {"remove", OF_LIST},
                   {"reverse", OF_LIST},
                   {"sort", OF_LIST},
                   {"real", OF_NUMBER},
                   {"imag", OF_NUMBER},
                   {"numerator", OF_NUMBER},
                   {"denominator", OF_NUMBER},
                   {"conjugate", OF_NUMBER},
                   {"bit_length", OF_NUMBER},
                   {"is_integer", OF_NUMBER}};

static int kind_of(struct value v)
{
    switch (v.kind) {
    case VALUE_STRING:
        return OF_STRING;
    case VALUE_DICT:
        return OF_DICT;
    case VALUE_LIST:
        return OF_LIST;
    case VALUE_TUPLE:
    case VALUE_RANGE:
        return OF_TUPLE;
    default:
        return value_is_number(v) ? OF_NUMBER : 0;
    }
}

bool methods_known(struct string name)
{
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (string_is(name, methods[i].name))
            return true;
    return false;
}

int methods_find(struct context *c, struct value self, struct string name, const struct method **out)
{
    int of = kind_of(self);
    *out = NULL;
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (methods[i].of & of && string_is(name, methods[i].name)) {
            *out = &methods[i];
            return 0;
        }
    for (size_t i = 0; i < sizeof unsupported / sizeof *unsupported; i++)
        if (unsupported[i].of & of && string_is(name, unsupported[i].name))
            return context_fail(c, "the method \"%s\" of %s is not supported", unsupported[i].name,
                                value_kind_name(self));
    return 0;
}
