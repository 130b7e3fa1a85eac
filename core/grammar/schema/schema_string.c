#include <string.h>

#include "core/grammar/json/json_formats.h"
#include "core/grammar/json/json_pattern.h"
#include "core/grammar/schema/schema_kinds.h"

/* The characters that a regular expression says, `keyword`'s. */
static int matching(struct schema *s, const struct schema_place *at, const char *keyword, const char *pattern,
                    size_t length, int min, int max)
{
    struct err why;
    int node = json_pattern(s->grammar, pattern, length, min, max, &why);
    if (node == GRAMMAR_BAD && grammar_check(s->grammar, &why) == 0)
        return schema_unserved(s, at, keyword, &why);
    return node;
}

static int characters(struct schema *s, const json_t *schema, const struct schema_place *at, int min, int max)
{
    const json_t *pattern = json_object_get(schema, "pattern"), *format = json_object_get(schema, "format");
    const char *known = json_is_string(format) ? json_format(json_string_value(format)) : NULL;
    if (format && !json_is_string(format))
        return schema_invalid(s, at, "format", "is a string");
    if (format && !known)
        return schema_unsupported(s, at, "format", "names a format that is not known");
    if (pattern && !json_is_string(pattern))
        return schema_invalid(s, at, "pattern", "is a string");
    if (pattern && format && known[0])
        return schema_unsupported(s, at, "pattern", "stands beside \"format\"");
    if (pattern)
        return matching(s, at, "pattern", json_string_value(pattern), json_string_length(pattern), min, max);
    if (format && known[0])
        return matching(s, at, "format", known, strlen(known), min, max);
    return grammar_repeat(s->grammar, json_rules_character(&s->rules), min, max);
}

int schema_string(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    struct grammar *g = s->grammar;
    int min, max;
    if (schema_count(s, schema, at, "minLength", 0, &min) != 0 ||
        schema_count(s, schema, at, "maxLength", -1, &max) != 0)
        return GRAMMAR_BAD;
    if (min >= GRAMMAR_REPEAT_MAX)
        return schema_unsupported(s, at, "minLength", "is too large");
    if (max >= 0 && min > max)
        return grammar_any(g, NULL, 0);
    if (min == 0 && max < 0 && !json_object_get(schema, "pattern") && !json_object_get(schema, "format"))
        return json_rules_string(&s->rules);
    int rule = grammar_rule(g, "", 0);
    grammar_define(g, rule,
                   GRAMMAR_ALL_OF(g, grammar_string(g, "\""), characters(s, schema, at, min, max),
                                  grammar_string(g, "\"")));
    return grammar_call(g, rule);
}

int schema_strings(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    json_t *both = json_pack("{s:[O, {s:s}]}", "allOf", schema, "type", "string");
    if (!both || json_array_append_new(s->made, both) != 0)
        return schema_no_memory(s);
    return s->value(s, both, at);
}
