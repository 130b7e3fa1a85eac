#include "core/template/builtins/functions.h"

#include <string.h>
#include <time.h>

#include "core/template/values/value_print.h"

enum { RANGE_MAX = 100000 }; /* as in Jinja2's sandbox */

static int function_raise(struct context *c, const struct arguments *a, struct dict *named, struct value *out)
{
    (void)named, (void)out;
    struct string s;
    if (value_to_string(c, a->values[0], &s) != 0)
        return -1;
    return err_set(c->e, "chat_refused", "the model's chat template refuses these messages: %.*s",
                   (int)(s.length < 400 ? s.length : 400), s.data);
}

static int function_range(struct context *c, const struct arguments *a, struct dict *named, struct value *out)
{
    (void)named;
    int64_t numbers[3] = {0, 0, 1};
    int given = 0;
    for (; given < 3 && argument_given(a->values[given]); given++)
        if (!value_as_integer(a->values[given], &numbers[given]))
            return context_fail(c, "range() needs an int, not %s", value_kind_name(a->values[given]));
    int64_t start = given == 1 ? 0 : numbers[0], stop = given == 1 ? numbers[0] : numbers[1],
            step = numbers[2];
    if (step == 0)
        return context_fail(c, "the step of range() is 0");
    __int128 distance = step < 0 ? (__int128)start - stop : (__int128)stop - start;
    __int128 size = step < 0 ? -(__int128)step : step;
    __int128 count = distance > 0 ? (distance - 1) / size + 1 : 0;
    if (count > RANGE_MAX)
        return context_fail(c, "range() may have %d numbers", RANGE_MAX);
    if (context_work(c, (size_t)count) != 0 || value_new_list(c, VALUE_RANGE, (size_t)count, out) != 0)
        return -1;
    for (int64_t i = 0; i < count; i++)
        out->list->items[i] = value_integer(start + i * step);
    return 0;
}

static int function_dict(struct context *c, const struct arguments *a, struct dict *named, struct value *out)
{
    (void)c, (void)a;
    *out = (struct value){.kind = VALUE_DICT, .dict = named};
    return 0;
}

static int function_namespace(struct context *c, const struct arguments *a, struct dict *named,
                              struct value *out)
{
    (void)c, (void)a;
    *out = (struct value){.kind = VALUE_NAMESPACE, .dict = named};
    return 0;
}

/* ---- the date ---- */

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};

static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

/* %d is padded with zeros, %-d is not, %e is with a space. No locale but C's plays a part. */
static int append_number(struct buf *out, int number, int width, bool plain)
{
    return plain ? buf_printf(out, "%d", number) : buf_printf(out, "%0*d", width, number);
}

/* 0, -1: out of memory, 1: no such directive. */
static int append_directive(struct buf *out, const struct tm *t, char directive, bool plain)
{
    int hour = t->tm_hour % 12 ? t->tm_hour % 12 : 12;
    switch (directive) {
    case 'Y':
        return append_number(out, t->tm_year + 1900, 4, plain);
    case 'y':
        return append_number(out, t->tm_year % 100, 2, plain);
    case 'm':
        return append_number(out, t->tm_mon + 1, 2, plain);
    case 'd':
        return append_number(out, t->tm_mday, 2, plain);
    case 'e':
        return buf_printf(out, plain ? "%d" : "%2d", t->tm_mday);
    case 'H':
        return append_number(out, t->tm_hour, 2, plain);
    case 'I':
        return append_number(out, hour, 2, plain);
    case 'M':
        return append_number(out, t->tm_min, 2, plain);
    case 'S':
        return append_number(out, t->tm_sec, 2, plain);
    case 'j':
        return append_number(out, t->tm_yday + 1, 3, plain);
    case 'B':
        return buf_append_string(out, months[t->tm_mon]);
    case 'b':
        return buf_append(out, months[t->tm_mon], 3);
    case 'A':
        return buf_append_string(out, days[t->tm_wday]);
    case 'a':
        return buf_append(out, days[t->tm_wday], 3);
    case 'p':
        return buf_append_string(out, t->tm_hour < 12 ? "AM" : "PM");
    case 'F':
        return buf_printf(out, "%04d-%02d-%02d", t->tm_year + 1900, t->tm_mon + 1, t->tm_mday);
    case 'T':
        return buf_printf(out, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec);
    case '%':
        return buf_append(out, "%", 1);
    default:
        return 1;
    }
}

static int format_time(struct context *c, const struct tm *t, struct string format, struct buf *out)
{
    for (size_t i = 0; i < format.length; i++) {
        if (format.data[i] != '%') {
            if (context_append(c, out, format.data + i, 1) != 0)
                return -1;
            continue;
        }
        bool plain = i + 1 < format.length && format.data[i + 1] == '-';
        i += 1 + plain;
        int result = i < format.length ? append_directive(out, t, format.data[i], plain) : 1;
        if (result > 0)
            return context_fail(c, "strftime_now() with this format is not supported");
        if (result < 0)
            return err_memory(c->e);
    }
    return 0;
}

static int function_strftime_now(struct context *c, const struct arguments *a, struct dict *named,
                                 struct value *out)
{
    (void)named;
    struct buf text = {0};
    struct tm t;
    time_t now = time(NULL);
    if (a->values[0].kind != VALUE_STRING)
        return context_fail(c, "strftime_now() needs a str, not %s", value_kind_name(a->values[0]));
    if (!localtime_r(&now, &t))
        return context_fail(c, "the clock cannot be read");
    if (format_time(c, &t, a->values[0].string, &text) == 0)
        return value_take(c, &text, out);
    buf_fini(&text);
    return -1;
}

static const struct function functions[] = {
    {"dict", {{NULL}, 0}, true, function_dict},
    {"namespace", {{NULL}, 0}, true, function_namespace},
    {"raise_exception", {{"message"}, 1}, false, function_raise},
    {"range", {{"start", "stop", "step"}, 1}, false, function_range},
    {"strftime_now", {{"format"}, 1}, false, function_strftime_now},
};

const struct function *functions_find(struct string name)
{
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++)
        if (string_is(name, functions[i].name))
            return &functions[i];
    return NULL;
}
