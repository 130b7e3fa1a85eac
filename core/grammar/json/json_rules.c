#include "core/grammar/json/json_rules.h"

#include <string.h>

#include "core/grammar/json/json_chars.h"

static int capped(int level)
{
    return level < JSON_INDENT_MAX ? level : JSON_INDENT_MAX;
}

/* Make the rule *place if it is not there; true: its body is still to be defined. */
static bool begin(struct json_rules *r, int *place, const char *name)
{
    if (*place > 0)
        return false;
    *place = grammar_rule(r->grammar, name, strlen(name)) + 1;
    return *place > 0;
}

static int call(struct json_rules *r, int place)
{
    return grammar_call(r->grammar, place - 1);
}

int json_rules_space(struct json_rules *r, int level)
{
    struct grammar *g = r->grammar;
    int *place = &r->space[capped(level)], deep = capped(level);
    if (begin(r, place, "space")) {
        int spaces = grammar_repeat(g, grammar_string(g, " "), 0, 4 * deep);
        int tabs = grammar_repeat(g, grammar_string(g, "\t"), 1, deep > 0 ? deep : 1);
        int line = GRAMMAR_ALL_OF(g, grammar_string(g, "\n"), GRAMMAR_ANY_OF(g, spaces, tabs));
        grammar_define(g, *place - 1, grammar_optional(g, GRAMMAR_ANY_OF(g, grammar_string(g, " "), line)));
    }
    return call(r, *place);
}

int json_rules_character(struct json_rules *r)
{
    if (begin(r, &r->character, "character"))
        grammar_define(r->grammar, r->character - 1, json_chars_any(r->grammar));
    return call(r, r->character);
}

int json_rules_string(struct json_rules *r)
{
    struct grammar *g = r->grammar;
    if (begin(r, &r->string, "string")) {
        int characters = grammar_repeat(g, json_rules_character(r), 0, -1);
        grammar_define(g, r->string - 1,
                       GRAMMAR_ALL_OF(g, grammar_string(g, "\""), characters, grammar_string(g, "\"")));
    }
    return call(r, r->string);
}

static int digits(struct grammar *g, int min, int max)
{
    static const struct grammar_range digit = {'0', '9'};
    return grammar_repeat(g, grammar_chars(g, &digit, 1), min, max);
}

int json_rules_digits_up_to(struct json_rules *r, int count)
{
    struct grammar *g = r->grammar;
    int *place = &r->digits_up_to[count];
    if (count == 0)
        return grammar_empty(g);
    if (begin(r, place, "digits")) {
        int some = GRAMMAR_ALL_OF(g, digits(g, 1, 1), json_rules_digits_up_to(r, count - 1));
        grammar_define(g, *place - 1, grammar_optional(g, some));
    }
    return call(r, *place);
}

int json_rules_digits(struct json_rules *r, int count, int fraction)
{
    struct grammar *g = r->grammar;
    int *place = &r->digits[count][fraction];
    if (count == 0 && fraction == 0)
        return grammar_empty(g);
    if (begin(r, place, "digits")) {
        int rest = count > 0 ? GRAMMAR_ALL_OF(g, digits(g, 1, 1), json_rules_digits(r, count - 1, fraction))
                             : grammar_optional(g, GRAMMAR_ALL_OF(g, grammar_string(g, "."), digits(g, 1, 1),
                                                                  json_rules_digits_up_to(r, fraction - 1)));
        grammar_define(g, *place - 1, rest);
    }
    return call(r, *place);
}

int json_rules_integer(struct json_rules *r)
{
    static const struct grammar_range first = {'1', '9'};
    struct grammar *g = r->grammar;
    if (begin(r, &r->integer, "integer")) {
        int minus = grammar_optional(g, grammar_string(g, "-"));
        int whole = GRAMMAR_ALL_OF(g, grammar_chars(g, &first, 1), digits(g, 0, JSON_INTEGER_DIGITS - 1));
        grammar_define(g, r->integer - 1,
                       GRAMMAR_ALL_OF(g, minus, GRAMMAR_ANY_OF(g, grammar_string(g, "0"), whole)));
    }
    return call(r, r->integer);
}

int json_rules_number(struct json_rules *r)
{
    static const struct grammar_range e[] = {{'E', 'E'}, {'e', 'e'}}, sign[] = {{'+', '+'}, {'-', '-'}};
    struct grammar *g = r->grammar;
    if (begin(r, &r->number, "number")) {
        int fraction = GRAMMAR_ALL_OF(g, grammar_string(g, "."), digits(g, 1, JSON_FRACTION_DIGITS));
        int exponent =
            GRAMMAR_ALL_OF(g, grammar_chars(g, e, 2), grammar_optional(g, grammar_chars(g, sign, 2)),
                           digits(g, 1, JSON_EXPONENT_DIGITS));
        grammar_define(g, r->number - 1,
                       GRAMMAR_ALL_OF(g, json_rules_integer(r), grammar_optional(g, fraction),
                                      grammar_optional(g, exponent)));
    }
    return call(r, r->number);
}

int json_rules_comma(struct json_rules *r, int level)
{
    return GRAMMAR_ALL_OF(r->grammar, grammar_string(r->grammar, ","), json_rules_space(r, level + 1));
}

int json_rules_colon(struct json_rules *r)
{
    return GRAMMAR_ALL_OF(r->grammar, grammar_string(r->grammar, ":"),
                          grammar_optional(r->grammar, grammar_string(r->grammar, " ")));
}

int json_rules_list(struct json_rules *r, char open, char close, int level, int member, int min, int max)
{
    struct grammar *g = r->grammar;
    int others = GRAMMAR_ALL_OF(g, json_rules_comma(r, level), member);
    int members = GRAMMAR_ALL_OF(g, json_rules_space(r, level + 1), member,
                                 grammar_repeat(g, others, min > 1 ? min - 1 : 0, max > 0 ? max - 1 : max));
    if (max == 0)
        members = grammar_empty(g);
    else if (min == 0)
        members = grammar_optional(g, members);
    return GRAMMAR_ALL_OF(g, grammar_text(g, &open, 1), members, json_rules_space(r, level),
                          grammar_text(g, &close, 1));
}

int json_rules_object(struct json_rules *r, int level)
{
    int *place = &r->object[capped(level)];
    if (begin(r, place, "object")) {
        int member = GRAMMAR_ALL_OF(r->grammar, json_rules_string(r), json_rules_colon(r),
                                    json_rules_value(r, capped(level) + 1));
        grammar_define(r->grammar, *place - 1, json_rules_list(r, '{', '}', capped(level), member, 0, -1));
    }
    return call(r, *place);
}

int json_rules_array(struct json_rules *r, int level)
{
    int *place = &r->array[capped(level)];
    if (begin(r, place, "array"))
        grammar_define(
            r->grammar, *place - 1,
            json_rules_list(r, '[', ']', capped(level), json_rules_value(r, capped(level) + 1), 0, -1));
    return call(r, *place);
}

int json_rules_value(struct json_rules *r, int level)
{
    struct grammar *g = r->grammar;
    int *place = &r->value[capped(level)];
    if (begin(r, place, "value"))
        grammar_define(g, *place - 1,
                       GRAMMAR_ANY_OF(g, json_rules_object(r, capped(level)),
                                      json_rules_array(r, capped(level)), json_rules_string(r),
                                      json_rules_number(r), grammar_string(g, "true"),
                                      grammar_string(g, "false"), grammar_string(g, "null")));
    return call(r, *place);
}
