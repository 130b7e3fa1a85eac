/* Arrays: items of their own first ("prefixItems"), then items of one kind. */
#include <stdlib.h>

#include "core/grammar/schema/schema_kinds.h"

struct array {
    struct schema *schema;
    const json_t *source;
    const struct schema_place *at;
    const json_t *first, *others; /* NULL: none, anything */
    int min, max;
    bool unique; /* which matters */
};

/* 2020-12 says prefixItems and items; before, items may be an array, and additionalItems says the rest. */
static int read_items(struct array *a)
{
    const json_t *items = json_object_get(a->source, "items");
    a->first = json_object_get(a->source, "prefixItems");
    a->others = items;
    if (json_is_array(items)) {
        a->first = items;
        a->others = json_object_get(a->source, "additionalItems");
    }
    if (a->first && !json_is_array(a->first))
        return schema_invalid(a->schema, a->at, "prefixItems", "is an array");
    if (schema_count(a->schema, a->source, a->at, "minItems", 0, &a->min) != 0 ||
        schema_count(a->schema, a->source, a->at, "maxItems", -1, &a->max) != 0)
        return -1;
    if (a->min >= GRAMMAR_REPEAT_MAX)
        return schema_unsupported(a->schema, a->at, "minItems", "is too large");
    a->unique = json_is_true(json_object_get(a->source, "uniqueItems")) && (a->max < 0 || a->max > 1);
    return a->unique && a->first
               ? schema_unsupported(a->schema, a->at, "uniqueItems", "stands beside \"prefixItems\"")
               : 0;
}

static int item(struct array *a, const json_t *of, const char *keyword, int index)
{
    struct schema_place at = schema_below(a->at, keyword), place = schema_element(&at, index);
    if (index < 0)
        place = at;
    place.level = a->at->level + 1;
    struct grammar *g = a->schema->grammar;
    int value =
        of ? a->schema->value(a->schema, of, &place) : json_rules_value(&a->schema->rules, place.level);
    int rule = grammar_rule(g, "", 0);
    grammar_define(g, rule, value);
    return grammar_call(g, rule);
}

/* What may come behind `count` items that are there; nothing of what is false. */
static int rest(struct array *a, int count)
{
    struct grammar *g = a->schema->grammar;
    int min = a->min > count ? a->min - count : 0, max = a->max < 0 ? -1 : a->max - count;
    if (json_is_false(a->others) || max == 0)
        return min > 0 ? grammar_any(g, NULL, 0) : grammar_empty(g);
    int further =
        GRAMMAR_ALL_OF(g, json_rules_comma(&a->schema->rules, a->at->level), item(a, a->others, "items", -1));
    return grammar_repeat(g, further, min, max);
}

/* From the last item of the first ones to the first. */
static int tuple(struct array *a, int count)
{
    struct grammar *g = a->schema->grammar;
    int node = rest(a, count);
    for (int i = count; i-- > 0;) {
        int one = item(a, json_array_get(a->first, (size_t)i), "prefixItems", i);
        int rule = grammar_rule(g, "", 0);
        if (i > 0)
            one = GRAMMAR_ALL_OF(g, json_rules_comma(&a->schema->rules, a->at->level), one);
        one = GRAMMAR_ALL_OF(g, one, node);
        grammar_define(g, rule, i >= a->min ? grammar_optional(g, one) : one);
        node = grammar_call(g, rule);
    }
    struct json_rules *r = &a->schema->rules;
    return GRAMMAR_ALL_OF(g, grammar_string(g, "["), json_rules_space(r, a->at->level + 1), node,
                          json_rules_space(r, a->at->level), grammar_string(g, "]"));
}

int schema_array(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    struct array a = {.schema = s, .source = schema, .at = at};
    if (read_items(&a) != 0)
        return GRAMMAR_BAD;
    if (a.max >= 0 && a.min > a.max)
        return grammar_any(s->grammar, NULL, 0);
    if (a.unique && !json_is_false(a.others))
        return schema_unique(s, a.others, a.min, a.max, at);
    int first = (int)json_array_size(a.first);
    if (first > 0)
        return tuple(&a, a.max >= 0 && a.max < first ? a.max : first);
    if (json_is_false(a.others))
        a.max = 0;
    if (a.max == 0 && a.min > 0)
        return grammar_any(s->grammar, NULL, 0);
    return json_rules_list(&s->rules, '[', ']', at->level,
                           a.max == 0 ? grammar_empty(s->grammar) : item(&a, a.others, "items", -1), a.min,
                           a.max);
}
