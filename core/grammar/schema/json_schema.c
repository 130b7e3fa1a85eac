#include "core/grammar/schema/json_schema.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/grammar/schema/schema_apart.h"
#include "core/grammar/schema/schema_combine.h"
#include "core/grammar/schema/schema_keywords.h"
#include "core/grammar/schema/schema_kinds.h"
#include "core/grammar/schema/schema_test.h"

/* ---- references ---- */

/* The rule of what a $ref names, which is compiled later: references may go round in circles. */
static int reference(struct schema *s, const char *pointer, const struct schema_place *at)
{
    const json_t *known = json_object_get(s->references, pointer);
    if (known)
        return grammar_call(s->grammar, (int)json_integer_value(json_object_get(known, "rule")));
    const char *name = strrchr(pointer, '/');
    name = name ? name + 1 : "schema";
    int rule = grammar_rule(s->grammar, name, strlen(name));
    /* Who knows at how many levels it will be used: space for some, at least. */
    int level = at->level > JSON_INDENT_MAX / 2 ? at->level : JSON_INDENT_MAX / 2;
    json_t *entry = json_pack("{s:i, s:i}", "rule", rule, "level", level);
    if (rule < 0 || json_object_set_new(s->references, pointer, entry) != 0)
        return schema_no_memory(s);
    return grammar_call(s->grammar, rule);
}

static void define_reference(struct schema *s, const char *pointer, const json_t *entry)
{
    struct schema_place at = {.key = pointer,
                              .level = (int)json_integer_value(json_object_get(entry, "level"))};
    const json_t *target = schema_target(s, pointer, &at);
    if (target)
        grammar_define(s->grammar, (int)json_integer_value(json_object_get(entry, "rule")),
                       s->value(s, target, &at));
}

/* Each may find further ones, which come behind it. */
static void define_references(struct schema *s)
{
    for (void *i = json_object_iter(s->references); i && !s->failed;
         i = json_object_iter_next(s->references, i))
        define_reference(s, json_object_iter_key(i), json_object_iter_value(i));
}

/* ---- values that are listed ---- */

static int literal(struct schema *s, const json_t *value)
{
    char *text = schema_value_text(value);
    if (!text)
        return schema_no_memory(s);
    int node = grammar_string(s->grammar, text);
    free(text);
    return node;
}

/* The values of the list that the keywords of `rest` allow. */
static int allowed(struct schema *s, const json_t *rest, const json_t *values, const char *keyword,
                   const struct schema_place *at)
{
    struct grammar_list list = {0};
    size_t i;
    json_t *value;
    json_array_foreach((json_t *)values, i, value)
    {
        enum schema_verdict v = schema_test(rest, value);
        if (v == SCHEMA_UNKNOWN)
            schema_unsupported(s, at, keyword, "stands beside keywords that its values cannot be tried by");
        else if (v == SCHEMA_VALID)
            grammar_list_add(s->grammar, &list, literal(s, value));
    }
    return grammar_list_any(s->grammar, &list);
}

static int listed(struct schema *s, const json_t *schema, const json_t *values, const char *keyword,
                  const struct schema_place *at)
{
    if (!json_is_array(values))
        return schema_invalid(s, at, keyword, "is an array of values");
    if (json_array_size(values) > SCHEMA_ENUM_MAX)
        return schema_unsupported(s, at, keyword, "has too many values");
    json_t *rest = json_copy((json_t *)schema);
    if (!rest)
        return schema_no_memory(s);
    json_object_del(rest, keyword);
    int node = allowed(s, rest, values, keyword, at);
    json_decref(rest);
    return node;
}

static int constant(struct schema *s, const json_t *schema, const json_t *value,
                    const struct schema_place *at)
{
    json_t *values = json_pack("[O]", value);
    int node = values ? listed(s, schema, values, "const", at) : schema_no_memory(s);
    json_decref(values);
    return node;
}

/* ---- types ---- */

static int one_type(struct schema *s, const json_t *schema, unsigned type, const struct schema_place *at)
{
    switch (type) {
    case SCHEMA_NULL:
        return grammar_string(s->grammar, "null");
    case SCHEMA_BOOLEAN:
        return GRAMMAR_ANY_OF(s->grammar, grammar_string(s->grammar, "true"),
                              grammar_string(s->grammar, "false"));
    case SCHEMA_OBJECT:
        return schema_object(s, schema, at);
    case SCHEMA_ARRAY:
        return schema_array(s, schema, at);
    case SCHEMA_STRING:
        return schema_string(s, schema, at);
    default:
        return schema_number(s, schema, at, type == SCHEMA_INTEGER);
    }
}

