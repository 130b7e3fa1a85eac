/* Numbers within bounds, as JSON writes them. Owns nothing. */
#pragma once
#include "core/grammar/json/json_rules.h"

enum {
    JSON_RANGE_DIGITS_MAX = 18, /* of a bound and its fraction */
    JSON_RANGE_MULTIPLE_MAX = 1000
};

/* A node for n / 10^fraction of all whole numbers n of low..high that are multiples of `multiple` (1 where
 * there is a fraction): without zeros in front, with or without those behind the last digit of the fraction,
 * 0 without a sign. Bounds have JSON_RANGE_DIGITS_MAX digits at most. */
int json_range(struct json_rules *r, int64_t low, int64_t high, int fraction, int multiple);
