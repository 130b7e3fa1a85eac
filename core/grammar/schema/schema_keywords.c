#include "core/grammar/schema/schema_keywords.h"

#include <string.h>

enum kind { ANNOTATION, SERVED };

static const struct keyword {
    const char *name;
    enum kind kind;
    unsigned types; /* that it is about; 0: all */
} keywords[] = {
    {"$anchor", ANNOTATION, 0},
    {"$comment", ANNOTATION, 0},
    {"$defs", ANNOTATION, 0},
    {"$id", ANNOTATION, 0},
    {"$schema", ANNOTATION, 0},
    {"contentEncoding", ANNOTATION, 0},
    {"contentMediaType", ANNOTATION, 0},
    {"contentSchema", ANNOTATION, 0},
    {"default", ANNOTATION, 0},
    {"definitions", ANNOTATION, 0},
    {"deprecated", ANNOTATION, 0},
    {"description", ANNOTATION, 0},
    {"discriminator", ANNOTATION, 0},
    {"example", ANNOTATION, 0},
    {"examples", ANNOTATION, 0},
    {"externalDocs", ANNOTATION, 0},
    {"id", ANNOTATION, 0},
    {"readOnly", ANNOTATION, 0},
    {"title", ANNOTATION, 0},
    {"writeOnly", ANNOTATION, 0},
    {"$ref", SERVED, 0},
    {"allOf", SERVED, 0},
    {"anyOf", SERVED, 0},
    {"const", SERVED, 0},
    {"enum", SERVED, 0},
    {"nullable", SERVED, 0},
    {"oneOf", SERVED, 0},
    {"type", SERVED, 0},
    {"additionalProperties", SERVED, SCHEMA_OBJECT},
    {"maxProperties", SERVED, SCHEMA_OBJECT},
    {"minProperties", SERVED, SCHEMA_OBJECT},
    {"patternProperties", SERVED, SCHEMA_OBJECT},
    {"properties", SERVED, SCHEMA_OBJECT},
    {"propertyNames", SERVED, SCHEMA_OBJECT},
    {"required", SERVED, SCHEMA_OBJECT},
    {"additionalItems", SERVED, SCHEMA_ARRAY},
    {"items", SERVED, SCHEMA_ARRAY},
    {"maxItems", SERVED, SCHEMA_ARRAY},
    {"minItems", SERVED, SCHEMA_ARRAY},
    {"prefixItems", SERVED, SCHEMA_ARRAY},
    {"uniqueItems", SERVED, SCHEMA_ARRAY},
    {"format", SERVED, SCHEMA_STRING},
    {"maxLength", SERVED, SCHEMA_STRING},
    {"minLength", SERVED, SCHEMA_STRING},
    {"pattern", SERVED, SCHEMA_STRING},
    {"exclusiveMaximum", SERVED, SCHEMA_NUMBER},
    {"exclusiveMinimum", SERVED, SCHEMA_NUMBER},
    {"maximum", SERVED, SCHEMA_NUMBER},
    {"minimum", SERVED, SCHEMA_NUMBER},
    {"multipleOf", SERVED, SCHEMA_NUMBER},
};

static const struct {
    const char *name;
    unsigned types;
} types[] = {{"null", SCHEMA_NULL},      {"boolean", SCHEMA_BOOLEAN},
             {"object", SCHEMA_OBJECT},  {"array", SCHEMA_ARRAY},
             {"string", SCHEMA_STRING},  {"number", SCHEMA_NUMBER | SCHEMA_INTEGER},
             {"integer", SCHEMA_INTEGER}};

static const struct keyword *find(const char *name)
{
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (strcmp(keywords[i].name, name) == 0)
            return &keywords[i];
    return NULL;
}

bool schema_is_annotation(const char *keyword)
{
    const struct keyword *k = find(keyword);
    return k ? k->kind == ANNOTATION : strncmp(keyword, "x-", 2) == 0;
}

unsigned schema_keyword_types(const char *keyword)
{
    static const char *const tried[] = {"const", "enum", "nullable", "type"};
    for (size_t i = 0; i < sizeof tried / sizeof *tried; i++)
        if (strcmp(keyword, tried[i]) == 0)
            return 0;
    const struct keyword *k = find(keyword);
    return schema_is_annotation(keyword) ? 0 : k && k->types ? k->types : SCHEMA_ANY;
}

/* A keyword that is not served may stand there when it asks for nothing. */
static bool asks_for_nothing(const char *name, const json_t *value)
{
    static const char *const of_objects[] = {"dependentRequired", "dependentSchemas", "dependencies"};
    for (size_t i = 0; i < sizeof of_objects / sizeof *of_objects; i++)
        if (strcmp(name, of_objects[i]) == 0)
            return json_is_object(value) && json_object_size(value) == 0;
    return strncmp(name, "unevaluated", 11) == 0 && json_is_true(value);
}

static unsigned type_named(const json_t *name)
{
    for (size_t i = 0; json_is_string(name) && i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].name, json_string_value(name)) == 0)
            return types[i].types;
    return 0;
}

static unsigned types_said(const json_t *type)
{
    unsigned found = type_named(type);
    size_t i;
    json_t *name;
    json_array_foreach((json_t *)type, i, name)
    {
        unsigned one = type_named(name);
        if (one == 0)
            return 0;
        found |= one;
    }
    return found;
}

static unsigned types_meant(const json_t *schema)
{
    unsigned found = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)schema, name, value)
    {
        const struct keyword *k = find(name);
        found |= k ? k->types : 0;
    }
    if (found & SCHEMA_NUMBER)
        found |= SCHEMA_INTEGER;
    return found ? found : SCHEMA_ANY;
}

static unsigned with_null(const json_t *schema, unsigned found)
{
    return found && json_is_true(json_object_get(schema, "nullable")) ? found | SCHEMA_NULL : found;
}

unsigned schema_types(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    return type ? with_null(schema, types_said(type)) : types_meant(schema);
}

unsigned schema_types_valid(const json_t *schema)
{
    const json_t *type = json_object_get(schema, "type");
    return type ? with_null(schema, types_said(type)) : SCHEMA_ANY;
}

int schema_check_keywords(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)schema, name, value)
    {
        const struct keyword *k = find(name);
        if (!k && !schema_is_annotation(name) && !asks_for_nothing(name, value))
            return schema_unsupported(s, at, name, "is not supported");
    }
    return json_object_get(schema, "type") && schema_types(schema) == 0
               ? schema_invalid(s, at, "type", "is one of JSON Schema's types or an array of them")
               : 0;
}
