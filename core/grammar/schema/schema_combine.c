#include "core/grammar/schema/schema_combine.h"

#include <stdlib.h>
#include <string.h>

#include "core/grammar/schema/schema_keywords.h"
#include "core/grammar/schema/schema_merge.h"

/* ---- references ---- */

/* One part of a JSON pointer in a URI fragment, decoded in place (RFC 6901, section 6); false: malformed. */
static bool decode(char *part)
{
    char *out = part;
    for (const char *in = part; *in; in++) {
        char c = *in, hex[3] = {0};
        if (c == '%') {
            char *end;
            memcpy(hex, in + 1, strnlen(in + 1, 2));
            c = (char)strtol(hex, &end, 16);
            if (end != hex + 2 || c == '\0')
                return false;
            in += 2;
        } else if (c == '~') {
            if (in[1] != '0' && in[1] != '1')
                return false;
            c = *++in == '0' ? '~' : '/';
        }
        *out++ = c;
    }
    *out = '\0';
    return true;
}

static const json_t *step(const json_t *from, char *part)
{
    char *end;
    if (!from || !decode(part))
        return NULL;
    if (json_is_object(from))
        return json_object_get(from, part);
    size_t index = strtoul(part, &end, 10);
    return part[0] && !*end ? json_array_get(from, index) : NULL;
}

static const json_t *follow(const json_t *root, char *path)
{
    char *rest = path;
    const json_t *at = root;
    while (rest && at) {
        char *part = rest, *slash = strchr(part, '/');
        rest = slash ? slash + 1 : NULL;
        if (slash)
            *slash = '\0';
        at = step(at, part);
    }
    return at;
}

const json_t *schema_target(struct schema *s, const char *pointer, const struct schema_place *at)
{
    if (!pointer || pointer[0] != '#' || (pointer[1] && pointer[1] != '/')) {
        schema_unsupported(s, at, "$ref", "is not a JSON pointer within the schema (#/...)");
        return NULL;
    }
    if (!pointer[1])
        return s->root;
    char *path = strdup(pointer + 2);
    if (!path) {
        schema_no_memory(s);
        return NULL;
    }
    const json_t *target = follow(s->root, path);
    free(path);
    if (!target)
        schema_invalid(s, at, "$ref", "names nothing in the schema");
    return target;
}

static bool says_nothing_but(const json_t *schema, const char *keyword)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)schema, name, value) if (strcmp(name, keyword) != 0 &&
                                                           !schema_is_annotation(name) &&
                                                           strcmp(name, "nullable") != 0) return false;
    return true;
}

bool schema_is_bare_reference(const json_t *schema)
{
    return says_nothing_but(schema, "$ref");
}

/* ---- flattening ---- */

static json_t *flat(struct schema *s, const json_t *schema, const struct schema_place *at, int depth);

/* acc and a further schema, which is given up with acc; NULL: refused. */
static json_t *join(struct schema *s, json_t *acc, json_t *other, const struct schema_place *at)
{
    json_t *merged = acc && other ? schema_merge(s, acc, other, at) : NULL;
    json_decref(acc);
    json_decref(other);
    return merged;
}

static json_t *without(const json_t *schema, const char *one, const char *other)
{
    json_t *copy = json_copy((json_t *)schema);
    json_object_del(copy, one);
    json_object_del(copy, other);
    return copy;
}

static json_t *flat_parts(struct schema *s, const json_t *schema, const struct schema_place *at, int depth)
{
    const json_t *ref = json_object_get(schema, "$ref"), *all = json_object_get(schema, "allOf");
    json_t *acc = json_object();
    if (ref) {
        const json_t *target = schema_target(s, json_string_value(ref), at);
        acc = join(s, acc, target ? flat(s, target, at, depth) : NULL, at);
    }
    if (all && json_array_size(all) == 0) {
        schema_invalid(s, at, "allOf", "is an array of one schema at least");
        json_decref(acc);
        return NULL;
    }
    struct schema_place below = schema_below(at, "allOf");
    for (size_t i = 0; acc && i < json_array_size(all); i++) {
        struct schema_place place = schema_element(&below, (int)i);
        acc = join(s, acc, flat(s, json_array_get(all, i), &place, depth), &place);
    }
    return join(s, acc, without(schema, "$ref", "allOf"), at);
}

static json_t *flat(struct schema *s, const json_t *schema, const struct schema_place *at, int depth)
{
    if (json_is_boolean(schema))
        return json_incref((json_t *)schema);
    if (!json_is_object(schema)) {
        schema_invalid(s, at, "", "is an object, true or false");
        return NULL;
    }
    if (++s->nodes > SCHEMA_NODES_MAX || depth > SCHEMA_DEPTH_MAX) {
        schema_too_large(s, at);
        return NULL;
    }
    if (schema_check_keywords(s, schema, at) != 0)
        return NULL;
    if (!json_object_get(schema, "$ref") && !json_object_get(schema, "allOf"))
        return json_incref((json_t *)schema);
    return flat_parts(s, schema, at, depth + 1);
}

const json_t *schema_flatten(struct schema *s, const json_t *schema, const struct schema_place *at)
{
    json_t *made = flat(s, schema, at, 0);
    if (!made || json_array_append_new(s->made, made) != 0) {
        schema_no_memory(s); /* where nothing was refused */
        return NULL;
    }
    return made;
}

/* ---- alternatives ---- */

static json_t *with_rest(const json_t *alternative, const json_t *rest)
{
    return json_pack("{s:[O, O]}", "allOf", rest, alternative);
}

json_t *schema_alternatives(struct schema *s, const json_t *schema, const char *keyword,
                            const struct schema_place *at)
{
    json_t *given = json_object_get(schema, keyword), *rest = without(schema, keyword, keyword),
           *list = json_array();
    bool alone = says_nothing_but(schema, keyword);
    json_array_append_new(s->made, list);
    size_t i, count = json_array_size(given);
    json_t *one;
    if (count == 0)
        schema_invalid(s, at, keyword, "is an array of one schema at least");
    else if (count > SCHEMA_ALTERNATIVES_MAX)
        schema_unsupported(s, at, keyword, "has too many alternatives");
    json_array_foreach(
        given, i, one) if (json_array_append_new(list, alone ? json_incref(one) : with_rest(one, rest)) != 0)
        schema_no_memory(s);
    json_decref(rest);
    return s->failed ? NULL : list;
}
