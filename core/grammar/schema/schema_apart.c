#include "core/grammar/schema/schema_apart.h"

#include <string.h>

#include "core/grammar/schema/schema_combine.h"
#include "core/grammar/schema/schema_keywords.h"
#include "core/grammar/schema/schema_test.h"

static bool lists_apart(const json_t *values, const json_t *own, const json_t *other)
{
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)values, i,
                       value) if (schema_test(own, value) != SCHEMA_INVALID &&
                                  schema_test(other, value) != SCHEMA_INVALID) return false;
    return true;
}

/* Is one of the schemas a list of values, all of which are not valid under the other? */
static bool listed_apart(const json_t *own, const json_t *other)
{
    const json_t *constant = json_object_get(own, "const"), *list = json_object_get(own, "enum");
    if (constant)
        return schema_test(own, constant) == SCHEMA_INVALID || schema_test(other, constant) == SCHEMA_INVALID;
    return json_is_array(list) && lists_apart(list, own, other);
}

static bool is_required(const json_t *schema, const char *name)
{
    size_t i;
    json_t *one;
    json_array_foreach(json_object_get(schema, "required"), i,
                       one) if (json_is_string(one) && strcmp(json_string_value(one), name) == 0) return true;
    return false;
}

/* Is the property never written? As schema_object does it: where properties are named and nothing is said of
 * others, there are no others. */
static bool never_written(const json_t *schema, const char *name)
{
    const json_t *properties = json_object_get(schema, "properties"),
                 *more = json_object_get(schema, "additionalProperties");
    return !json_object_get(properties, name) && !is_required(schema, name) &&
           !json_object_get(schema, "patternProperties") &&
           (json_is_false(more) || (!more && json_object_size(properties) > 0));
}

/* What is said of a property; NULL: nothing, or a pattern may say more. */
static const json_t *view(const json_t *schema, const char *name)
{
    const json_t *of = json_object_get(json_object_get(schema, "properties"), name);
    if (json_object_get(schema, "patternProperties"))
        return NULL;
    return of ? of : json_object_get(schema, "additionalProperties");
}

/* A property that `b` requires and `a` never has; or one that `a` always has, with a value that `b` does not
 * allow. */
static bool objects_apart(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at)
{
    size_t i;
    json_t *name;
    json_array_foreach(json_object_get(b, "required"), i,
                       name) if (json_is_string(name) &&
                                 never_written(a, json_string_value(name))) return true;
    json_array_foreach(json_object_get(a, "required"), i, name)
    {
        const json_t *x = view(a, json_string_value(name)), *y = view(b, json_string_value(name));
        if (json_is_false(y) || (x && y && schema_apart(s, x, y, at)))
            return true;
    }
    return false;
}

static double bound(const json_t *schema, const char *name, double otherwise)
{
    const json_t *value = json_object_get(schema, name);
    return json_is_number(value) ? json_number_value(value) : otherwise;
}

static bool ranges_apart(const json_t *a, const json_t *b, const char *min, const char *max)
{
    return bound(a, max, 1e308) < bound(b, min, -1e308) || bound(b, max, 1e308) < bound(a, min, -1e308);
}

static bool types_apart(struct schema *s, const json_t *a, const json_t *b, unsigned types,
                        const struct schema_place *at)
{
    if (types & (SCHEMA_NULL | SCHEMA_BOOLEAN))
        return false;
    if (types & SCHEMA_OBJECT && !objects_apart(s, a, b, at))
        return false;
    if (types & SCHEMA_ARRAY && !ranges_apart(a, b, "minItems", "maxItems"))
        return false;
    if (types & SCHEMA_STRING && !ranges_apart(a, b, "minLength", "maxLength"))
        return false;
    return !(types & (SCHEMA_NUMBER | SCHEMA_INTEGER)) || ranges_apart(a, b, "minimum", "maximum");
}

/* Of a schema with alternatives, each is apart; NULL-terminated keyword list is tried in turn. */
static const json_t *choices(const json_t *schema)
{
    const json_t *any = json_object_get(schema, "anyOf");
    return any ? any : json_object_get(schema, "oneOf");
}

static bool choices_apart(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at)
{
    const json_t *list = choices(a), *other = list ? b : a;
    size_t i;
    json_t *one;
    json_array_foreach(
        (json_t *)(list ? list : choices(b)), i,
        one) if (!(list ? schema_apart(s, one, other, at) : schema_apart(s, other, one, at))) return false;
    return true;
}

static bool apart(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at)
{
    if (json_is_false(a) || json_is_false(b))
        return true;
    if (!json_is_object(a) || !json_is_object(b))
        return false;
    unsigned types = schema_types(a) & schema_types_valid(b);
    if (types == 0 || listed_apart(a, b) || listed_apart(b, a) || types_apart(s, a, b, types, at))
        return true;
    return (choices(a) || choices(b)) && choices_apart(s, a, b, at);
}

bool schema_apart(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at)
{
    if (s->depth >= SCHEMA_DEPTH_MAX || ++s->nodes > SCHEMA_NODES_MAX) {
        schema_too_large(s, at);
        return false;
    }
    s->depth++;
    const json_t *x = schema_flatten(s, a, at), *y = x ? schema_flatten(s, b, at) : NULL;
    bool result = y && apart(s, x, y, at);
    s->depth--;
    return result;
}

int schema_all_apart(struct schema *s, const json_t *list, const struct schema_place *at)
{
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < count; k++)
            if (i != k && !schema_apart(s, json_array_get(list, i), json_array_get(list, k), at))
                return s->failed ? -1
                                 : schema_unsupported(
                                       s, at, "oneOf",
                                       "has alternatives that may hold for the same value; anyOf, or a "
                                       "required property that tells them apart, is served");
    return 0;
}