static int typed(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    unsigned types = schema_types(schema);
    int nodes[8], count = 0;
    if (types == SCHEMA_ANY)
        return json_rules_value(&s->rules, at->level);
    if (types & SCHEMA_NUMBER)
        types &= ~(unsigned)SCHEMA_INTEGER;
    for (unsigned type = 1; type <= SCHEMA_LAST; type <<= 1)
        if (types & type)
            nodes[count++] = one_type(s, schema, type, at);
    return grammar_any(s->grammar, nodes, (size_t)count);
}

/* ---- alternatives ---- */

static int alternatives(struct schema *s, const json_t *schema, const char *keyword,
                        const struct schema_place *at)
{
    json_t *list = schema_alternatives(s, schema, keyword, at);
    if (list && strcmp(keyword, "oneOf") == 0 && schema_all_apart(s, list, at) != 0)
        return GRAMMAR_BAD;
    size_t count = json_array_size(list);
    int *nodes = malloc((count + 1) * sizeof *nodes);
    if (!list || !nodes) {
        free(nodes);
        return list ? schema_no_memory(s) : GRAMMAR_BAD;
    }
    struct schema_place below = schema_below(at, keyword);
    for (size_t i = 0; i < count; i++) {
        struct schema_place place = schema_element(&below, (int)i);
        nodes[i] = s->value(s, json_array_get(list, i), &place);
    }
    int node = grammar_any(s->grammar, nodes, count);
    free(nodes);
    return node;
}

/* ---- any schema ---- */

static int by_keyword(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    const json_t *ref = json_object_get(schema, "$ref");
    if (ref && schema_is_bare_reference(schema))
        return reference(s, json_string_value(ref), at);
    if (ref || json_object_get(schema, "allOf")) {
        const json_t *flat = schema_flatten(s, schema, at);
        return flat ? s->value(s, flat, at) : GRAMMAR_BAD;
    }
    if (json_object_get(schema, "anyOf"))
        return alternatives(s, schema, "anyOf", at);
    if (json_object_get(schema, "oneOf"))
        return alternatives(s, schema, "oneOf", at);
    if (json_object_get(schema, "const"))
        return constant(s, schema, json_object_get(schema, "const"), at);
    if (json_object_get(schema, "enum"))
        return listed(s, schema, json_object_get(schema, "enum"), "enum", at);
    return typed(s, schema, at);
}

static int value(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    if (s->failed)
        return GRAMMAR_BAD;
    if (json_is_true(schema))
        return json_rules_value(&s->rules, at->level);
    if (json_is_false(schema))
        return grammar_any(s->grammar, NULL, 0);
    if (!json_is_object(schema))
        return schema_invalid(s, at, "", "is an object, true or false");
    if (++s->nodes > SCHEMA_NODES_MAX || s->depth >= SCHEMA_DEPTH_MAX)
        return schema_too_large(s, at);
    if (schema_check_keywords(s, schema, at) != 0)
        return GRAMMAR_BAD;
    s->depth++;
    int node = by_keyword(s, schema, at);
    s->depth--;
    return node;
}

const struct grammar_wording json_schema_wording = {
    .empty = "no value is valid under the schema",
    .empty_in = "no value is valid under the schema, since none is for \"%s\"",
    .empty_code = "schema_unsatisfiable",
    .recursive = "keyword \"$ref\" leads from \"%s\" back to it, with nothing of the value between",
    .recursive_code = "schema_unsupported",
};

int json_schema_value(struct grammar *g, const json_t *schema, struct err *e)
{
    struct schema s = {.grammar = g, .rules.grammar = g, .root = schema, .e = e, .value = value};
    struct schema_place at = {0};
    int node = GRAMMAR_BAD;
    s.references = json_object();
    s.made = json_array();
    if (s.references && s.made) {
        node = value(&s, schema, &at);
        define_references(&s);
    } else {
        schema_no_memory(&s);
    }
    json_decref(s.references);
    json_decref(s.made);
    return s.failed || grammar_check(g, e) != 0 ? GRAMMAR_BAD : node;
}

int json_schema_grammar(struct grammar *g, const json_t *schema, struct err *e)
{
    int root = grammar_rule(g, "root", 4), node = json_schema_value(g, schema, e);
    g->wording = &json_schema_wording;
    grammar_define(g, root, node);
    return node == GRAMMAR_BAD ? -1 : 0;
}

int json_schema_any_object(struct grammar *g, struct err *e)
{
    struct json_rules rules = {.grammar = g};
    int root = grammar_rule(g, "root", 4);
    grammar_define(g, root, json_rules_object(&rules, 0));
    return grammar_check(g, e);
}
