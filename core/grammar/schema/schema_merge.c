#include "core/grammar/schema/schema_merge.h"

#include <string.h>

#include "core/grammar/schema/schema_keywords.h"
#include "core/grammar/schema/schema_test.h"

/* A keyword of both: what it is in the schema that holds where both do. NULL: cannot be said, or no
 * memory. */
typedef json_t *joining(const json_t *a, const json_t *b);

static json_t *both(const json_t *a, const json_t *b)
{
    if (json_is_true(a) || json_equal(a, b))
        return json_incref((json_t *)b);
    return json_is_true(b) ? json_incref((json_t *)a) : json_pack("{s:[O, O]}", "allOf", a, b);
}

static json_t *larger(const json_t *a, const json_t *b)
{
    if (!json_is_number(a) || !json_is_number(b))
        return json_equal(a, b) ? json_incref((json_t *)a) : NULL;
    return json_incref((json_t *)(json_number_value(a) >= json_number_value(b) ? a : b));
}

static json_t *smaller(const json_t *a, const json_t *b)
{
    json_t *most = larger(a, b);
    json_decref(most);
    return most ? json_incref((json_t *)(most == a ? b : a)) : NULL;
}

static json_t *common(const json_t *a, const json_t *b)
{
    json_t *list = json_array();
    size_t i, k;
    json_t *x, *y;
    json_array_foreach((json_t *)a, i, x) json_array_foreach((json_t *)b, k, y) if (schema_equal(x, y))
    {
        json_array_append(list, x);
        break;
    }
    return list;
}

