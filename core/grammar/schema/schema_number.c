/* Numbers. Bounds are compared as decimals, exactly; where there are bounds, numbers have no exponent, and at
 * most 15 digits, which double tells apart: so what is between two decimals is between the doubles that they
 * are read as. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grammar/json/json_range.h"
#include "core/grammar/schema/schema_kinds.h"

enum {
    EXACT_DIGITS = 15,
    USUAL_DIGITS = 9,    /* before the fraction, on a side without a bound */
    MULTIPLE_SMALL = 100 /* up to which numbers without a bound have all digits */
};

struct decimal { /* digits * 10^exponent */
    int64_t digits;
    int exponent;
};

struct bound {
    const json_t *value; /* NULL: none */
    struct decimal decimal;
    bool exclusive;
};

struct limits {
    struct schema *schema;
    const struct schema_place *at;
    struct bound low, high;
};

static int64_t power(int exponent)
{
    int64_t p = 1;
    while (exponent-- > 0)
        p *= 10;
    return p;
}

/* The decimal with the fewest digits that reads back as `number`. */
static struct decimal shortest(double number)
{
    char text[40];
    for (int precision = 14; precision <= 16; precision++) {
        snprintf(text, sizeof text, "%.*e", precision, number);
        if (strtod(text, NULL) == number)
            break;
    }
    struct decimal d = {0};
    bool point = false;
    char *c = text + (text[0] == '-');
    for (; *c != 'e'; c++) {
        point |= *c == '.';
        if (*c != '.') {
            d.digits = d.digits * 10 + (*c - '0');
            d.exponent -= point;
        }
    }
    d.exponent += atoi(c + 1);
    while (d.digits && d.digits % 10 == 0) {
        d.digits /= 10;
        d.exponent++;
    }
    d.digits = text[0] == '-' ? -d.digits : d.digits;
    return d;
}

static int read_bound(struct limits *l, const json_t *source, bool upper, struct bound *out)
{
    const char *name = upper ? "maximum" : "minimum",
               *strict = upper ? "exclusiveMaximum" : "exclusiveMinimum";
    const json_t *value = json_object_get(source, name), *other = json_object_get(source, strict);
    if (value && !json_is_number(value))
        return schema_invalid(l->schema, l->at, name, "is a number");
    if (other && !json_is_number(other) && !json_is_boolean(other))
        return schema_invalid(l->schema, l->at, strict, "is a number");
    out->exclusive = json_is_true(other); /* as in draft 4 */
    out->value = value;
    double a = json_number_value(value), b = json_number_value(other);
    if (json_is_number(other) && (!value || (upper ? b <= a : b >= a))) {
        out->exclusive = true;
        out->value = other;
    }
    if (json_is_integer(out->value))
        out->decimal.digits = json_integer_value(out->value);
    else if (out->value)
        out->decimal = shortest(json_real_value(out->value));
    return 0;
}

/* The bound in units of 10^-fraction, on its inner side. Beyond what `limit` says it is that. */
static int64_t scaled(const struct bound *b, bool upper, int fraction, int64_t limit)
{
    int shift = b->decimal.exponent + fraction;
    int64_t n = b->decimal.digits;
    if (!b->value)
        return upper ? limit : -limit;
    if (shift > 18 || (shift > 0 && llabs(n) > limit / power(shift)) ||
        (shift <= 0 && shift >= -18 && llabs(n) / power(-shift) > limit))
        return n > 0 ? limit + 1 : -limit - 1;
    bool exact = true;
    if (shift < 0) {
        int64_t unit = shift < -18 ? INT64_MAX : power(-shift), whole = n / unit;
        exact = whole * unit == n;
        if (!exact && n < 0)
            whole--;
        n = upper || exact ? whole : whole + 1; /* the floor, or the ceiling */
    } else {
        n *= power(shift);
    }
    return exact && b->exclusive ? n + (upper ? -1 : 1) : n;
}

static int between(struct limits *l, int fraction, int digits, int multiple)
{
    int64_t limit = power(digits + fraction) - 1;
    int64_t low = scaled(&l->low, false, fraction, limit), high = scaled(&l->high, true, fraction, limit);
    if (low > limit)
        return schema_unsupported(l->schema, l->at, l->low.exclusive ? "exclusiveMinimum" : "minimum",
                                  "is too large");
    if (high < -limit)
        return schema_unsupported(l->schema, l->at, l->high.exclusive ? "exclusiveMaximum" : "maximum",
                                  "is too small");
    low = low < -limit ? -limit : low;
    high = high > limit ? limit : high;
    return json_range(&l->schema->rules, low, high, fraction, multiple);
}

/* Digits before the fraction that a bound has; those that are usual where there is none. */
static int whole_digits(const struct bound *b)
{
    double size = fabs(json_number_value(b->value));
    int digits = 1;
    if (!b->value)
        return USUAL_DIGITS;
    for (; size >= 10 && digits < 400; digits++)
        size /= 10;
    return digits;
}

static int decimals(struct limits *l)
{
    int low = whole_digits(&l->low), high = whole_digits(&l->high);
    int digits = low > high ? low : high;
    if (digits > EXACT_DIGITS)
        return schema_unsupported(l->schema, l->at, low > high ? "minimum" : "maximum",
                                  "has too many digits");
    return between(l, EXACT_DIGITS - digits, digits, 1);
}

/* 1 where there is none; -1: refused. */
static int multiple_of(struct limits *l, const json_t *source)
{
    const json_t *of = json_object_get(source, "multipleOf");
    double number = json_number_value(of);
    if (!of)
        return 1;
    if (!json_is_number(of) || number <= 0)
        return schema_invalid(l->schema, l->at, "multipleOf", "is a number above 0");
    if (number != floor(number) || number > JSON_RANGE_MULTIPLE_MAX)
        return schema_unsupported(l->schema, l->at, "multipleOf", "is not a whole number up to 1000");
    return (int)number;
}

int schema_number(struct schema *s, const json_t *schema, const struct schema_place *at, bool integer)
{
    struct limits l = {.schema = s, .at = at};
    int multiple = multiple_of(&l, schema);
    if (multiple < 0 || read_bound(&l, schema, false, &l.low) != 0 ||
        read_bound(&l, schema, true, &l.high) != 0)
        return GRAMMAR_BAD;
    bool bounded = l.low.value || l.high.value, multiples = json_object_get(schema, "multipleOf") != NULL;
    if (!integer && bounded && !multiples)
        return decimals(&l);
    if (bounded || multiple > 1)
        return between(&l, 0, multiple > MULTIPLE_SMALL ? USUAL_DIGITS : JSON_INTEGER_DIGITS, multiple);
    return integer || multiples ? json_rules_integer(&s->rules) : json_rules_number(&s->rules);
}
