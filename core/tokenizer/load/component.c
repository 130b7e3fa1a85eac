#include "core/tokenizer/load/component.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/utf8.h"

enum { NESTING_MAX = 8 }; /* of Sequence in Sequence */

static int malformed(const char *where, const char *name, const char *expected, json_t *value, struct err *e)
{
    static const char *const names[] = {
        [JSON_OBJECT] = "an object",   [JSON_ARRAY] = "an array",  [JSON_STRING] = "a string",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a fraction", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",        [JSON_NULL] = "null"};
    return err_set(e, "tokenizer_malformed", "%s.%s: expected %s, found %s", where, name, expected,
                   value ? names[json_typeof(value)] : "nothing");
}

static bool switches_something_on(json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_NULL:
    case JSON_FALSE:
        return false;
    case JSON_STRING:
        return json_string_length(value) > 0;
    case JSON_INTEGER:
    case JSON_REAL:
        return json_number_value(value) != 0;
    default:
        return true;
    }
}

int component_check(json_t *object, const char *where, const char *const *known, struct err *e)
{
    if (!json_is_object(object))
        return err_set(e, "tokenizer_malformed", "%s: expected an object", where);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        const char *const *name = known;
        while (*name && strcmp(*name, key) != 0)
            name++;
        if (!*name && switches_something_on(value))
            return err_set(e, "tokenizer_unsupported", "%s: the field \"%.64s\" is not known", where, key);
    }
    return 0;
}

int component_bool(json_t *object, const char *where, const char *name, bool *out, struct err *e)
{
    json_t *value = json_object_get(object, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_boolean(value))
        return malformed(where, name, "true or false", value, e);
    *out = json_is_true(value);
    return 0;
}

int component_size(json_t *object, const char *where, const char *name, size_t *out, struct err *e)
{
    json_t *value = json_object_get(object, name);
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return malformed(where, name, "an integer from 0", value, e);
    *out = (size_t)json_integer_value(value);
    return 0;
}

int component_string(json_t *object, const char *where, const char *name, const char **out, size_t *length,
                     struct err *e)
{
    json_t *value = json_object_get(object, name);
    if (!json_is_string(value))
        return malformed(where, name, "a string", value, e);
    *out = json_string_value(value);
    *length = json_string_length(value);
    return 0;
}

int component_array(json_t *object, const char *where, const char *name, json_t **out, struct err *e)
{
    *out = json_object_get(object, name);
    return json_is_array(*out) ? 0 : malformed(where, name, "an array", *out, e);
}

int component_type(json_t *component, const char *where, const char **type, struct err *e)
{
    size_t length;
    if (!json_is_object(component))
        return err_set(e, "tokenizer_malformed", "%s: expected an object or null", where);
    return component_string(component, where, "type", type, &length, e);
}

int component_refuse_type(const char *where, const char *type, struct err *e)
{
    return err_set(e, "tokenizer_unsupported", "%s: the type \"%.64s\" is not supported", where, type);
}

int component_sequence(json_t *component, const char *where, const char *list_name, int depth,
                       int (*load)(void *arg, json_t *component, int depth, struct err *e), void *arg,
                       struct err *e)
{
    const char *const known[] = {"type", list_name, NULL};
    json_t *list;
    if (depth == NESTING_MAX)
        return err_set(e, "tokenizer_unsupported", "%s: Sequence nested more than %d deep", where,
                       NESTING_MAX);
    if (component_check(component, where, known, e) != 0 ||
        component_array(component, where, list_name, &list, e) != 0)
        return -1;
    size_t index;
    json_t *member;
    json_array_foreach(list, index, member)
    {
        if (load(arg, member, depth + 1, e) != 0)
            return -1;
    }
    return 0;
}

char *component_copy(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    if (copy) {
        memcpy(copy, text, length);
        copy[length] = '\0';
    }
    return copy;
}

int component_pattern(json_t *component, const char *where, bool *is_regex, const char **text, size_t *length,
                      struct err *e)
{
    static const char *const known[] = {"String", "Regex", NULL};
    json_t *pattern = json_object_get(component, "pattern");
    if (component_check(pattern, where, known, e) != 0)
        return -1;
    *is_regex = json_object_get(pattern, "Regex") != NULL;
    if (json_object_size(pattern) != 1)
        return err_set(e, "tokenizer_malformed", "%s.pattern: expected String or Regex", where);
    if (component_string(pattern, where, *is_regex ? "Regex" : "String", text, length, e) != 0)
        return -1;
    return *length > 0 ? 0 : err_set(e, "tokenizer_unsupported", "%s: an empty pattern", where);
}

int component_character(json_t *component, const char *where, const char *name, const char **text,
                        size_t *length, struct err *e)
{
    if (component_string(component, where, name, text, length, e) != 0)
        return -1;
    if (*length == 0 || utf8_size(**text) != *length)
        return err_set(e, "tokenizer_malformed", "%s.%s: expected one character", where, name);
    return 0;
}

/* The scheme's name, or the older add_prefix_space. */
static int read_scheme(json_t *component, const char *where, enum prepend_scheme *out, struct err *e)
{
    static const char *const names[] = {
        [PREPEND_NEVER] = "never", [PREPEND_FIRST] = "first", [PREPEND_ALWAYS] = "always"};
    json_t *scheme = json_object_get(component, "prepend_scheme");
    bool prefix_space = true;
    *out = PREPEND_ALWAYS;
    if (component_bool(component, where, "add_prefix_space", &prefix_space, e) != 0)
        return -1;
    if (scheme) {
        size_t i = 0;
        while (i < 3 && !(json_is_string(scheme) && strcmp(names[i], json_string_value(scheme)) == 0))
            i++;
        if (i == 3)
            return err_set(e, "tokenizer_malformed", "%s.prepend_scheme: expected first, never or always",
                           where);
        *out = (enum prepend_scheme)i;
    }
    if (!prefix_space && *out != PREPEND_NEVER)
        return err_set(e, "tokenizer_malformed",
                       "%s: add_prefix_space is false, but prepend_scheme is not never", where);
    return 0;
}

static const char *const metaspace_fields[] = {
    "type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep", NULL};

int component_metaspace(json_t *component, const char *where, const char **replacement, size_t *length,
                        enum prepend_scheme *scheme, struct err *e)
{
    if (component_check(component, where, metaspace_fields, e) != 0 ||
        component_character(component, where, "replacement", replacement, length, e) != 0)
        return -1;
    return read_scheme(component, where, scheme, e);
}