static json_t *united(const json_t *a, const json_t *b)
{
    json_t *list = json_copy((json_t *)a);
    size_t i, k;
    json_t *x, *y;
    json_array_foreach((json_t *)b, i, x)
    {
        bool known = false;
        json_array_foreach((json_t *)a, k, y) known |= json_equal(x, y) != 0;
        if (!known && json_array_append(list, x) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

static json_t *same(const json_t *a, const json_t *b)
{
    return schema_equal(a, b) ? json_incref((json_t *)a) : NULL;
}

static json_t *multiple(const json_t *a, const json_t *b)
{
    json_int_t x = json_integer_value(a), y = json_integer_value(b);
    if (!json_is_integer(a) || !json_is_integer(b) || x <= 0 || y <= 0)
        return same(a, b);
    return x % y == 0 ? json_incref((json_t *)a) : y % x == 0 ? json_incref((json_t *)b) : NULL;
}

/* Each of one with each of the other. */
static json_t *pairs(const json_t *a, const json_t *b)
{
    if (json_array_size(a) * json_array_size(b) > SCHEMA_ALTERNATIVES_MAX)
        return NULL;
    json_t *list = json_array();
    size_t i, k;
    json_t *x, *y;
    json_array_foreach((json_t *)a, i, x) json_array_foreach((json_t *)b, k, y)
        json_array_append_new(list, both(x, y));
    return list;
}

static json_t *either(const json_t *a, const json_t *b)
{
    return json_incref((json_t *)(json_is_true(a) ? a : b));
}

static const struct {
    const char *name;
    joining *join;
} joinings[] = {
    {"additionalItems", both},
    {"anyOf", pairs},
    {"enum", common},
    {"exclusiveMaximum", smaller},
    {"exclusiveMinimum", larger},
    {"format", same},
    {"items", both},
    {"maxItems", smaller},
    {"maxLength", smaller},
    {"maxProperties", smaller},
    {"maximum", smaller},
    {"minItems", larger},
    {"minLength", larger},
    {"minProperties", larger},
    {"minimum", larger},
    {"multipleOf", multiple},
    {"oneOf", pairs},
    {"pattern", same},
    {"propertyNames", both},
    {"prefixItems", same},
    {"required", united},
    {"uniqueItems", either},
};

static joining *find(const char *name)
{
    for (size_t i = 0; i < sizeof joinings / sizeof *joinings; i++)
        if (strcmp(joinings[i].name, name) == 0)
            return joinings[i].join;
    return NULL;
}

/* ---- types ---- */

static json_t *type_names(unsigned types)
{
    static const struct {
        unsigned type;
        const char *name;
    } names[] = {{SCHEMA_NULL, "null"},      {SCHEMA_BOOLEAN, "boolean"}, {SCHEMA_OBJECT, "object"},
                 {SCHEMA_ARRAY, "array"},    {SCHEMA_STRING, "string"},   {SCHEMA_NUMBER, "number"},
                 {SCHEMA_INTEGER, "integer"}};
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (types & names[i].type && !(names[i].type == SCHEMA_INTEGER && types & SCHEMA_NUMBER))
            json_array_append_new(list, json_string(names[i].name));
    return list;
}

/* ---- objects ---- */

/* What a schema says of a property; NULL: nothing. */
static json_t *view(const json_t *schema, const char *name)
{
    json_t *of = json_object_get(json_object_get(schema, "properties"), name);
    return of ? of : json_object_get(schema, "additionalProperties");
}

static int add_properties(json_t *out, const json_t *of, const json_t *a, const json_t *b)
{
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(of, "properties"), name, value)
    {
        const json_t *x = view(a, name), *y = view(b, name);
        json_t *joined = x && y ? both(x, y) : json_incref((json_t *)(x ? x : y));
        if (!json_object_get(out, name) && json_object_set(out, name, joined) != 0) {
            json_decref(joined);
            return -1;
        }
        json_decref(joined);
    }
    return 0;
}

static int merge_objects(json_t *out, const json_t *a, const json_t *b)
{
    const json_t *x = json_object_get(a, "additionalProperties"),
                 *y = json_object_get(b, "additionalProperties");
    json_t *properties = json_object();
    if (add_properties(properties, a, a, b) != 0 || add_properties(properties, b, a, b) != 0) {
        json_decref(properties);
        return -1;
    }
    bool any = json_object_get(a, "properties") || json_object_get(b, "properties");
    if (any && json_object_set(out, "properties", properties) != 0)
        any = false;
    json_decref(properties);
    if (x && y)
        return json_object_set_new(out, "additionalProperties", both(x, y));
    return x || y ? json_object_set(out, "additionalProperties", (json_t *)(x ? x : y)) : 0;
}

/* ---- the whole ---- */

static int merge_keyword(struct schema *s, json_t *out, const char *name, const json_t *value,
                         const struct schema_place *at)
{
    const json_t *there = json_object_get(out, name);
    joining *join = find(name);
    if (strcmp(name, "properties") == 0 || strcmp(name, "additionalProperties") == 0 ||
        strcmp(name, "type") == 0 || strcmp(name, "nullable") == 0 || (there && schema_is_annotation(name)))
        return 0; /* done, or of no matter */
    if (!there)
        return json_object_set(out, name, (json_t *)value) == 0 ? 0 : schema_no_memory(s);
    if (strcmp(name, "const") == 0)
        return schema_equal(there, value) ? 0 : json_object_set_new(out, "type", json_array());
    json_t *joined = join ? join(there, value) : NULL;
    if (!joined)
        return schema_unsupported(s, at, name,
                                  "cannot be combined with what another part of the schema says");
    return json_object_set_new(out, name, joined) == 0 ? 0 : schema_no_memory(s);
}

static bool is_tuple(const json_t *schema)
{
    return json_object_get(schema, "prefixItems") || json_is_array(json_object_get(schema, "items"));
}

/* What "items" is about depends on how many items "prefixItems" has taken. */
static int check_tuples(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at)
{
    bool about = (is_tuple(a) && (is_tuple(b) || json_object_get(b, "items"))) ||
                 (is_tuple(b) && json_object_get(a, "items"));
    return about ? schema_unsupported(s, at, "prefixItems",
                                      "cannot be combined with what another part of the schema says of items")
                 : 0;
}

static bool is_about_members(const json_t *schema)
{
    return json_object_size(json_object_get(schema, "properties")) > 0 ||
           json_object_size(json_object_get(schema, "patternProperties")) > 0 ||
           json_object_get(schema, "additionalProperties");
}

/* A pattern is about members that the other schema names. */
static int check_patterns(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at)
{
    bool about = (json_object_size(json_object_get(a, "patternProperties")) > 0 && is_about_members(b)) ||
                 (json_object_size(json_object_get(b, "patternProperties")) > 0 && is_about_members(a));
    return about
               ? schema_unsupported(s, at, "patternProperties",
                                    "cannot be combined with what another part of the schema says of members")
               : 0;
}

static json_t *merge_into(struct schema *s, json_t *out, const json_t *a, const json_t *b,
                          const struct schema_place *at)
{
    unsigned types = schema_types_valid(a) & schema_types_valid(b);
    const char *name;
    json_t *value;
    if (types == 0)
        return json_false(); /* nothing is of both */
    json_object_del(out, "nullable");
    if (types != SCHEMA_ANY && json_object_set_new(out, "type", type_names(types)) != 0)
        schema_no_memory(s);
    if (check_tuples(s, a, b, at) != 0 || check_patterns(s, a, b, at) != 0)
        return NULL;
    if (merge_objects(out, a, b) != 0)
        schema_no_memory(s);
    json_object_foreach((json_t *)b, name,
                        value) if (merge_keyword(s, out, name, value, at) != 0) return NULL;
    const json_t *x = json_object_get(a, "const"), *y = json_object_get(b, "const");
    if (x && y && !schema_equal(x, y))
        return json_false();
    return s->failed ? NULL : json_incref(out);
}

json_t *schema_merge(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at)
{
    if (json_is_false(a) || json_is_true(b))
        return json_incref((json_t *)a);
    if (json_is_false(b) || json_is_true(a))
        return json_incref((json_t *)b);
    json_t *out = json_copy((json_t *)a);
    if (!out) {
        schema_no_memory(s);
        return NULL;
    }
    json_t *merged = merge_into(s, out, a, b, at);
    json_decref(out);
    return merged;
}
