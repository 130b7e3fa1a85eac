/* Operators of Jinja2, which are Python's. Integers have 64 bits here: what does not fit is an error. */
#include <math.h>
#include <string.h>

#include "core/template/template_run.h"

static const char *operator_name(int operator)
{
    static char names[][3] = {"+", "-", "*", "/", "%", "//", "**"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (operator==(names[i][1] ? TWO(names[i][0], names[i][1]) : names[i][0]))
            return names[i];
    return "?";
}

static int refuse(struct run *r, int operator, struct value a, struct value b)
{
    if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED)
        return run_undefined(r, a.kind == VALUE_UNDEFINED ? a : b);
    return run_fail(r, "%s %s %s is not supported", value_kind_name(a), operator_name(operator),
                    value_kind_name(b));
}

/* ---- numbers ---- */

static bool power(int64_t base, int64_t exponent, int64_t *out)
{
    int64_t result = 1;
    if (base == 0 || base == 1 || base == -1) {
        *out = exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base;
        return true;
    }
    for (; exponent > 0; exponent--) /* ends by 64: the result grows each time */
        if (__builtin_mul_overflow(result, base, &result))
            return false;
    *out = result;
    return true;
}

/* Rounded down, as in Python; false: does not fit. */
static bool divide(int64_t a, int64_t b, int64_t *quotient, int64_t *rest)
{
    if (b == -1) {
        *rest = 0;
        return !__builtin_sub_overflow((int64_t)0, a, quotient);
    }
    *quotient = a / b;
    *rest = a % b;
    if (*rest != 0 && (*rest < 0) != (b < 0)) {
        *rest += b;
        *quotient -= 1;
    }
    return true;
}

static int operate_integers(struct run *r, int operator, int64_t a, int64_t b, struct value *out)
{
    int64_t result = 0, other;
    bool fits = true;
    if (b == 0 && (operator== TWO('/', '/') || operator== '%'))
        return run_fail(r, "division by zero");
    switch (operator) {
    case '+':
        fits = !__builtin_add_overflow(a, b, &result);
        break;
    case '-':
        fits = !__builtin_sub_overflow(a, b, &result);
        break;
    case '*':
        fits = !__builtin_mul_overflow(a, b, &result);
        break;
    case '%':
        fits = divide(a, b, &other, &result);
        break;
    case TWO('/', '/'):
        fits = divide(a, b, &result, &other);
        break;
    default:
        fits = power(a, b, &result);
    }
    *out = value_integer(result);
    return fits ? 0 : run_fail(r, "an integer does not fit 64 bits");
}

static double floor_divide(double a, double b, double *rest)
{
    double m = fmod(a, b), quotient = (a - m) / b;
    if (m != 0 && (b < 0) != (m < 0)) {
        m += b;
        quotient -= 1;
    }
    *rest = m == 0 ? copysign(0, b) : m;
    if (quotient == 0)
        return copysign(0, a / b);
    double whole = floor(quotient);
    return quotient - whole > 0.5 ? whole + 1 : whole;
}

static int operate_floats(struct run *r, int operator, double a, double b, struct value *out)
{
    double rest, result;
    if (b == 0 && (operator== '/' || operator== TWO('/', '/') || operator== '%'))
        return run_fail(r, "division by zero");
    switch (operator) {
    case '+':
        result = a + b;
        break;
    case '-':
        result = a - b;
        break;
    case '*':
        result = a * b;
        break;
    case '/':
        result = a / b;
        break;
    case '%':
        floor_divide(a, b, &result);
        break;
    case TWO('/', '/'):
        result = floor_divide(a, b, &rest);
        break;
    default:
        if ((a < 0 && b != floor(b)) || (a == 0 && b < 0))
            return run_fail(r, "this power is not a real number");
        result = pow(a, b);
        if (isinf(result) && !isinf(a) && !isinf(b))
            return run_fail(r, "the power is too large");
    }
    *out = value_float(result);
    return 0;
}

static int operate_numbers(struct run *r, int operator, struct value a, struct value b, struct value *out)
{
    int64_t x, y;
    bool integers = value_as_integer(a, &x) && value_as_integer(b, &y);
    if (integers && operator!= '/' && !(operator== TWO('*', '*') && y < 0))
        return operate_integers(r, operator, x, y, out);
    return operate_floats(r, operator, value_as_float(a), value_as_float(b), out);
}

