/* Tests of Jinja2: "is defined". */
#include "core/template/template_run.h"

#define TEST(name) \
    static int test_##name(struct run *r, struct value in, const struct arguments *a, bool *out)

TEST(defined)
{
    (void)r, (void)a;
    *out = in.kind != VALUE_UNDEFINED;
    return 0;
}

TEST(undefined)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_UNDEFINED;
    return 0;
}

TEST(none)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_NONE;
    return 0;
}

TEST(string)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_STRING;
    return 0;
}

TEST(mapping)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_DICT;
    return 0;
}

TEST(sequence)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_STRING || in.kind == VALUE_DICT || in.kind == VALUE_LIST ||
           in.kind == VALUE_TUPLE || in.kind == VALUE_RANGE || in.kind == VALUE_UNDEFINED;
    return 0;
}

TEST(iterable)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_STRING || in.kind == VALUE_DICT || in.kind == VALUE_UNDEFINED ||
           in.kind == VALUE_LOOP || value_is_list(in);
    return 0;
}

TEST(callable)
{
    (void)r, (void)a;
    if (in.kind == VALUE_UNDEFINED || in.kind == VALUE_LOOP)
        return run_fail(r, "\"callable\" of %s is not supported", value_kind_name(in));
    *out = in.kind == VALUE_MACRO || in.kind == VALUE_FUNCTION || in.kind == VALUE_METHOD;
    return 0;
}

TEST(number)
{
    (void)r, (void)a;
    *out = value_is_number(in);
    return 0;
}

TEST(integer)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_INTEGER;
    return 0;
}

TEST(float)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_FLOAT;
    return 0;
}

TEST(boolean)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_BOOL;
    return 0;
}

TEST(true)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_BOOL && in.boolean;
    return 0;
}

TEST(false)
{
    (void)r, (void)a;
    *out = in.kind == VALUE_BOOL && !in.boolean;
    return 0;
}

/* in % by == rest */
static int divides(struct run *r, struct value in, struct value by, int64_t rest, bool *out)
{
    struct value found;
    if (in.kind == VALUE_STRING)
        return run_fail(r, "a str cannot be divided");
    if (operate(r, '%', in, by, &found) != 0)
        return -1;
    return value_equal(r, found, value_integer(rest), out);
}

TEST(odd)
{
    (void)a;
    return divides(r, in, value_integer(2), 1, out);
}

TEST(even)
{
    (void)a;
    return divides(r, in, value_integer(2), 0, out);
}

TEST(divisibleby)
{
    return divides(r, in, a->values[0], 0, out);
}

static int has_case(struct run *r, struct value in, enum string_case wanted, bool *out)
{
    struct string s;
    if (value_to_string(r, in, &s) != 0)
        return -1;
    *out = string_has_case(s, wanted);
    return run_bytes(r, s.length);
}

TEST(lower)
{
    (void)a;
    return has_case(r, in, STRING_LOWER, out);
}

TEST(upper)
{
    (void)a;
    return has_case(r, in, STRING_UPPER, out);
}

TEST(eq)
{
    return operate_compare(r, TWO('=', '='), in, a->values[0], out);
}

TEST(ne)
{
    return operate_compare(r, TWO('!', '='), in, a->values[0], out);
}

TEST(lt)
{
    return operate_compare(r, '<', in, a->values[0], out);
}

TEST(le)
{
    return operate_compare(r, TWO('<', '='), in, a->values[0], out);
}

TEST(gt)
{
    return operate_compare(r, '>', in, a->values[0], out);
}

TEST(ge)
{
    return operate_compare(r, TWO('>', '='), in, a->values[0], out);
}

TEST(in)
{
    return operate_compare(r, 'i', in, a->values[0], out);
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

const struct test *test_find(struct string name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (string_is(name, tests[i].name))
            return &tests[i];
    return NULL;
}
