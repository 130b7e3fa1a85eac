/* Filters of texts. */
#include "core/template/builtins/filters_private.h"
#include "core/template/values/operators.h"
#include "core/template/values/string_case.h"
#include "core/template/values/string_edit.h"
#include "core/template/values/value_print.h"

int filter_trim(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    struct string s, chars = {0};
    struct value v = a->values[0];
    if (value_to_string(c, in, &s) != 0)
        return -1;
    if (!argument_none(v) && v.kind != VALUE_STRING)
        return context_fail(c, "trim needs a str, not %s", value_kind_name(v));
    if (v.kind == VALUE_STRING)
        chars = v.string;
    *out = value_string(string_strip(s, chars, STRING_BOTH));
    return context_bytes(c, s.length * (1 + chars.length));
}

static int change_case(struct context *c, struct value in, enum string_case to, struct value *out)
{
    struct string s;
    return value_to_string(c, in, &s) == 0 ? string_change_case(c, s, to, out) : -1;
}

int filter_upper(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(c, in, STRING_UPPER, out);
}

int filter_lower(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(c, in, STRING_LOWER, out);
}

int filter_title(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(c, in, STRING_WORDS, out);
}

int filter_capitalize(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    return change_case(c, in, STRING_CAPITALIZED, out);
}

int filter_string(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    struct string s;
    if (value_to_string(c, in, &s) != 0)
        return -1;
    *out = value_string(s);
    return 0;
}

int filter_replace(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    struct string s, old, new;
    struct value v = a->values[2];
    int64_t count = -1;
    if (!argument_none(v) && !value_as_integer(v, &count))
        return context_fail(c, "replace needs an int as count, not %s", value_kind_name(v));
    if (value_to_string(c, in, &s) != 0 || value_to_string(c, a->values[0], &old) != 0 ||
        value_to_string(c, a->values[1], &new) != 0)
        return -1;
    return string_replace(c, s, old, new, count, out);
}

/* Marks the string. Nothing is escaped in this sandbox, but Jinja2 escapes what is joined with such a string:
 * the operators refuse to do that. */
int filter_safe(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    if (filter_string(c, in, a, out) != 0)
        return -1;
    out->safe = true;
    return 0;
}

static int indent(struct context *c, struct string s, struct string by, bool first, bool blank,
                  struct buf *out)
{
    struct value lines;
    if (string_lines(c, s, false, &lines) != 0)
        return -1;
    for (size_t i = 0; i < lines.list->count; i++) {
        struct string line = lines.list->items[i].string;
        bool indented = i == 0 ? first : blank || line.length > 0;
        if ((i && context_append(c, out, "\n", 1) != 0) ||
            (indented && context_append(c, out, by.data, by.length) != 0) ||
            context_append(c, out, line.data, line.length) != 0)
            return -1;
    }
    return 0;
}

/* So many spaces. */
int filter_spaces(struct context *c, int64_t count, struct value *out)
{
    struct value one = value_string(STRING(" "));
    return operate(c, '*', one, value_integer(count), out);
}

int filter_indent(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    struct value width = argument_or(a->values[0], value_integer(4)), line;
    bool first = value_truth(a->values[1]), blank = value_truth(a->values[2]);
    int64_t count;
    if (in.kind != VALUE_STRING)
        return in.kind == VALUE_UNDEFINED
                   ? value_fail_undefined(c, in)
                   : context_fail(c, "indent needs a str, not %s", value_kind_name(in));
    if (width.kind != VALUE_STRING && !value_as_integer(width, &count))
        return context_fail(c, "indent needs an int or a str, not %s", value_kind_name(width));
    if (width.kind != VALUE_STRING && filter_spaces(c, count, &width) != 0)
        return -1;
    struct buf text = {0};
    /* Jinja ends the text with a line break, so that a last empty line counts. */
    if (operate(c, '+', in, value_string(STRING("\n")), &line) != 0 ||
        indent(c, line.string, width.string, first, blank, &text) != 0) {
        buf_fini(&text);
        return -1;
    }
    return value_take(c, &text, out);
}