int operate_sign(struct run *r, int operator, struct value a, struct value *out)
{
    if (a.kind == VALUE_UNDEFINED)
        return run_undefined(r, a);
    if (!value_is_number(a))
        return run_fail(r, "%s has no sign", value_kind_name(a));
    if (a.kind == VALUE_FLOAT) {
        *out = value_float(operator== '-' ? -a.number : a.number);
        return 0;
    }
    return operate_numbers(r, operator, value_integer(0), a, out);
}

/* ---- sequences ---- */

static int join_strings(struct run *r, struct string a, struct string b, struct value *out)
{
    char *data = run_bytes(r, a.length + b.length) == 0 ? run_alloc(r, a.length + b.length + 1) : NULL;
    if (!data)
        return -1;
    if (a.length)
        memcpy(data, a.data, a.length);
    if (b.length)
        memcpy(data + a.length, b.data, b.length);
    *out = value_string((struct string){data, a.length + b.length});
    return 0;
}

static int join_lists(struct run *r, struct value a, struct value b, struct value *out)
{
    size_t count = a.list->count;
    if (value_new_list(r, a.kind, count + b.list->count, out) != 0)
        return -1;
    if (count) /* the items of an empty list may be NULL */
        memcpy(out->list->items, a.list->items, count * sizeof *a.list->items);
    if (b.list->count)
        memcpy(out->list->items + count, b.list->items, b.list->count * sizeof *b.list->items);
    return 0;
}

static int repeat(struct run *r, struct value of, int64_t times, struct value *out)
{
    bool string = of.kind == VALUE_STRING;
    size_t size = string ? of.string.length : of.list->count, total;
    uint64_t count = times > 0 && size ? (uint64_t)times : 0;
    if (__builtin_mul_overflow(size, count, &total) || total > r->arena.bytes_max)
        return run_fail(r, "it takes more than %zu bytes of memory", r->arena.bytes_max);
    if (run_work(r, total / 8 + count) != 0)
        return -1;
    if (!string && value_new_list(r, of.kind, total, out) != 0)
        return -1;
    char *data = string ? run_alloc(r, total + 1) : (char *)out->list->items;
    if (!data)
        return -1;
    size_t bytes = string ? size : size * sizeof *out->list->items;
    for (size_t i = 0; i < count; i++)
        memcpy(data + i * bytes, string ? of.string.data : (char *)of.list->items, bytes);
    if (string)
        *out = value_string((struct string){data, total});
    return 0;
}

static bool is_sequence(struct value v)
{
    return v.kind == VALUE_STRING || v.kind == VALUE_LIST || v.kind == VALUE_TUPLE;
}

int operate(struct run *r, int operator, struct value a, struct value b, struct value *out)
{
    int64_t times;
    if (a.safe || b.safe)
        return run_fail(r, "%s of what went through \"safe\" is not supported", operator_name(operator));
    if (value_is_number(a) && value_is_number(b))
        return operate_numbers(r, operator, a, b, out);
    if (operator== '+' && a.kind == b.kind && is_sequence(a))
        return a.kind == VALUE_STRING ? join_strings(r, a.string, b.string, out) : join_lists(r, a, b, out);
    if (operator== '*' && is_sequence(a) && value_as_integer(b, &times))
        return repeat(r, a, times, out);
    if (operator== '*' && is_sequence(b) && value_as_integer(a, &times))
        return repeat(r, b, times, out);
    return refuse(r, operator, a, b);
}

/* ---- comparisons ---- */

int operate_compare(struct run *r, int operator, struct value a, struct value b, bool *out)
{
    int order = 0;
    bool unordered;
    switch (operator) {
    case 'i':
        return value_contains(r, b, a, out);
    case 'n':
        if (value_contains(r, b, a, out) != 0)
            return -1;
        *out = !*out;
        return 0;
    case TWO('=', '='):
        return value_equal(r, a, b, out);
    case TWO('!', '='):
        if (value_equal(r, a, b, out) != 0)
            return -1;
        *out = !*out;
        return 0;
    default:
        if (value_order(r, a, b, &order, &unordered) != 0)
            return -1;
    }
    *out = !unordered && (operator== '<' ? order < 0 :
                          operator== '>' ? order > 0
                          :
                          operator== TWO('<', '=') ? order <= 0
                                                   : order >= 0);
    return 0;
}

