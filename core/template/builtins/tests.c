#include "core/template/builtins/tests.h"

#include "core/template/values/operators.h"
#include "core/template/values/string_case.h"
#include "core/template/values/value_print.h"

#define TEST(name) \
    static int test_##name(struct context *c, struct value in, const struct arguments *a, bool *out)

TEST(defined)
{
    (void)c, (void)a;
    *out = in.kind != VALUE_UNDEFINED;
    return 0;
}

TEST(undefined)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_UNDEFINED;
    return 0;
}

TEST(none)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_NONE;
    return 0;
}

TEST(string)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_STRING;
    return 0;
}

TEST(mapping)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_DICT;
    return 0;
}

TEST(sequence)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_STRING || in.kind == VALUE_DICT || in.kind == VALUE_LIST ||
           in.kind == VALUE_TUPLE || in.kind == VALUE_RANGE || in.kind == VALUE_UNDEFINED;
    return 0;
}

TEST(iterable)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_STRING || in.kind == VALUE_DICT || in.kind == VALUE_UNDEFINED ||
           in.kind == VALUE_LOOP || value_is_list(in);
    return 0;
}

TEST(callable)
{
    (void)c, (void)a;
    if (in.kind == VALUE_UNDEFINED || in.kind == VALUE_LOOP)
        return context_fail(c, "\"callable\" of %s is not supported", value_kind_name(in));
    *out = in.kind == VALUE_MACRO || in.kind == VALUE_FUNCTION || in.kind == VALUE_METHOD;
    return 0;
}

TEST(number)
{
    (void)c, (void)a;
    *out = value_is_number(in);
    return 0;
}

TEST(integer)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_INTEGER;
    return 0;
}

TEST(float)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_FLOAT;
    return 0;
}

TEST(boolean)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_BOOL;
    return 0;
}

TEST(true)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_BOOL && in.boolean;
    return 0;
}

TEST(false)
{
    (void)c, (void)a;
    *out = in.kind == VALUE_BOOL && !in.boolean;
    return 0;
}

/* in % by == rest */
static int divides(struct context *c, struct value in, struct value by, int64_t rest, bool *out)
{
    struct value found;
    if (in.kind == VALUE_STRING)
        return context_fail(c, "a str cannot be divided");
    if (operate(c, '%', in, by, &found) != 0)
        return -1;
    return value_equal(c, found, value_integer(rest), out);
}

TEST(odd)
{
    (void)a;
    return divides(c, in, value_integer(2), 1, out);
}

TEST(even)
{
    (void)a;
    return divides(c, in, value_integer(2), 0, out);
}

TEST(divisibleby)
{
    return divides(c, in, a->values[0], 0, out);
}

static int has_case(struct context *c, struct value in, enum string_case wanted, bool *out)
{
    struct string s;
    if (value_to_string(c, in, &s) != 0)
        return -1;
    *out = string_has_case(s, wanted);
    return context_bytes(c, s.length);
}

TEST(lower)
{
    (void)a;
    return has_case(c, in, STRING_LOWER, out);
}

TEST(upper)
{
    (void)a;
    return has_case(c, in, STRING_UPPER, out);
}

TEST(eq)
{
    return operate_compare(c, TWO('=', '='), in, a->values[0], out);
}

TEST(ne)
{
    return operate_compare(c, TWO('!', '='), in, a->values[0], out);
}

TEST(lt)
{
    return operate_compare(c, '<', in, a->values[0], out);
}

TEST(le)
{
    return operate_compare(c, TWO('<', '='), in, a->values[0], out);
}

TEST(gt)
{
    return operate_compare(c, '>', in, a->values[0], out);
}

TEST(ge)
{
    return operate_compare(c, TWO('>', '='), in, a->values[0], out);
}

TEST(in)
{
    return operate_compare(c, 'i', in, a->values[0], out);
}

#define ONE          \
    {                \
        {"other"}, 1 \
    }

static const struct test tests[] = {
    {"!=", ONE, test_ne},
    {"<", ONE, test_lt},
    {"<=", ONE, test_le},
    {"==", ONE, test_eq},
    {">", ONE, test_gt},
    {">=", ONE, test_ge},
    {"boolean", {{NULL}, 0}, test_boolean},
    {"callable", {{NULL}, 0}, test_callable},
    {"defined", {{NULL}, 0}, test_defined},
    {"divisibleby", {{"num"}, 1}, test_divisibleby},
    {"eq", ONE, test_eq},
    {"equalto", ONE, test_eq},
    {"even", {{NULL}, 0}, test_even},
    {"false", {{NULL}, 0}, test_false},
    {"float", {{NULL}, 0}, test_float},
    {"ge", ONE, test_ge},
    {"greaterthan", ONE, test_gt},
    {"gt", ONE, test_gt},
    {"in", {{"seq"}, 1}, test_in},
    {"integer", {{NULL}, 0}, test_integer},
    {"iterable", {{NULL}, 0}, test_iterable},
    {"le", ONE, test_le},
    {"lessthan", ONE, test_lt},
    {"lower", {{NULL}, 0}, test_lower},
    {"lt", ONE, test_lt},
    {"mapping", {{NULL}, 0}, test_mapping},
    {"ne", ONE, test_ne},
    {"none", {{NULL}, 0}, test_none},
    {"number", {{NULL}, 0}, test_number},
    {"odd", {{NULL}, 0}, test_odd},
    {"sequence", {{NULL}, 0}, test_sequence},
    {"string", {{NULL}, 0}, test_string},
    {"true", {{NULL}, 0}, test_true},
    {"undefined", {{NULL}, 0}, test_undefined},
    {"upper", {{NULL}, 0}, test_upper},
};

const struct test *tests_find(struct string name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (string_is(name, tests[i].name))
            return &tests[i];
    return NULL;
}
