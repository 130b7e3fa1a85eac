/* Objects: the properties in the order of the schema, those that may be missing left out or not, and then
 * others, where there may be others. */
#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"
#include "core/grammar/json/json_chars.h"
#include "core/grammar/json/json_pattern.h"
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
    int count;
    int other; /* a member whose name is none of the properties'; GRAMMAR_BAD: there are none */
    int min, max;
    int levels; /* numbers of members that are told apart */
    bool exact; /* exactly: the last one is the most; otherwise it is that many or more */
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
    int rule = grammar_rule(g, "", 0);
    grammar_define(g, rule, grammar_any(g, nodes, (size_t)node_count));
    return grammar_call(g, rule);
}

/* The name of another member, with its quotation marks. */
static int any_other_name(struct object *o)
{
    struct grammar *g = o->schema->grammar;
    const json_t *names = json_object_get(o->source, "propertyNames");
    if (names && !json_is_true(names)) {
        struct schema_place at = schema_below(o->at, "propertyNames");
        if (o->count > 0)
            return schema_unsupported(o->schema, o->at, "propertyNames",
                                      "stands beside properties that are named");
        return schema_strings(o->schema, names, &at);
    }
    if (o->count == 0)
        return json_rules_string(&o->schema->rules);
    struct property *sorted = malloc((size_t)o->count * sizeof *sorted);
    if (!sorted)
        return schema_no_memory(o->schema);
    memcpy(sorted, o->properties, (size_t)o->count * sizeof *sorted);
    qsort(sorted, (size_t)o->count, sizeof *sorted, compare_names);
    int name = GRAMMAR_ALL_OF(g, grammar_string(g, "\""), other_name(o, sorted, o->count, 0),
                              grammar_string(g, "\""));
    free(sorted);
    return name;
}

static int other_member(struct object *o, int name, const json_t *of, const char *keyword)
{
    struct grammar *g = o->schema->grammar;
    struct schema_place at = schema_below(o->at, keyword);
    at.level++;
    int value = of ? o->schema->value(o->schema, of, &at) : json_rules_value(&o->schema->rules, at.level);
    int rule = grammar_rule(g, "", 0);
    grammar_define(g, rule, GRAMMAR_ALL_OF(g, name, json_rules_colon(&o->schema->rules), value));
    return grammar_call(g, rule);
}

/* One pattern, which no named property matches, and no other members: then it is plain which schema holds. */
static int pattern_member(struct object *o, const json_t *patterns)
{
    struct grammar *g = o->schema->grammar;
    struct err why = {.code = NULL};
    const json_t *more = json_object_get(o->source, "additionalProperties");
    const char *pattern = json_object_iter_key(json_object_iter((json_t *)patterns));
    if (json_object_size(patterns) > 1 || (more && !json_is_false(more)) ||
        json_object_get(o->source, "propertyNames"))
        return schema_unsupported(o->schema, o->at, "patternProperties",
                                  "is served with one pattern and without other members");
    for (int i = 0; i < o->count; i++)
        if (json_pattern_matches(pattern, o->properties[i].name, &why) != 0)
            return why.code ? schema_unserved(o->schema, o->at, "patternProperties", &why)
                            : schema_unsupported(o->schema, o->at, "patternProperties",
                                                 "matches a property that is named");
    int name = json_pattern(g, pattern, strlen(pattern), 0, -1, &why);
    if (name < 0 && grammar_check(g, &why) == 0)
        return schema_unserved(o->schema, o->at, "patternProperties", &why);
    name = GRAMMAR_ALL_OF(g, grammar_string(g, "\""), name, grammar_string(g, "\""));
    return other_member(o, name, json_object_get(patterns, pattern), "patternProperties");
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
    const json_t *patterns = json_object_get(o->source, "patternProperties");
    bool any = others ? !json_is_false(others) : json_object_size(properties) == 0;
    if (json_object_size(patterns) > 0)
        o->other = pattern_member(o, patterns);
    else
        o->other = any ? other_member(o, any_other_name(o), others, "additionalProperties") : GRAMMAR_BAD;
    return o->schema->failed ? -1 : 0;
}

/* ---- how many ---- */

enum { COUNTED_MAX = 20000 /* properties, times numbers of members that are told apart */ };

/* How many other members: a name may come twice, which makes one of them none, so that more than one at least
 * cannot be asked for. */
static int read_counts(struct object *o)
{
    struct schema *s = o->schema;
    if (schema_count(s, o->source, o->at, "minProperties", 0, &o->min) != 0 ||
        schema_count(s, o->source, o->at, "maxProperties", -1, &o->max) != 0)
        return -1;
    if (o->other >= 0 && o->min > o->count + 1)
        return schema_unsupported(s, o->at, "minProperties",
                                  "is more than the properties that are named and one");
    o->exact = o->max >= 0 && o->max < o->count;
    o->levels = (o->exact ? o->max : o->min > 1 ? o->min : 1) + 1;
    if ((int64_t)o->levels * o->count > COUNTED_MAX)
        return schema_unsupported(s, o->at, o->exact ? "maxProperties" : "minProperties", "is too large");
    return 0;
}

/* ---- the text ---- */

static int in_rule(struct grammar *g, int body)
{
    int rule = grammar_rule(g, "", 0);
    grammar_define(g, rule, body);
    return grammar_call(g, rule);
}

/* The other members behind `begun` ones; so many are told apart that it says what matters. */
static int others(struct object *o, int begun)
{
    struct grammar *g = o->schema->grammar;
    int room = o->max < 0 ? -1 : o->exact ? o->max - begun : o->max - o->count, need = o->min - begun;
    if (o->other < 0 || room == 0 || need > 1)
        return need > 0 ? grammar_any(g, NULL, 0) : grammar_empty(g);
    int further = GRAMMAR_ALL_OF(g, o->comma, o->other);
    if (begun > 0)
        return grammar_repeat(g, further, need > 0 ? need : 0, room);
    int some = GRAMMAR_ALL_OF(g, o->other, grammar_repeat(g, further, 0, room > 0 ? room - 1 : -1));
    return need > 0 ? some : grammar_optional(g, some);
}

/* Property `index` behind `begun` members, and what follows, which is `rest` [levels]. */
static int with_property(struct object *o, int index, int begun, const int *rest)
{
    struct grammar *g = o->schema->grammar;
    int member = grammar_call(g, o->properties[index].member), next = begun + 1;
    if (next == o->levels && o->exact)
        return grammar_any(g, NULL, 0);
    if (next == o->levels)
        next = begun; /* enough is enough */
    return begun > 0 ? GRAMMAR_ALL_OF(g, o->comma, member, rest[next])
                     : GRAMMAR_ALL_OF(g, member, rest[next]);
}

/* From the last property to the first: what follows behind so many members as make a difference: none, or
 * some (with a comma), or those that are counted. Each is a rule, which is called at the end of those before
 * it. */
static int all_members(struct object *o)
{
    struct grammar *g = o->schema->grammar;
    int *rest = calloc((size_t)o->levels, sizeof *rest);
    if (!rest)
        return schema_no_memory(o->schema);
    for (int begun = 0; begun < o->levels; begun++)
        rest[begun] = in_rule(g, others(o, begun));
    for (int i = o->count; i-- > 0;)
        for (int begun = 0; begun < o->levels;
             begun++) { /* rest[begun + 1] is that of the property behind still */
            int with = with_property(o, i, begun, rest);
            bool required = o->properties[i].required;
            rest[begun] = in_rule(g, required ? with : GRAMMAR_ANY_OF(g, with, rest[begun]));
        }
    int first = rest[0];
    free(rest);
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
