/* Filters of numbers. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/template/builtins/filters_private.h"
#include "core/template/values/operators.h"

/* The number that is all of a text but for white space around it; false: there is none. */
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

static int to_whole(struct context *c, struct value number, struct value otherwise, struct value *out)
{
    double d = value_as_float(number);
    *out = otherwise;
    if (isnan(d) || isinf(d))
        return 0;
    if (fabs(d) >= 9.2e18)
        return context_fail(c, "an integer does not fit 64 bits");
    *out = value_integer((int64_t)d);
    return 0;
}

int filter_int(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    struct value otherwise = argument_or(a->values[0], value_integer(0)), number;
    int64_t whole;
    if (in.kind == VALUE_UNDEFINED)
        return value_fail_undefined(c, in);
    if (value_as_integer(in, &whole)) {
        *out = value_integer(whole);
        return 0;
    }
    if (in.kind == VALUE_FLOAT)
        return to_whole(c, in, otherwise, out);
    *out = otherwise;
    if (in.kind != VALUE_STRING)
        return 0;
    if (is_doubtful(in.string))
        return context_fail(c, "int cannot read this text");
    if (read_number(in.string, true, &number)) {
        *out = number;
        return 0;
    }
    return read_number(in.string, false, &number) ? to_whole(c, number, otherwise, out) : 0;
}

int filter_float(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    if (in.kind == VALUE_UNDEFINED)
        return value_fail_undefined(c, in);
    *out = argument_or(a->values[0], value_float(0));
    if (value_is_number(in))
        *out = value_float(value_as_float(in));
    else if (in.kind == VALUE_STRING && is_doubtful(in.string))
        return context_fail(c, "float cannot read this text");
    else if (in.kind == VALUE_STRING)
        (void)read_number(in.string, false, out);
    return 0;
}

int filter_abs(struct context *c, struct value in, const struct arguments *a, struct value *out)
{
    (void)a;
    int64_t whole;
    if (value_as_integer(in, &whole) ? whole < 0 : in.kind == VALUE_FLOAT && signbit(in.number))
        return operate_sign(c, '-', in, out);
    return operate_sign(c, '+', in, out);
}
