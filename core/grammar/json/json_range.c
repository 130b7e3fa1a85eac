#include "core/grammar/json/json_range.h"

#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = JSON_RANGE_DIGITS_MAX + 1 };

struct range {
    struct json_rules *json;
    struct grammar *g;
    int fraction, multiple;
    int *rules; /* [DIGITS_MAX + 1, multiple] + 1: so many free digits follow, with that remainder so far; 0:
                   not made */
    int digit[10];
};

struct bounds { /* of numbers with the same number of digits */
    uint8_t low[2 * DIGITS_MAX], high[2 * DIGITS_MAX];
    int whole; /* digits before the fraction */
};

static int digits(struct range *r, int low, int high)
{
    if (low == high && r->digit[low] >= 0)
        return r->digit[low];
    struct grammar_range range = {(uint32_t)('0' + low), (uint32_t)('0' + high)};
    int node = grammar_chars(r->g, &range, 1);
    if (low == high)
        r->digit[low] = node;
    return node;
}

/* ---- digits that no bound is near to ---- */

static int multiples(struct range *r, int count, int remainder);

static int multiples_body(struct range *r, int count, int remainder)
{
    int nodes[10];
    if (count == 0)
        return remainder == 0 ? grammar_empty(r->g) : grammar_any(r->g, NULL, 0);
    for (int d = 0; d < 10; d++)
        nodes[d] = GRAMMAR_ALL_OF(r->g, digits(r, d, d),
                                  multiples(r, count - 1, (remainder * 10 + d) % r->multiple));
    return grammar_any(r->g, nodes, 10);
}

static int multiples(struct range *r, int count, int remainder)
{
    int *rule = &r->rules[count * r->multiple + remainder];
    if (*rule == 0) {
        int made = grammar_rule(r->g, "", 0);
        *rule = made + 1;
        grammar_define(r->g, made, multiples_body(r, count, remainder));
    }
    return grammar_call(r->g, *rule - 1);
}

static int free_digits(struct range *r, int count, int remainder)
{
    return r->multiple > 1 ? multiples(r, count, remainder) : json_rules_digits(r->json, count, r->fraction);
}

/* ---- digits along the bounds ---- */

struct tight { /* which bounds the digits so far are those of */
    bool low, high;
};

static int tight_digits(struct range *r, const struct bounds *b, int at, struct tight t, int remainder);

/* Is each digit of a bound from `at` on this one? Then it bounds nothing, if that is the lowest or highest
 * digit. */
static bool only(const struct range *r, const struct bounds *b, const uint8_t *bound, int at, int digit)
{
    for (; at < b->whole + r->fraction; at++)
        if (bound[at] != digit)
            return false;
    return true;
}

/* What follows digit `at`, which is `d`. */
static int behind_digit(struct range *r, const struct bounds *b, int at, struct tight t, int d, int remainder)
{
    struct tight next = {t.low && d == b->low[at] && !only(r, b, b->low, at + 1, 0),
                         t.high && d == b->high[at] && !only(r, b, b->high, at + 1, 9)};
    remainder = (remainder * 10 + d) % r->multiple;
    if (!next.low && !next.high && at < b->whole)
        return free_digits(r, b->whole - at - 1, remainder);
    if (!next.low && !next.high)
        return json_rules_digits_up_to(r->json, b->whole + r->fraction - at - 1);
    return tight_digits(r, b, at + 1, next, remainder);
}

static int tight_digits(struct range *r, const struct bounds *b, int at, struct tight t, int remainder)
{
    struct grammar_list list = {0};
    bool behind_whole = at >= b->whole;
    if (behind_whole && remainder == 0 && (!t.low || only(r, b, b->low, at, 0)))
        grammar_list_add(r->g, &list, grammar_empty(r->g));
    if (at == b->whole + r->fraction)
        return grammar_list_any(r->g, &list);
    int low = t.low ? b->low[at] : 0, high = t.high ? b->high[at] : 9;
    for (int d = low, last; d <= high; d = last + 1) {
        bool edge = (t.low && d == b->low[at]) || (t.high && d == b->high[at]) || r->multiple > 1;
        last = edge ? d : (t.high ? high - 1 : 9);
        int node = GRAMMAR_ALL_OF(r->g, digits(r, d, last), behind_digit(r, b, at, t, d, remainder));
        if (at == b->whole)
            node = GRAMMAR_ALL_OF(r->g, grammar_string(r->g, "."), node);
        grammar_list_add(r->g, &list, node);
    }
    return grammar_list_any(r->g, &list);
}

/* ---- lengths and signs ---- */

static void write_digits(uint8_t *out, int count, int64_t n)
{
    for (int i = count; i-- > 0; n /= 10)
        out[i] = (uint8_t)(n % 10);
}

/* Of 0 <= low <= high: those of each number of digits before the fraction. */
static int magnitudes(struct range *r, int64_t low, int64_t high)
{
    struct grammar_list list = {0};
    int64_t below = 0, unit = 1; /* the least number of so many digits, 10^fraction */
    for (int i = 0; i < r->fraction; i++)
        unit *= 10;
    for (int whole = 1; whole + r->fraction <= JSON_RANGE_DIGITS_MAX && below <= high; whole++) {
        int64_t above = (below == 0 ? unit : below) * 10; /* the least one of more digits */
        int64_t from = low > below ? low : below, to = high < above ? high : above - 1;
        struct bounds b = {.whole = whole};
        write_digits(b.low, whole + r->fraction, from);
        write_digits(b.high, whole + r->fraction, to);
        if (from <= to)
            grammar_list_add(r->g, &list, tight_digits(r, &b, 0, (struct tight){true, true}, 0));
        below = above;
    }
    return grammar_list_any(r->g, &list);
}

int json_range(struct json_rules *json, int64_t low, int64_t high, int fraction, int multiple)
{
    struct grammar *g = json->grammar;
    struct range r = {.json = json, .g = g, .fraction = fraction, .multiple = multiple};
    struct grammar_list list = {0};
    r.rules = calloc((size_t)(DIGITS_MAX + 1) * (size_t)multiple, sizeof *r.rules);
    if (!r.rules) {
        g->no_memory = true;
        return GRAMMAR_BAD;
    }
    memset(r.digit, 0xFF, sizeof r.digit);
    if (low < 0 && low <= high) {
        int negative = magnitudes(&r, high < 0 ? -high : 1, -low);
        grammar_list_add(g, &list, GRAMMAR_ALL_OF(g, grammar_string(g, "-"), negative));
    }
    if (high >= 0 && low <= high)
        grammar_list_add(g, &list, magnitudes(&r, low > 0 ? low : 0, high));
    free(r.rules);
    int rule = grammar_rule(g, "", 0);
    grammar_define(g, rule, grammar_list_any(g, &list));
    return grammar_call(g, rule);
}
