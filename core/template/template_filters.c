/* Filters of Jinja2. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/template/template_run.h"

static struct value given_or(struct value v, struct value otherwise)
{
    return argument_given(v) ? v : otherwise;
}

/* ---- of text ---- */

static int filter_trim(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    struct string s, chars = {0};
    struct value v = a->values[0];
    if (value_to_string(r, in, &s) != 0)
        return -1;
    if (!argument_none(v) && v.kind != VALUE_STRING)
        return run_fail(r, "trim needs a str, not %s", value_kind_name(v));
    if (v.kind == VALUE_STRING)
        chars = v.string;
    *out = value_string(string_strip(s, chars, STRING_BOTH));
    return run_bytes(r, s.length * (1 + chars.length));
}

static int change_case(struct run *r, struct value in, enum string_case to, struct value *out)
{
    struct string s;
    return value_to_string(r, in, &s) == 0 ? string_change_case(r, s, to, out) : -1;
}

static int filter_upper(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, in, STRING_UPPER, out);
}

static int filter_lower(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, in, STRING_LOWER, out);
}

static int filter_title(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, in, STRING_WORDS, out);
}

static int filter_capitalize(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(r, in, STRING_CAPITALIZED, out);
}

static int filter_string(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct string s;
    if (value_to_string(r, in, &s) != 0)
        return -1;
    *out = value_string(s);
    return 0;
}

static int filter_replace(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    struct string s, old, new;
    struct value v = a->values[2];
    int64_t count = -1;
    if (!argument_none(v) && !value_as_integer(v, &count))
        return run_fail(r, "replace needs an int as count, not %s", value_kind_name(v));
    if (value_to_string(r, in, &s) != 0 || value_to_string(r, a->values[0], &old) != 0 ||
        value_to_string(r, a->values[1], &new) != 0)
        return -1;
    return string_replace(r, s, old, new, count, out);
}

/* Nothing is escaped here; what would be, because of this string, is refused elsewhere. */
static int filter_safe(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    if (filter_string(r, in, a, out) != 0)
        return -1;
    out->safe = true;
    return 0;
}

static int indent(struct run *r, struct string s, struct string by, bool first, bool blank, struct buf *out)
{
    struct value lines;
    if (string_lines(r, s, false, &lines) != 0)
        return -1;
    for (size_t i = 0; i < lines.list->count; i++) {
        struct string line = lines.list->items[i].string;
        bool indented = i == 0 ? first : blank || line.length > 0;
        if ((i && run_append(r, out, "\n", 1) != 0) ||
            (indented && run_append(r, out, by.data, by.length) != 0) ||
            run_append(r, out, line.data, line.length) != 0)
            return -1;
    }
    return 0;
}

/* So many spaces. */
static int spaces(struct run *r, int64_t count, struct value *out)
{
    struct value one = value_string(STRING(" "));
    return operate(r, '*', one, value_integer(count), out);
}

