#include "core/grammar/schema/schema_test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grammar/json/json_pattern.h"
#include "core/grammar/schema/schema_keywords.h"

static enum schema_verdict worse(enum schema_verdict a, enum schema_verdict b)
{
    return a < b ? a : b;
}

static enum schema_verdict truth(bool valid)
{
    return valid ? SCHEMA_VALID : SCHEMA_INVALID;
}

static bool equal_members(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)a, key,
                        value) if (!schema_equal(value, json_object_get(b, key))) return false;
    return json_object_size(a) == json_object_size(b);
}

bool schema_equal(const json_t *a, const json_t *b)
{
    if (json_is_integer(a) && json_is_integer(b))
        return json_integer_value(a) == json_integer_value(b);
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (json_is_object(a) && json_is_object(b))
        return equal_members(a, b);
    if (!json_is_array(a) || !json_is_array(b))
        return json_equal(a, b);
    size_t count = json_array_size(a);
    bool equal = count == json_array_size(b);
    for (size_t i = 0; equal && i < count; i++)
        equal = schema_equal(json_array_get(a, i), json_array_get(b, i));
    return equal;
}

static unsigned type_of(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return SCHEMA_OBJECT;
    case JSON_ARRAY:
        return SCHEMA_ARRAY;
    case JSON_STRING:
        return SCHEMA_STRING;
    case JSON_INTEGER:
        return SCHEMA_INTEGER;
    case JSON_REAL:
        return floor(json_real_value(value)) == json_real_value(value) ? SCHEMA_INTEGER : SCHEMA_NUMBER;
    case JSON_NULL:
        return SCHEMA_NULL;
    default:
        return SCHEMA_BOOLEAN;
    }
}

static bool is_listed(const json_t *values, const json_t *value)
{
    size_t i;
    json_t *one;
    json_array_foreach((json_t *)values, i, one) if (schema_equal(one, value)) return true;
    return false;
}

static long length_of(const json_t *value)
{
    long count = 0;
    if (!json_is_string(value))
        return (long)(json_is_array(value) ? json_array_size(value) : json_object_size(value));
    for (size_t i = 0; i < json_string_length(value); i++)
        count += ((unsigned char)json_string_value(value)[i] & 0xC0) != 0x80;
    return count;
}

/* One of a lower and an upper bound. */
static enum schema_verdict within(const json_t *bound, double number, bool upper, bool exclusive)
{
    double limit = json_number_value(bound);
    if (!json_is_number(bound))
        return SCHEMA_UNKNOWN;
    if (exclusive)
        return truth(upper ? number < limit : number > limit);
    return truth(upper ? number <= limit : number >= limit);
}

static enum schema_verdict test_multiple(const json_t *of, double number)
{
    double unit = json_number_value(of);
    if (!json_is_integer(of) || unit <= 0 || fabs(number) > 0x1p53)
        return SCHEMA_UNKNOWN;
    return truth(fmod(number, unit) == 0);
}

static enum schema_verdict test_required(const json_t *names, const json_t *value)
{
    size_t i;
    json_t *name;
    json_array_foreach((json_t *)names, i,
                       name) if (json_is_string(name) &&
                                 !json_object_get(value, json_string_value(name))) return SCHEMA_INVALID;
    return SCHEMA_VALID;
}

static enum schema_verdict test_members(const json_t *schema, const json_t *value)
{
    enum schema_verdict v = SCHEMA_VALID;
    const json_t *more = json_object_get(schema, "additionalProperties");
    const char *key;
    json_t *member;
    if (json_object_get(schema, "patternProperties"))
        return SCHEMA_UNKNOWN;
    json_object_foreach((json_t *)value, key, member)
    {
        const json_t *of = json_object_get(json_object_get(schema, "properties"), key);
        of = of ? of : more;
        v = of ? worse(v, schema_test(of, member)) : v;
    }
    return v;
}

static enum schema_verdict test_pattern(const json_t *pattern, const json_t *value)
{
    struct err ignored;
    const char *text = json_string_value(value);
    if (!json_is_string(pattern) || strlen(text) != json_string_length(value))
        return SCHEMA_UNKNOWN;
    int matches = json_pattern_matches(json_string_value(pattern), text, &ignored);
    return matches < 0 ? SCHEMA_UNKNOWN : truth(matches);
}

/* By prefixItems or a list of items, and by what the others have to be. */
static enum schema_verdict test_items(const json_t *schema, const json_t *value)
{
    const json_t *first = json_object_get(schema, "prefixItems"), *others = json_object_get(schema, "items");
    if (json_is_array(others)) {
        first = others;
        others = json_object_get(schema, "additionalItems");
    }
    enum schema_verdict v = SCHEMA_VALID;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *of = i < json_array_size(first) ? json_array_get(first, i) : others;
        v = of ? worse(v, schema_test(of, json_array_get(value, i))) : v;
    }
    return v;
}

static enum schema_verdict test_keyword(const json_t *schema, const char *name, const json_t *bound,
                                        const json_t *value)
{
    double number = json_is_number(value) ? json_number_value(value) : (double)length_of(value);
    bool upper = strncmp(name, "max", 3) == 0 || strcmp(name, "exclusiveMaximum") == 0;
    if (json_is_boolean(bound) && strncmp(name, "exclusive", 9) == 0)
        return json_is_true(bound) ? SCHEMA_UNKNOWN : SCHEMA_VALID; /* as in draft 4 */
    if (strncmp(name, "min", 3) == 0 || upper || strcmp(name, "exclusiveMinimum") == 0)
        return within(bound, number, upper, strncmp(name, "exclusive", 9) == 0);
    if (strcmp(name, "multipleOf") == 0)
        return test_multiple(bound, number);
    if (strcmp(name, "required") == 0)
        return test_required(bound, value);
    if (strcmp(name, "properties") == 0 || strcmp(name, "additionalProperties") == 0)
        return test_members(schema, value);
    if (strcmp(name, "pattern") == 0)
        return test_pattern(bound, value);
    if (strcmp(name, "uniqueItems") == 0)
        return json_is_true(bound) ? SCHEMA_UNKNOWN : SCHEMA_VALID;
    if (strcmp(name, "prefixItems") == 0 || strcmp(name, "items") == 0 ||
        strcmp(name, "additionalItems") == 0)
        return test_items(schema, value);
    return SCHEMA_UNKNOWN;
}

enum schema_verdict schema_test(const json_t *schema, const json_t *value)
{
    if (!json_is_object(schema))
        return json_is_boolean(schema) ? truth(json_is_true(schema)) : SCHEMA_UNKNOWN;
    unsigned type = type_of(value);
    const json_t *constant = json_object_get(schema, "const"), *list = json_object_get(schema, "enum");
    enum schema_verdict v =
        truth((schema_types_valid(schema) & type) != 0 && (!constant || schema_equal(constant, value)) &&
              (!list || is_listed(list, value)));
    const char *name;
    json_t *keyword;
    json_object_foreach((json_t *)schema, name, keyword)
    {
        unsigned about = schema_keyword_types(name);
        if (about == SCHEMA_ANY)
            v = worse(v, SCHEMA_UNKNOWN);
        else if (about & (type | (type == SCHEMA_INTEGER ? SCHEMA_NUMBER : 0)))
            v = worse(v, test_keyword(schema, name, keyword, value));
    }
    return v;
}

static char *real_text(double number)
{
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    return strdup(text);
}

char *schema_value_text(const json_t *value)
{
    return json_is_real(value) ? real_text(json_real_value(value))
                               : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
}
