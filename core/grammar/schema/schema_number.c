#include "core/grammar/schema/schema_kinds.h"

int schema_number(struct schema *s, const json_t *schema, const struct schema_place *at, bool integer)
{
    static const char *const keywords[] = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
                                           "multipleOf"};
    for (size_t i = 0; i < sizeof keywords / sizeof *keywords; i++)
        if (json_object_get(schema, keywords[i]))
            return schema_unsupported(s, at, keywords[i], "is not supported");
    return integer ? json_rules_integer(&s->rules) : json_rules_number(&s->rules);
}
