/* Objects: the properties in the order of the schema, those that may be missing left out or not, and then
 * others, where there may be others. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/grammar/json/json_chars.h"
#include "core/grammar/schema/schema_kinds.h"

enum {
    OTHER_NAME_MAX = 128,      /* no other name shares so many bytes with a property's */
    OTHER_CHARACTERS_MAX = 128 /* that names go on with in one place */
};

struct property {
    const char *name;
    int member; /* rule of name, colon and value */
    bool required;
};

struct object {
    struct schema *schema;
    const json_t *source;
    const struct schema_place *at;
    struct property *properties; /* [count], owned */
    int count, required;
    int other; /* a member whose name is none of the properties'; GRAMMAR_BAD: there are none */
    int min, max;
    int comma;
};

/* ---- names of other members ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct property *)a)->name, ((const struct property *)b)->name);
}

static int any_characters(struct object *o)
{
    return grammar_repeat(o->schema->grammar, json_rules_character(&o->schema->rules), 0, -1);
}

/* A rule for the rest of a name of which the sorted names from..end share the first `at` bytes: no escapes as
 * long as it may still become one of them, since an escape might spell it. */
static int other_name(struct object *o, const struct property *names, int count, size_t at)
{
    struct grammar *g = o->schema->grammar;
    struct grammar_range free[OTHER_CHARACTERS_MAX + 40]; /* characters that no name goes on with */
    int nodes[OTHER_CHARACTERS_MAX + 2], node_count = 0, free_count = 0, i = 0;
    uint32_t low = 0x20;
    bool taken = false;
    if (at >= OTHER_NAME_MAX)
        return grammar_any(g, NULL, 0);
    for (; i < count && names[i].name[at] == '\0'; i++)
        taken = true;
    while (i < count && node_count < OTHER_CHARACTERS_MAX) {
        size_t size;
        uint32_t c = utf8_decode(names[i].name + at, &size);
        int end = i + 1;
        while (end < count && strncmp(names[end].name + at, names[i].name + at, size) == 0)
            end++;
        char text[5] = {0};
        memcpy(text, names[i].name + at, size);
        if (c >= 0x20 && c != '"' && c != '\\')
            nodes[node_count++] =
                GRAMMAR_ALL_OF(g, grammar_string(g, text), other_name(o, names + i, end - i, at + size));
        if (c > low)
            free[free_count++] = (struct grammar_range){low, c - 1};
        low = c >= low ? c + 1 : low;
        i = end;
    }
    if (i < count)
        return schema_unsupported(o->schema, o->at, "additionalProperties",
                                  "stands beside too many properties whose names begin in different ways");
    free[free_count++] = (struct grammar_range){low, GRAMMAR_CODE_MAX};
    nodes[node_count++] = GRAMMAR_ALL_OF(g, json_chars_plain(g, free, (size_t)free_count), any_characters(o));
    if (!taken)
        nodes[node_count++] = grammar_empty(g);
    int rule = grammar_rule(g, "name", 4);
    grammar_define(g, rule, grammar_any(g, nodes, (size_t)node_count));
    return grammar_call(g, rule);
}

static int other_member(struct object *o, const json_t *of)
{
    struct grammar *g = o->schema->grammar;
    struct schema_place at = schema_below(o->at, "additionalProperties");
    at.level++;
    int name = json_rules_string(&o->schema->rules);
    if (o->count > 0) {
        struct property *sorted = malloc((size_t)o->count * sizeof *sorted);
        if (!sorted)
            return schema_no_memory(o->schema);
        memcpy(sorted, o->properties, (size_t)o->count * sizeof *sorted);
        qsort(sorted, (size_t)o->count, sizeof *sorted, compare_names);
        name = GRAMMAR_ALL_OF(g, grammar_string(g, "\""), other_name(o, sorted, o->count, 0),
                              grammar_string(g, "\""));
        free(sorted);
    }
    int value = of ? o->schema->value(o->schema, of, &at) : json_rules_value(&o->schema->rules, at.level);
    int rule = grammar_rule(g, "member", 6);
    grammar_define(g, rule, GRAMMAR_ALL_OF(g, name, json_rules_colon(&o->schema->rules), value));
    return grammar_call(g, rule);
}

/* ---- properties ---- */

static int add_property(struct object *o, const char *name, const json_t *of, const struct schema_place *at)
{
    struct schema *s = o->schema;
    struct grammar *g = s->grammar;
    struct schema_place below = schema_below(at, name);
    below.level++;
    int value = s->value(s, of, &below);
    int quoted = GRAMMAR_ALL_OF(g, grammar_string(g, "\""), json_chars_text(g, name, strlen(name)),
                                grammar_string(g, "\""));
    int rule = grammar_rule(g, name, strlen(name));
    grammar_define(g, rule, GRAMMAR_ALL_OF(g, quoted, json_rules_colon(&s->rules), value));
    o->properties[o->count++] = (struct property){.name = name, .member = rule};
    return rule < 0 ? -1 : 0;
}

static struct property *find(struct object *o, const char *name)
{
    for (int i = 0; i < o->count; i++)
        if (strcmp(o->properties[i].name, name) == 0)
            return &o->properties[i];
    return NULL;
}