/* ---- places ---- */

bool operate_index(int64_t index, size_t count, size_t *out)
{
    if (index < 0)
        index += (int64_t)count;
    *out = (size_t)index;
    return index >= 0 && (uint64_t)index < count;
}

/* A bound of a slice, cut to what there is; `none` where it was left out. */
static int slice_bound(struct run *r, struct value v, int64_t count, int64_t low, int64_t high, int64_t none,
                       int64_t *out)
{
    *out = none;
    if (v.kind == VALUE_NONE)
        return 0;
    if (!value_as_integer(v, out))
        return v.kind == VALUE_UNDEFINED ? run_undefined(r, v)
                                         : run_fail(r, "a slice needs integers, not %s", value_kind_name(v));
    if (*out < 0)
        *out += count;
    *out = *out < low ? low : *out > high ? high : *out;
    return 0;
}

struct range {
    int64_t start, step;
    size_t count;
};

/* Source: Python's slice.indices. */
static int slice_range(struct run *r, const struct value bounds[3], size_t size, struct range *out)
{
    int64_t count = (int64_t)size, step = 1, start, stop;
    if (bounds[2].kind != VALUE_NONE && !value_as_integer(bounds[2], &step))
        return run_fail(r, "a slice needs integers, not %s", value_kind_name(bounds[2]));
    if (step == 0)
        return run_fail(r, "the step of a slice is 0");
    if (step < -count - 1) /* one item at most, as with any step beyond */
        step = -count - 1;
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? count - 1 : count;
    if (slice_bound(r, bounds[0], count, low, high, step < 0 ? high : low, &start) != 0 ||
        slice_bound(r, bounds[1], count, low, high, step < 0 ? low : high, &stop) != 0)
        return -1;
    int64_t distance = step < 0 ? start - stop : stop - start, size_of_step = step < 0 ? -step : step;
    *out = (struct range){start, step, distance > 0 ? (size_t)((distance - 1) / size_of_step + 1) : 0};
    return 0;
}

static int slice_list(struct run *r, struct value of, const struct range *range, struct value *out)
{
    if (value_new_list(r, of.kind, range->count, out) != 0)
        return -1;
    for (size_t i = 0; i < range->count; i++)
        out->list->items[i] = of.list->items[range->start + (int64_t)i * range->step];
    return 0;
}

static int slice_string(struct run *r, struct string s, const struct range *range, struct value *out)
{
    if (range->count == 0 || range->step == 1) {
        *out = value_string(range->count ? string_part(s, (size_t)range->start, range->count) : STRING(""));
        return 0;
    }
    struct list items;
    struct value characters, picked;
    struct buf text = {0};
    if (value_items(r, value_string(s), &items) != 0)
        return -1;
    characters = (struct value){.kind = VALUE_LIST, .list = &items};
    if (slice_list(r, characters, range, &picked) != 0)
        return -1;
    for (size_t i = 0; i < picked.list->count; i++)
        if (buf_append(&text, picked.list->items[i].string.data, picked.list->items[i].string.length) != 0) {
            buf_fini(&text);
            return err_memory(r->e);
        }
    return value_take(r, &text, out);
}

int operate_slice(struct run *r, struct value of, const struct value bounds[3], struct value *out)
{
    struct range range;
    if (of.kind == VALUE_UNDEFINED)
        return run_undefined(r, of);
    if (of.safe)
        return run_fail(r, "slices of what went through \"safe\" are not supported");
    bool string = of.kind == VALUE_STRING;
    if (!string && of.kind != VALUE_LIST && of.kind != VALUE_TUPLE && of.kind != VALUE_RANGE)
        return run_fail(r, "%s cannot be sliced", value_kind_name(of));
    size_t size = string ? string_count(of.string) : of.list->count;
    if ((string && run_bytes(r, of.string.length) != 0) || slice_range(r, bounds, size, &range) != 0)
        return -1;
    return string ? slice_string(r, of.string, &range, out) : slice_list(r, of, &range, out);
}
