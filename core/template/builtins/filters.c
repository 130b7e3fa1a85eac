#include "core/template/builtins/filters.h"

#include "core/template/builtins/access.h"
#include "core/template/builtins/filters_private.h"
#include "core/template/builtins/tests.h"
#include "core/template/values/operators.h"
#include "core/template/values/value_json.h"

/* ---- filters that call filters and tests ---- */

/* map("upper"), map(attribute="role", default="") */
static int filter_map(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    const struct value *name = &a->values[0], *path = &a->values[1];
    const struct filter *f = NULL;
    struct list items;
    if (argument_given(*name) == argument_given(*path))
        return context_fail(c, "map needs either a filter or an attribute");
    if (argument_given(*name)) {
        f = name->kind == VALUE_STRING ? filters_find(name->string) : NULL;
        if (!f || f->signature.required > 0 || argument_given(a->values[2]))
            return context_fail(c, "map with this filter is not supported");
    }
    if (value_items(c, in, &items) != 0 || value_new_list(c, VALUE_GENERATOR, items.count, out) != 0)
        return -1;
    const struct arguments none = {0};
    for (size_t i = 0; i < items.count; i++) {
        struct value *to = &out->list->items[i];
        int result = context_enter(c) != 0 ? -1
                     : f                   ? f->apply(c, items.items[i], &none, to)
                                           : access_path(c, items.items[i], *path, a->values[2], to);
        if (result != 0)
            return -1;
        context_leave(c);
    }
    return 0;
}

static int passes(struct context *c, const struct test *test, struct value v, struct value argument,
                  bool *out)
{
    struct arguments a = {.values = {argument}};
    *out = value_truth(v);
    return test ? test->apply(c, v, &a, out) : 0;
}

/* Those items that pass a test, or do not: they themselves, or what `path` finds in them. */
static int choose(struct context *c, struct value in, const struct value *path, const struct value *rest,
                  bool wanted, struct value *out)
{
    const struct test *test = NULL;
    struct list items;
    size_t kept = 0;
    if (argument_given(rest[0])) {
        test = rest[0].kind == VALUE_STRING ? tests_find(rest[0].string) : NULL;
        if (!test || (test->signature.names[0] != NULL) != argument_given(rest[1]))
            return context_fail(c, "choosing with this test is not supported");
    }
    if (!value_truth(in))
        return value_new_list(c, VALUE_GENERATOR, 0, out);
    if (value_items(c, in, &items) != 0 || value_new_list(c, VALUE_GENERATOR, items.count, out) != 0)
        return -1;
    for (size_t i = 0; i < items.count; i++) {
        struct value v = items.items[i];
        bool passed;
        if (context_work(c, 1) != 0 ||
            (path && access_path(c, items.items[i], *path, (struct value){0}, &v) != 0) ||
            passes(c, test, v, rest[1], &passed) != 0)
            return -1;
        if (passed == wanted)
            out->list->items[kept++] = items.items[i];
    }
    out->list->count = kept;
    return 0;
}

static int filter_select(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    return choose(c, in, NULL, a->values, true, out);
}

static int filter_reject(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    return choose(c, in, NULL, a->values, false, out);
}

static int filter_selectattr(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    return choose(c, in, a->values, a->values + 1, true, out);
}

static int filter_rejectattr(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    return choose(c, in, a->values, a->values + 1, false, out);
}

/* ---- to JSON ---- */

static int json_indent(struct context *c, struct value v, struct json_style *style)
{
    int64_t count;
    if (argument_none(v))
        return 0;
    style->indented = true;
    style->between = STRING(",");
    if (v.kind != VALUE_STRING && !value_as_integer(v, &count))
        return context_fail(c, "tojson needs an int as indent, not %s", value_kind_name(v));
    if (v.kind != VALUE_STRING && filter_spaces(c, count, &v) != 0)
        return -1;
    style->indent = v.string;
    return 0;
}

static int json_separators(struct context *c, struct value v, struct json_style *style)
{
    if (argument_none(v))
        return 0;
    if ((v.kind != VALUE_TUPLE && v.kind != VALUE_LIST) || v.list->count != 2 ||
        v.list->items[0].kind != VALUE_STRING || v.list->items[1].kind != VALUE_STRING)
        return context_fail(c, "tojson needs two strings as separators");
    style->between = v.list->items[0].string;
    style->colon = v.list->items[1].string;
    return 0;
}

static int filter_tojson(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    struct buf text = {0};
    struct json_style style = {.between = STRING(", "), .colon = STRING(": ")};
    style.ascii = value_truth(a->values[0]);
    style.sorted = value_truth(a->values[3]);
    if (json_indent(c, a->values[1], &style) != 0 || json_separators(c, a->values[2], &style) != 0)
        return -1;
    if (value_to_json(c, in, &style, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    return value_take(c, &text, out);
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
    {"sort", {{"reverse", "case_sensitive", "attribute"}, 0}, filter_sort, false},
    {"string", {{NULL}, 0}, filter_string, false},
    {"title", {{NULL}, 0}, filter_title, false},
    {"tojson", {{"ensure_ascii", "indent", "separators", "sort_keys"}, 0}, filter_tojson, true},
    {"trim", {{"chars"}, 0}, filter_trim, false},
    {"unique", {{"case_sensitive", "attribute"}, 0}, filter_unique, false},
    {"upper", {{NULL}, 0}, filter_upper, false},
};

const struct filter *filters_find(struct string name)
{
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++)
        if (string_is(name, filters[i].name))
            return &filters[i];
    return NULL;
}

int filters_apply(struct context *c, const struct filter *f, struct value in, const struct arguments *a,
                  struct value *out)
{
    if (in.safe && !f->takes_safe)
        return context_fail(c, "the filter \"%s\" of what went through \"safe\" is not supported", f->name);
    return f->apply(c, in, a, out);
}
