#include "core/template/values/operators.h"

#include <math.h>
#include <string.h>

static const char *operator_name(int symbol)
{
    static char names[][3] = {"+", "-", "*", "/", "%", "//", "**"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (symbol == (names[i][1] ? TWO(names[i][0], names[i][1]) : names[i][0]))
            return names[i];
    return "?";
}

static int refuse(struct context *c, int symbol, struct value a, struct value b)
{
    if (a.kind == VALUE_UNDEFINED || b.kind == VALUE_UNDEFINED)
        return value_fail_undefined(c, a.kind == VALUE_UNDEFINED ? a : b);
    return context_fail(c, "%s %s %s is not supported", value_kind_name(a), operator_name(symbol),
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
    for (; exponent > 0; exponent--) /* |base| >= 2: it overflows within 64 rounds */
        if (__builtin_mul_overflow(result, base, &result))
            return false;
    *out = result;
    return true;
}

/* Both rounded towards minus infinity, as in Python; false: the quotient does not fit. */
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

static int operate_integers(struct context *c, int symbol, int64_t a, int64_t b, struct value *out)
{
    int64_t result = 0, other;
    bool fits = true;
    if (b == 0 && (symbol == TWO('/', '/') || symbol == '%'))
        return context_fail(c, "division by zero");
    switch (symbol) {
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
    return fits ? 0 : context_fail(c, "an integer does not fit 64 bits");
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

static int operate_floats(struct context *c, int symbol, double a, double b, struct value *out)
{
    double rest, result;
    if (b == 0 && (symbol == '/' || symbol == TWO('/', '/') || symbol == '%'))
        return context_fail(c, "division by zero");
    switch (symbol) {
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
            return context_fail(c, "this power is not a real number");
        result = pow(a, b);
        if (isinf(result) && !isinf(a) && !isinf(b))
            return context_fail(c, "the power is too large");
    }
    *out = value_float(result);
    return 0;
}

static int operate_numbers(struct context *c, int symbol, struct value a, struct value b, struct value *out)
{
    int64_t x, y;
    bool integers = value_as_integer(a, &x) && value_as_integer(b, &y);
    if (integers && symbol != '/' && !(symbol == TWO('*', '*') && y < 0))
        return operate_integers(c, symbol, x, y, out);
    return operate_floats(c, symbol, value_as_float(a), value_as_float(b), out);
}

int operate_sign(struct context *c, int symbol, struct value a, struct value *out)
{
    if (a.kind == VALUE_UNDEFINED)
        return value_fail_undefined(c, a);
    if (!value_is_number(a))
        return context_fail(c, "%s has no sign", value_kind_name(a));
    if (a.kind == VALUE_FLOAT) {
        *out = value_float(symbol == '-' ? -a.number : a.number);
        return 0;
    }
    return operate_numbers(c, symbol, value_integer(0), a, out);
}

/* ---- sequences ---- */

static int join_strings(struct context *c, struct string a, struct string b, struct value *out)
{
    char *data =
        context_bytes(c, a.length + b.length) == 0 ? context_alloc(c, a.length + b.length + 1) : NULL;
    if (!data)
        return -1;
    if (a.length)
        memcpy(data, a.data, a.length);
    if (b.length)
        memcpy(data + a.length, b.data, b.length);
    *out = value_string((struct string){data, a.length + b.length});
    return 0;
}

static int join_lists(struct context *c, struct value a, struct value b, struct value *out)
{
    size_t count = a.list->count;
    if (value_new_list(c, a.kind, count + b.list->count, out) != 0)
        return -1;
    if (count) /* the items of an empty list may be NULL */
        memcpy(out->list->items, a.list->items, count * sizeof *a.list->items);
    if (b.list->count)
        memcpy(out->list->items + count, b.list->items, b.list->count * sizeof *b.list->items);
    return 0;
}

static int repeat(struct context *c, struct value of, int64_t times, struct value *out)
{
    bool string = of.kind == VALUE_STRING;
    size_t size = string ? of.string.length : of.list->count, total;
    uint64_t count = times > 0 && size ? (uint64_t)times : 0;
    if (__builtin_mul_overflow(size, count, &total) || total > c->arena.bytes_max)
        return context_fail(c, "it takes more than %zu bytes of memory", c->arena.bytes_max);
    if (context_work(c, total / 8 + count) != 0)
        return -1;
    if (!string && value_new_list(c, of.kind, total, out) != 0)
        return -1;
    char *data = string ? context_alloc(c, total + 1) : (char *)out->list->items;
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

int operate(struct context *c, int symbol, struct value a, struct value b, struct value *out)
{
    int64_t times;
    if (a.safe || b.safe)
        return context_fail(c, "%s of what went through \"safe\" is not supported", operator_name(symbol));
    if (value_is_number(a) && value_is_number(b))
        return operate_numbers(c, symbol, a, b, out);
    if (symbol == '+' && a.kind == b.kind && is_sequence(a))
        return a.kind == VALUE_STRING ? join_strings(c, a.string, b.string, out) : join_lists(c, a, b, out);
    if (symbol == '*' && is_sequence(a) && value_as_integer(b, &times))
        return repeat(c, a, times, out);
    if (symbol == '*' && is_sequence(b) && value_as_integer(a, &times))
        return repeat(c, b, times, out);
    return refuse(c, symbol, a, b);
}

/* ---- comparisons ---- */

int operate_order(struct context *c, struct value a, struct value b, int *out, bool *unordered)
{
    int64_t x, y;
    *unordered = false;
    if (a.kind == VALUE_STRING && b.kind == VALUE_STRING) {
        *out = string_order(a.string, b.string);
        return context_bytes(c, a.string.length);
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
        return value_fail_undefined(c, a.kind == VALUE_UNDEFINED ? a : b);
    return context_fail(c, "%s and %s cannot be ordered", value_kind_name(a), value_kind_name(b));
}

/* item in container */
static int operate_contains(struct context *c, struct value container, struct value item, bool *out)
{
    if (container.kind == VALUE_STRING) {
        if (item.kind == VALUE_UNDEFINED)
            return value_fail_undefined(c, item);
        if (item.kind != VALUE_STRING)
            return context_fail(c, "\"in\" a str needs a str, not %s", value_kind_name(item));
        *out = string_find(container.string, item.string, 0) >= 0;
        return context_bytes(c, container.string.length);
    }
    if (container.kind == VALUE_DICT) {
        struct value *found;
        if (value_check_key(c, item) != 0 || value_find(c, container.dict, item, &found) != 0)
            return -1;
        *out = found != NULL;
        return context_work(c, container.dict->count);
    }
    struct list items;
    if (value_items(c, container, &items) != 0)
        return -1;
    *out = false;
    for (size_t i = 0; i < items.count && !*out; i++)
        if (value_equal(c, item, items.items[i], out) != 0)
            return -1;
    return 0;
}

int operate_compare(struct context *c, int symbol, struct value a, struct value b, bool *out)
{
    int order = 0;
    bool unordered;
    switch (symbol) {
    case 'i':
        return operate_contains(c, b, a, out);
    case 'n':
        if (operate_contains(c, b, a, out) != 0)
            return -1;
        *out = !*out;
        return 0;
    case TWO('=', '='):
        return value_equal(c, a, b, out);
    case TWO('!', '='):
        if (value_equal(c, a, b, out) != 0)
            return -1;
        *out = !*out;
        return 0;
    default:
        if (operate_order(c, a, b, &order, &unordered) != 0)
            return -1;
    }
    *out = !unordered && (symbol == '<'             ? order < 0
                          : symbol == '>'           ? order > 0
                          : symbol == TWO('<', '=') ? order <= 0
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
static int slice_bound(struct context *c, struct value v, int64_t count, int64_t low, int64_t high,
                       int64_t none, int64_t *out)
{
    *out = none;
    if (v.kind == VALUE_NONE)
        return 0;
    if (!value_as_integer(v, out))
        return v.kind == VALUE_UNDEFINED
                   ? value_fail_undefined(c, v)
                   : context_fail(c, "a slice needs integers, not %s", value_kind_name(v));
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
static int slice_range(struct context *c, const struct value bounds[3], size_t size, struct range *out)
{
    int64_t count = (int64_t)size, step = 1, start, stop;
    if (bounds[2].kind != VALUE_NONE && !value_as_integer(bounds[2], &step))
        return context_fail(c, "a slice needs integers, not %s", value_kind_name(bounds[2]));
    if (step == 0)
        return context_fail(c, "the step of a slice is 0");
    /* A larger step takes one item at most, as this one does, which can be added to a place without
     * overflow. */
    if (step < -count - 1)
        step = -count - 1;
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? count - 1 : count;
    if (slice_bound(c, bounds[0], count, low, high, step < 0 ? high : low, &start) != 0 ||
        slice_bound(c, bounds[1], count, low, high, step < 0 ? low : high, &stop) != 0)
        return -1;
    int64_t distance = step < 0 ? start - stop : stop - start, size_of_step = step < 0 ? -step : step;
    *out = (struct range){start, step, distance > 0 ? (size_t)((distance - 1) / size_of_step + 1) : 0};
    return 0;
}

static int slice_list(struct context *c, struct value of, const struct range *range, struct value *out)
{
    if (value_new_list(c, of.kind, range->count, out) != 0)
        return -1;
    for (size_t i = 0; i < range->count; i++)
        out->list->items[i] = of.list->items[range->start + (int64_t)i * range->step];
    return 0;
}

static int slice_string(struct context *c, struct string s, const struct range *range, struct value *out)
{
    if (range->count == 0 || range->step == 1) {
        *out = value_string(range->count ? string_part(s, (size_t)range->start, range->count) : STRING(""));
        return 0;
    }
    struct list items;
    struct value characters, picked;
    struct buf text = {0};
    if (value_items(c, value_string(s), &items) != 0)
        return -1;
    characters = (struct value){.kind = VALUE_LIST, .list = &items};
    if (slice_list(c, characters, range, &picked) != 0)
        return -1;
    for (size_t i = 0; i < picked.list->count; i++)
        if (buf_append(&text, picked.list->items[i].string.data, picked.list->items[i].string.length) != 0) {
            buf_fini(&text);
            return err_memory(c->e);
        }
    return value_take(c, &text, out);
}

int operate_slice(struct context *c, struct value of, const struct value bounds[3], struct value *out)
{
    struct range range = {0};
    if (of.kind == VALUE_UNDEFINED)
        return value_fail_undefined(c, of);
    if (of.safe)
        return context_fail(c, "slices of what went through \"safe\" are not supported");
    bool string = of.kind == VALUE_STRING;
    if (!string && of.kind != VALUE_LIST && of.kind != VALUE_TUPLE && of.kind != VALUE_RANGE)
        return context_fail(c, "%s cannot be sliced", value_kind_name(of));
    size_t size = string ? string_count(of.string) : of.list->count;
    if ((string && context_bytes(c, of.string.length) != 0) || slice_range(c, bounds, size, &range) != 0)
        return -1;
    return string ? slice_string(c, of.string, &range, out) : slice_list(c, of, &range, out);
}
