/* Arrays of listed values of which none comes twice: a rule for each set of values that are there. */
#include <stdlib.h>

#include "core/grammar/schema/schema_combine.h"
#include "core/grammar/schema/schema_kinds.h"
#include "core/grammar/schema/schema_test.h"

enum { VALUES_MAX = 10 };

struct unique {
    struct schema *schema;
    int values[VALUES_MAX], count; /* nodes */
    int min, max;
    int comma;
    int behind[1 << VALUES_MAX]; /* what may follow the values of a set, as bits */
};

static bool is_among(const json_t *list, size_t count, const json_t *value)
{
    for (size_t i = 0; i < count; i++)
        if (schema_equal(json_array_get(list, i), value))
            return true;
    return false;
}

/* The values that the keywords beside the list allow, each once. */
static int read_values(struct unique *u, const json_t *items, const struct schema_place *at)
{
    const json_t *list = json_object_get(items, "enum");
    size_t i;
    json_t *value;
    if (!json_is_array(list) || json_array_size(list) > VALUES_MAX)
        return schema_unsupported(u->schema, at, "uniqueItems",
                                  "is served where \"items\" is an \"enum\" of up to 10 values");
    json_array_foreach((json_t *)list, i, value)
    {
        enum schema_verdict v = schema_test(items, value);
        if (v == SCHEMA_UNKNOWN)
            return schema_unsupported(u->schema, at, "uniqueItems",
                                      "stands beside items that cannot be tried");
        if (v == SCHEMA_INVALID || is_among(list, i, value))
            continue;
        char *text = schema_value_text(value);
        if (!text)
            return schema_no_memory(u->schema);
        u->values[u->count++] = grammar_string(u->schema->grammar, text);
        free(text);
    }
    return 0;
}

static int behind(struct unique *u, int set)
{
    struct grammar *g = u->schema->grammar;
    struct grammar_list list = {0};
    int size = __builtin_popcount((unsigned)set), rule = grammar_rule(g, "", 0);
    if (size >= u->min)
        grammar_list_add(g, &list, grammar_empty(g));
    for (int i = 0; i < u->count && size < u->max; i++)
        if (!(set >> i & 1)) {
            int further = GRAMMAR_ALL_OF(g, u->values[i], u->behind[set | 1 << i]);
            grammar_list_add(g, &list, set ? GRAMMAR_ALL_OF(g, u->comma, further) : further);
        }
    grammar_define(g, rule, grammar_list_any(g, &list));
    return grammar_call(g, rule);
}

int schema_unique(struct schema *s, const json_t *items, int min, int max, const struct schema_place *at)
{
    struct unique u = {.schema = s, .min = min};
    struct grammar *g = s->grammar;
    struct json_rules *r = &s->rules;
    const json_t *flat = items ? schema_flatten(s, items, at) : items;
    if (s->failed || read_values(&u, flat, at) != 0)
        return GRAMMAR_BAD;
    u.max = max < 0 || max > u.count ? u.count : max;
    u.comma = json_rules_comma(r, at->level);
    for (int set = (1 << u.count) - 1; set >= 0; set--) /* larger sets first */
        u.behind[set] = behind(&u, set);
    return GRAMMAR_ALL_OF(g, grammar_string(g, "["), json_rules_space(r, at->level + 1), u.behind[0],
                          json_rules_space(r, at->level), grammar_string(g, "]"));
}
