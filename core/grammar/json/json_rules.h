/* The rules of JSON that schemas are written with, made in a grammar when they are asked for first. Each
 * function gives a node. Owns nothing. */
#pragma once
#include "core/grammar/grammar.h"

enum {
    JSON_INDENT_MAX = 8, /* levels that space is made for; deeper ones are indented as these */
    JSON_INTEGER_DIGITS = 18,
    JSON_FRACTION_DIGITS = 16,
    JSON_DIGITS_MAX = 19,
    JSON_EXPONENT_DIGITS = 2 /* so that every number is finite in double */
};

struct json_rules {
    struct grammar *grammar;
    /* [i]: the rule + 1; 0: not made yet */
    int space[JSON_INDENT_MAX + 1], value[JSON_INDENT_MAX + 1], object[JSON_INDENT_MAX + 1];
    int array[JSON_INDENT_MAX + 1], string, character, number, integer;
    int digits_up_to[JSON_DIGITS_MAX + 1], digits[JSON_DIGITS_MAX + 1][JSON_DIGITS_MAX + 1];
};

/* Between two tokens, as people write JSON: nothing, a space, or a new line that is indented by four spaces
 * or a tab a level at most. Bounded, so that no model writes space for ever. */
int json_rules_space(struct json_rules *r, int level);
int json_rules_character(struct json_rules *r); /* of a string */
int json_rules_string(struct json_rules *r);
int json_rules_number(struct json_rules *r);
int json_rules_integer(struct json_rules *r);                 /* without fraction and exponent */
int json_rules_digits_up_to(struct json_rules *r, int count); /* none to `count` digits */
/* `count` digits, and then, or not, a point and 1 to `fraction` digits; no point where `fraction` is 0. */
int json_rules_digits(struct json_rules *r, int count, int fraction);
int json_rules_object(struct json_rules *r, int level);
int json_rules_array(struct json_rules *r, int level);
int json_rules_value(struct json_rules *r, int level);
/* `member` repeated min..max times (max -1: no end) between brackets that stand at `level`, with commas. */
int json_rules_list(struct json_rules *r, char open, char close, int level, int member, int min, int max);
/* The comma and the space before a member within brackets that stand at `level`. */
int json_rules_comma(struct json_rules *r, int level);
int json_rules_colon(struct json_rules *r);
