#include "core/grammar/schema/schema_kinds.h"

int schema_string(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    struct grammar *g = s->grammar;
    int min, max;
    if (json_object_get(schema, "pattern"))
        return schema_unsupported(s, at, "pattern", "is not supported");
    if (json_object_get(schema, "format"))
        return schema_unsupported(s, at, "format", "is not supported");
    if (schema_count(s, schema, at, "minLength", 0, &min) != 0 ||
        schema_count(s, schema, at, "maxLength", -1, &max) != 0)
        return GRAMMAR_BAD;
    if (min >= GRAMMAR_REPEAT_MAX)
        return schema_unsupported(s, at, "minLength", "is too large");
    if (max >= 0 && min > max)
        return grammar_any(g, NULL, 0);
    if (min == 0 && max < 0)
        return json_rules_string(&s->rules);
    int characters = grammar_repeat(g, json_rules_character(&s->rules), min, max);
    return GRAMMAR_ALL_OF(g, grammar_string(g, "\""), characters, grammar_string(g, "\""));
}