/* Properties that are required, and not named otherwise, come last. */
static int read_required(struct object *o, const json_t *required, const json_t *others)
{
    size_t i;
    json_t *name;
    if (required && !json_is_array(required) &&
        !json_is_boolean(required)) /* draft 3 has true, of the property */
        return schema_invalid(o->schema, o->at, "required", "is an array of names");
    json_array_foreach((json_t *)required, i, name)
    {
        if (!json_is_string(name))
            return schema_invalid(o->schema, o->at, "required", "is an array of names");
        struct property *p = find(o, json_string_value(name));
        if (!p && json_is_false(others))
            return schema_unsupported(o->schema, o->at, "required",
                                      "names a property that \"additionalProperties\" rules out");
        json_t *any = json_true();
        struct schema_place at = schema_below(o->at, "required");
        if (!p && add_property(o, json_string_value(name), others ? others : any, &at) != 0)
            return -1;
        p = p ? p : &o->properties[o->count - 1];
        o->required += !p->required;
        p->required = true;
    }
    return 0;
}

static int read_properties(struct object *o)
{
    const json_t *properties = json_object_get(o->source, "properties"),
                 *required = json_object_get(o->source, "required"),
                 *others = json_object_get(o->source, "additionalProperties");
    size_t count = json_object_size(properties) + json_array_size(required);
    if (properties && !json_is_object(properties))
        return schema_invalid(o->schema, o->at, "properties", "is an object");
    if (count > SCHEMA_PROPERTIES_MAX)
        return schema_unsupported(o->schema, o->at, "properties", "has too many members");
    o->properties = calloc(count + 1, sizeof *o->properties);
    if (!o->properties)
        return schema_no_memory(o->schema);
    struct schema_place below = schema_below(o->at, "properties");
    const char *name;
    json_t *of;
    json_object_foreach((json_t *)properties, name, of) if (add_property(o, name, of, &below) != 0) return -1;
    if (read_required(o, required, others) != 0)
        return -1;
    bool any = others ? !json_is_false(others) : json_object_size(properties) == 0;
    o->other = any ? other_member(o, others) : GRAMMAR_BAD;
    return o->schema->failed ? -1 : 0;
}

/* ---- how many ---- */

/* How many other members: a name may come twice, which makes one of them none, so that more than one at least
 * cannot be asked for. */
static int read_counts(struct object *o)
{
    struct schema *s = o->schema;
    if (schema_count(s, o->source, o->at, "minProperties", 0, &o->min) != 0 ||
        schema_count(s, o->source, o->at, "maxProperties", -1, &o->max) != 0)
        return -1;
    o->min -= o->required;
    if (o->min > 1)
        return schema_unsupported(s, o->at, "minProperties", "is more than the required properties and one");
    if (o->max >= 0 && o->max < o->count)
        return schema_unsupported(s, o->at, "maxProperties", "is less than the properties that are named");
    if (o->max >= 0)
        o->max -= o->count;
    if (o->min == 1 && o->required > 0)
        return schema_unsupported(s, o->at, "minProperties", "is more than the required properties");
    return 0;
}

/* ---- the text ---- */

/* The members from property `index` on. `begun`: some member is there already, so each has a comma. */
static int members(struct object *o, int begun_rest, int index, bool begun)
{
    struct grammar *g = o->schema->grammar;
    const struct property *p = &o->properties[index];
    int member = grammar_call(g, p->member);
    if (begun)
        member = GRAMMAR_ALL_OF(g, o->comma, member);
    return GRAMMAR_ALL_OF(g, member, begun_rest);
}

static int in_rule(struct grammar *g, int body)
{
    int rule = grammar_rule(g, "members", 7);
    grammar_define(g, rule, body);
    return grammar_call(g, rule);
}

static int others(struct object *o, bool begun)
{
    struct grammar *g = o->schema->grammar;
    if (o->other < 0)
        return begun || o->min < 1 ? grammar_empty(g) : grammar_any(g, NULL, 0);
    int further = GRAMMAR_ALL_OF(g, o->comma, o->other);
    if (begun)
        return grammar_repeat(g, further, 0, o->max);
    if (o->max == 0)
        return grammar_empty(g);
    int some = GRAMMAR_ALL_OF(g, o->other, grammar_repeat(g, further, 0, o->max > 0 ? o->max - 1 : -1));
    return o->min == 1 ? some : grammar_optional(g, some);
}

/* From the last property to the first: what follows when some member is there already, and when none is. Each
 * is a rule, which is called at the end of those before it. */
static int all_members(struct object *o)
{
    struct grammar *g = o->schema->grammar;
    int begun = in_rule(g, others(o, true)), first = in_rule(g, others(o, false));
    for (int i = o->count; i-- > 0;) {
        int with = members(o, begun, i, false), behind = members(o, begun, i, true);
        bool required = o->properties[i].required;
        first = in_rule(g, required ? with : GRAMMAR_ANY_OF(g, with, first));
        begun = in_rule(g, required ? behind : GRAMMAR_ANY_OF(g, behind, begun));
    }
    return first;
}

static int object_text(struct object *o)
{
    struct grammar *g = o->schema->grammar;
    struct json_rules *r = &o->schema->rules;
    o->comma = json_rules_comma(r, o->at->level);
    int inside = GRAMMAR_ALL_OF(g, json_rules_space(r, o->at->level + 1), all_members(o),
                                json_rules_space(r, o->at->level));
    return GRAMMAR_ALL_OF(g, grammar_string(g, "{"), inside, grammar_string(g, "}"));
}

int schema_object(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    struct object o = {.schema = s, .source = schema, .at = at};
    int node = read_properties(&o) == 0 && read_counts(&o) == 0 ? object_text(&o) : GRAMMAR_BAD;
    free(o.properties);
    return node;
}