static int filter_indent(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    struct value width = given_or(a->values[0], value_integer(4)), line;
    bool first = value_truth(a->values[1]), blank = value_truth(a->values[2]);
    int64_t count;
    if (in.kind != VALUE_STRING)
        return in.kind == VALUE_UNDEFINED ? run_undefined(r, in)
                                          : run_fail(r, "indent needs a str, not %s", value_kind_name(in));
    if (width.kind != VALUE_STRING && !value_as_integer(width, &count))
        return run_fail(r, "indent needs an int or a str, not %s", value_kind_name(width));
    if (width.kind != VALUE_STRING && spaces(r, count, &width) != 0)
        return -1;
    struct buf text = {0};
    /* Jinja ends the text with a line break, so that a last empty line counts. */
    if (operate(r, '+', in, value_string(STRING("\n")), &line) != 0 ||
        indent(r, line.string, width.string, first, blank, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    return value_take(r, &text, out);
}

/* ---- of numbers ---- */

/* The number in a text, between white space; false: there is none. */
static bool read_number(struct string s, bool whole, struct value *out)
{
    char text[64], *end;
    s = string_strip(s, (struct string){0}, STRING_BOTH);
    if (s.length == 0 || s.length >= sizeof text)
        return false;
    for (size_t i = 0; i < s.length; i++)
        if (!strchr(whole ? "+-0123456789" : "+-0123456789.eE", s.data[i]) || !s.data[i])
            return false;
    memcpy(text, s.data, s.length);
    text[s.length] = '\0';
    errno = 0;
    *out = whole ? value_integer(strtoll(text, &end, 10)) : value_float(strtod(text, &end));
    return *end == '\0' && end > text && !(whole && errno);
}

/* "1_000", digits of other scripts, "inf" and whatever else Python may read as a number is an error here. */
static bool is_doubtful(struct string s)
{
    s = string_strip(s, (struct string){0}, STRING_BOTH);
    bool digits = false, other = s.length > 60;
    for (size_t i = 0; i < s.length; i++) {
        digits = digits || (s.data[i] >= '0' && s.data[i] <= '9') || (unsigned char)s.data[i] >= 0x80;
        other = other || s.data[i] == '_' || (unsigned char)s.data[i] >= 0x80;
    }
    size_t sign = s.length && (s.data[0] == '+' || s.data[0] == '-');
    return (digits && other) ||
           (s.length - sign == 3 &&
            (strncasecmp(s.data + sign, "inf", 3) == 0 || strncasecmp(s.data + sign, "nan", 3) == 0)) ||
           (s.length - sign == 8 && strncasecmp(s.data + sign, "infinity", 8) == 0);
}

static int to_whole(struct run *r, struct value number, struct value otherwise, struct value *out)
{
    double d = value_as_float(number);
    *out = otherwise;
    if (isnan(d) || isinf(d))
        return 0;
    if (fabs(d) >= 9.2e18)
        return run_fail(r, "an integer does not fit 64 bits");
    *out = value_integer((int64_t)d);
    return 0;
}

static int filter_int(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    struct value otherwise = given_or(a->values[0], value_integer(0)), number;
    int64_t whole;
    if (in.kind == VALUE_UNDEFINED)
        return run_undefined(r, in);
    if (value_as_integer(in, &whole)) {
        *out = value_integer(whole);
        return 0;
    }
    if (in.kind == VALUE_FLOAT)
        return to_whole(r, in, otherwise, out);
    *out = otherwise;
    if (in.kind != VALUE_STRING)
        return 0;
    if (is_doubtful(in.string))
        return run_fail(r, "int cannot read this text");
    if (read_number(in.string, true, &number)) {
        *out = number;
        return 0;
    }
    return read_number(in.string, false, &number) ? to_whole(r, number, otherwise, out) : 0;
}

static int filter_float(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    if (in.kind == VALUE_UNDEFINED)
        return run_undefined(r, in);
    *out = given_or(a->values[0], value_float(0));
    if (value_is_number(in))
        *out = value_float(value_as_float(in));
    else if (in.kind == VALUE_STRING && is_doubtful(in.string))
        return run_fail(r, "float cannot read this text");
    else if (in.kind == VALUE_STRING)
        (void)read_number(in.string, false, out);
    return 0;
}

static int filter_abs(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    int64_t whole;
    if (value_as_integer(in, &whole) ? whole < 0 : in.kind == VALUE_FLOAT && signbit(in.number))
        return operate_sign(r, '-', in, out);
    return operate_sign(r, '+', in, out);
}

/* ---- of sequences ---- */

static int filter_length(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    int64_t length;
    if (value_length(r, in, &length) != 0)
        return -1;
    *out = value_integer(length);
    return 0;
}

static int filter_default(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)r;
    bool missing = in.kind == VALUE_UNDEFINED || (value_truth(a->values[1]) && !value_truth(in));
    *out = missing ? given_or(a->values[0], value_string(STRING(""))) : in;
    return 0;
}

static int filter_list(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct list items;
    if (value_items(r, in, &items) != 0 || value_new_list(r, VALUE_LIST, 0, out) != 0)
        return -1;
    *out->list = items;
    return 0;
}

static int filter_first(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct list items;
    *out = value_undefined(STRING("the first item"));
    if (in.kind == VALUE_GENERATOR) { /* takes one */
        if (in.list->count) {
            *out = *in.list->items++;
            in.list->count--;
        }
        return 0;
    }
    if (value_items(r, in, &items) != 0)
        return -1;
    if (items.count)
        *out = items.items[0];
    return 0;
}

static int filter_last(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct list items;
    if (in.kind == VALUE_GENERATOR)
        return run_fail(r, "a generator has no last item");
    *out = value_undefined(STRING("the last item"));
    if (value_items(r, in, &items) != 0)
        return -1;
    if (items.count)
        *out = items.items[items.count - 1];
    return 0;
}

static int filter_items(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    if (in.kind == VALUE_UNDEFINED)
        return value_new_list(r, VALUE_GENERATOR, 0, out);
    if (in.kind != VALUE_DICT)
        return run_fail(r, "items needs a dict, not %s", value_kind_name(in));
    if (value_new_view(r, VALUE_ITEMS, in.dict, out) != 0)
        return -1;
    out->kind = VALUE_GENERATOR;
    return 0;
}

/* What a key is sorted by. */
static int sort_key(struct run *r, struct value key, bool as_it_is, struct value *out)
{
    *out = key;
    return key.kind == VALUE_STRING && !as_it_is ? string_change_case(r, key.string, STRING_LOWER, out) : 0;
}

/* Insert pair `i` where it belongs among those before it, behind its equals. */
static int insert_sorted(struct run *r, struct list *pairs, struct value *keys, size_t i, bool reverse)
{
    struct value pair = pairs->items[i], key = keys[i];
    for (; i > 0; i--) {
        int order;
        bool unordered;
        if (run_work(r, 1) != 0 || value_order(r, key, keys[i - 1], &order, &unordered) != 0)
            return -1;
        if (reverse ? order <= 0 : order >= 0)
            break;
        pairs->items[i] = pairs->items[i - 1];
        keys[i] = keys[i - 1];
    }
    pairs->items[i] = pair;
    keys[i] = key;
    return 0;
}

static int filter_dictsort(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    struct value by = given_or(a->values[1], value_string(STRING("key")));
    bool sensitive = value_truth(a->values[0]), reverse = value_truth(a->values[2]);
    if (in.kind != VALUE_DICT)
        return run_fail(r, "dictsort needs a dict, not %s", value_kind_name(in));
    if (by.kind != VALUE_STRING || !string_is(by.string, "key"))
        return run_fail(r, "dictsort by anything but \"key\" is not supported");
    struct value *keys = run_alloc(r, in.dict->count * sizeof *keys);
    if (!keys || value_new_view(r, VALUE_ITEMS, in.dict, out) != 0)
        return -1;
    out->kind = VALUE_LIST;
    for (size_t i = 0; i < in.dict->count; i++)
        if (sort_key(r, in.dict->entries[i].key, sensitive, &keys[i]) != 0 ||
            insert_sorted(r, out->list, keys, i, reverse) != 0)
            return -1;
    return 0;
}

static int filter_reverse(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    const struct value bounds[3] = {{.kind = VALUE_NONE}, {.kind = VALUE_NONE}, value_integer(-1)};
    struct list items;
    if (in.kind == VALUE_STRING)
        return operate_slice(r, in, bounds, out);
    bool list = in.kind == VALUE_GENERATOR; /* which cannot be read backwards: it becomes a list */
    if (value_items(r, in, &items) != 0 ||
        value_new_list(r, list ? VALUE_LIST : VALUE_GENERATOR, items.count, out) != 0)
        return -1;
    for (size_t i = 0; i < items.count; i++)
        out->list->items[i] = items.items[items.count - 1 - i];
    return 0;
}

/* "a.b.0" of a value; `otherwise` where it is missing. */
static int get_path(struct run *r, struct value of, struct value path, struct value otherwise,
                    struct value *out)
{
    struct value dot = value_string(STRING(".")), parts, number;
    *out = of;
    if (path.kind == VALUE_INTEGER)
        return evaluate_subscript(r, of, path, out);
    if (path.kind != VALUE_STRING)
        return run_fail(r, "an attribute's name must be a str, not %s", value_kind_name(path));
    if (string_split(r, path.string, &dot, -1, false, &parts) != 0)
        return -1;
    for (size_t i = 0; i < parts.list->count; i++) {
        struct value part = parts.list->items[i], next;
        bool digits = part.string.length > 0 && part.string.length < 10;
        for (size_t k = 0; k < part.string.length; k++)
            digits = digits && part.string.data[k] >= '0' && part.string.data[k] <= '9';
        if (digits && read_number(part.string, true, &number))
            part = number;
        if (evaluate_subscript(r, *out, part, &next) != 0)
            return -1;
        *out = next.kind == VALUE_UNDEFINED && !argument_none(otherwise) ? otherwise : next;
    }
    return 0;
}

static int filter_join(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    struct string by = STRING("");
    struct list items;
    struct buf text = {0};
    bool path = !argument_none(a->values[1]);
    if ((argument_given(a->values[0]) && value_to_string(r, a->values[0], &by) != 0) ||
        value_items(r, in, &items) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < items.count && result == 0; i++) {
        struct value v = items.items[i];
        if (path)
            result = get_path(r, items.items[i], a->values[1], (struct value){0}, &v);
        if (result == 0 && i > 0)
            result = run_append(r, &text, by.data, by.length);
        if (result == 0)
            result = run_work(r, 1) != 0 ? -1 : value_print(r, v, &text);
    }
    if (result == 0)
        return value_take(r, &text, out);
    buf_fini(&text);
    return -1;
}

/* map("upper"), map(attribute="role", default="") */
static int filter_map(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    const struct value *name = &a->values[0], *path = &a->values[1];
    const struct filter *f = NULL;
    struct list items;
    if (argument_given(*name) == argument_given(*path))
        return run_fail(r, "map needs either a filter or an attribute");
    if (argument_given(*name)) {
        f = name->kind == VALUE_STRING ? filter_find(name->string) : NULL;
        if (!f || f->signature.required > 0 || argument_given(a->values[2]))
            return run_fail(r, "map with this filter is not supported");
    }
    if (value_items(r, in, &items) != 0 || value_new_list(r, VALUE_GENERATOR, items.count, out) != 0)
        return -1;
    const struct arguments none = {0};
    for (size_t i = 0; i < items.count; i++) {
        struct value *to = &out->list->items[i];
        int result = run_enter(r) != 0 ? -1
                     : f               ? f->apply(r, items.items[i], &none, to)
                                       : get_path(r, items.items[i], *path, a->values[2], to);
        if (result != 0)
            return -1;
        r->depth--;
    }
    return 0;
}

static int passes(struct run *r, const struct test *test, struct value v, struct value argument, bool *out)
{
    struct arguments a = {.values = {argument}};
    *out = value_truth(v);
    return test ? test->apply(r, v, &a, out) : 0;
}

/* Those items that pass a test, or do not: they themselves, or what `path` finds in them. */
static int choose(struct run *r, struct value in, const struct value *path, const struct value *rest,
                  bool wanted, struct value *out)
{
    const struct test *test = NULL;
    struct list items;
    size_t kept = 0;
    if (argument_given(rest[0])) {
        test = rest[0].kind == VALUE_STRING ? test_find(rest[0].string) : NULL;
        if (!test || (test->signature.names[0] != NULL) != argument_given(rest[1]))
            return run_fail(r, "choosing with this test is not supported");
    }
    if (!value_truth(in))
        return value_new_list(r, VALUE_GENERATOR, 0, out);
    if (value_items(r, in, &items) != 0 || value_new_list(r, VALUE_GENERATOR, items.count, out) != 0)
        return -1;
    for (size_t i = 0; i < items.count; i++) {
        struct value v = items.items[i];
        bool passed;
        if (run_work(r, 1) != 0 || (path && get_path(r, items.items[i], *path, (struct value){0}, &v) != 0) ||
            passes(r, test, v, rest[1], &passed) != 0)
            return -1;
        if (passed == wanted)
            out->list->items[kept++] = items.items[i];
    }
    out->list->count = kept;
    return 0;
}

static int filter_select(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    return choose(r, in, NULL, a->values, true, out);
}
static int filter_reject(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    return choose(r, in, NULL, a->values, false, out);
}
static int filter_selectattr(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    return choose(r, in, a->values, a->values + 1, true, out);
}
static int filter_rejectattr(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    return choose(r, in, a->values, a->values + 1, false, out);
}

/* ---- to JSON ---- */

static int json_indent(struct run *r, struct value v, struct json_style *style)
{
    int64_t count;
    if (argument_none(v))
        return 0;
    style->indented = true;
    style->between = STRING(",");
    if (v.kind != VALUE_STRING && !value_as_integer(v, &count))
        return run_fail(r, "tojson needs an int as indent, not %s", value_kind_name(v));
    if (v.kind != VALUE_STRING && spaces(r, count, &v) != 0)
        return -1;
    style->indent = v.string;
    return 0;
}

static int json_separators(struct run *r, struct value v, struct json_style *style)
{
    if (argument_none(v))
        return 0;
    if ((v.kind != VALUE_TUPLE && v.kind != VALUE_LIST) || v.list->count != 2 ||
        v.list->items[0].kind != VALUE_STRING || v.list->items[1].kind != VALUE_STRING)
        return run_fail(r, "tojson needs two strings as separators");
    style->between = v.list->items[0].string;
    style->colon = v.list->items[1].string;
    return 0;
}

static int filter_tojson(struct run *r, struct value in, const struct arguments *a, struct value *out)
{
    struct buf text = {0};
    struct json_style style = {.between = STRING(", "), .colon = STRING(": ")};
    style.ascii = value_truth(a->values[0]);
    style.sorted = value_truth(a->values[3]);
    if (json_indent(r, a->values[1], &style) != 0 || json_separators(r, a->values[2], &style) != 0)
        return -1;
    if (value_to_json(r, in, &style, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    return value_take(r, &text, out);
}

/* ---- all of them ---- */

static const struct filter filters[] = {
    {"abs", {{NULL}, 0}, filter_abs, false},
    {"capitalize", {{NULL}, 0}, filter_capitalize, false},
    {"count", {{NULL}, 0}, filter_length, true},
    {"d", {{"default_value", "boolean"}, 0}, filter_default, true},
    {"default", {{"default_value", "boolean"}, 0}, filter_default, true},
    {"dictsort", {{"case_sensitive", "by", "reverse"}, 0}, filter_dictsort, false},
    {"first", {{NULL}, 0}, filter_first, false},
    {"float", {{"default"}, 0}, filter_float, false},
    {"indent", {{"width", "first", "blank"}, 0}, filter_indent, false},
    {"int", {{"default"}, 0}, filter_int, false},
    {"items", {{NULL}, 0}, filter_items, false},
    {"join", {{"d", "attribute"}, 0}, filter_join, false},
    {"last", {{NULL}, 0}, filter_last, false},
    {"length", {{NULL}, 0}, filter_length, true},
    {"list", {{NULL}, 0}, filter_list, false},
    {"lower", {{NULL}, 0}, filter_lower, false},
    {"map", {{"filter", "attribute", "default"}, 0}, filter_map, false},
    {"reject", {{"test", "argument"}, 0}, filter_reject, false},
    {"rejectattr", {{"attribute", "test", "argument"}, 1}, filter_rejectattr, false},
    {"replace", {{"old", "new", "count"}, 2}, filter_replace, false},
    {"reverse", {{NULL}, 0}, filter_reverse, false},
    {"safe", {{NULL}, 0}, filter_safe, true},
    {"select", {{"test", "argument"}, 0}, filter_select, false},
    {"selectattr", {{"attribute", "test", "argument"}, 1}, filter_selectattr, false},
    {"string", {{NULL}, 0}, filter_string, false},
    {"title", {{NULL}, 0}, filter_title, false},
    {"tojson", {{"ensure_ascii", "indent", "separators", "sort_keys"}, 0}, filter_tojson, true},
    {"trim", {{"chars"}, 0}, filter_trim, false},
    {"upper", {{NULL}, 0}, filter_upper, false},
};

const struct filter *filter_find(struct string name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (string_is(name, filters[i].name))
            return &filters[i];
    return NULL;
}

int filter_apply(struct run *r, const struct filter *f, struct value in, const struct arguments *a,
                 struct value *out)
{
    if (in.safe && !f->takes_safe)
        return run_fail(r, "the filter \"%s\" of what went through \"safe\" is not supported", f->name);
    return f->apply(r, in, a, out);
}
