#include "server/base/fields.h"

#include <string.h>

#include "core/system/clock.h"

json_t *fields_parse(const char *text, size_t length, struct err *e)
{
    json_error_t error;
    if (length == 0) {
        err_set(e, "invalid_json", "the body must be a JSON object, it is empty");
        return NULL;
    }
    json_t *document = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!document) {
        err_set(e, "invalid_json", "the body is not valid JSON: %s (line %d, column %d)", error.text,
                error.line, error.column);
        return NULL;
    }
    if (!json_is_object(document)) {
        json_decref(document);
        err_set(e, "invalid_json", "the body must be a JSON object");
        return NULL;
    }
    return document;
}

static bool listed(const char *name, const char *const *names)
{
    for (; *names; names++)
        if (strcmp(name, *names) == 0)
            return true;
    return false;
}

int fields_known(const json_t *object, const char *const *names, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (listed(key, names))
            continue;
        err_set(e, "unknown_field", "unknown field \"%.64s\"", key);
        return err_param(e, key);
    }
    return 0;
}

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

int field_wrong_type(const json_t *found, const char *name, const char *expected, struct err *e)
{
    err_set(e, "invalid_type", "\"%s\" must be %s, found %s", name, expected, type_name(found));
    return err_param(e, name);
}

int field_string(const json_t *o, const char *name, size_t max_bytes, const char **out, size_t *length,
                 struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value)
        return 0;
    if (!json_is_string(value))
        return field_wrong_type(value, name, "a string", e);
    if (json_string_length(value) > max_bytes) {
        err_set(e, "out_of_range", "\"%s\" may have %zu bytes at most, found %zu", name, max_bytes,
                json_string_length(value));
        return err_param(e, name);
    }
    *out = json_string_value(value);
    *length = json_string_length(value);
    return 1;
}

int field_text(const json_t *o, const char *name, size_t max_bytes, const char **out, struct err *e)
{
    size_t length;
    int found = field_string(o, name, max_bytes, out, &length, e);
    if (found <= 0 || strlen(*out) == length)
        return found;
    err_set(e, "out_of_range", "\"%s\" may not hold U+0000", name);
    return err_param(e, name);
}

int field_integer(const json_t *o, const char *name, int64_t low, int64_t high, int64_t *out, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value)
        return 0;
    if (!json_is_integer(value))
        return field_wrong_type(value, name, "an integer", e);
    int64_t found = json_integer_value(value);
    if (found < low || found > high) {
        err_set(e, "out_of_range", "\"%s\" must be from %lld to %lld, found %lld", name, (long long)low,
                (long long)high, (long long)found);
        return err_param(e, name);
    }
    *out = found;
    return 1;
}

int field_number(const json_t *o, const char *name, double low, double high, double *out, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value)
        return 0;
    if (!json_is_number(value))
        return field_wrong_type(value, name, "a number", e);
    double found = json_number_value(value);
    if (!(found >= low && found <= high)) {
        err_set(e, "out_of_range", "\"%s\" must be from %g to %g, found %g", name, low, high, found);
        return err_param(e, name);
    }
    *out = found;
    return 1;
}

int field_bool(const json_t *o, const char *name, bool *out, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value)
        return 0;
    if (!json_is_boolean(value))
        return field_wrong_type(value, name, "true or false", e);
    *out = json_is_true(value);
    return 1;
}

int field_expiry(const json_t *o, const char *name, int64_t *out_ms, struct err *e)
{
    const json_t *value = json_object_get(o, name);
    if (!value)
        return 0;
    if (!json_is_string(value) && !json_is_null(value))
        return field_wrong_type(value, name, "a time or null", e);
    int64_t ms = 0;
    const char *text = json_is_null(value) ? NULL : json_string_value(value);
    if (text &&
        (strlen(text) != json_string_length(value) || !clock_parse(text, &ms) || ms <= clock_unix_ms())) {
        err_set(e, "out_of_range",
                "\"%s\" must be a time to come, written like 2026-01-31T12:00:00Z, found \"%.40s\"", name,
                text);
        return err_param(e, name);
    }
    *out_ms = ms;
    return 1;
}

int field_tokens(const json_t *o, const char *name, int vocab_size, struct token_list *out, struct err *e)
{
    const json_t *list = json_object_get(o, name);
    if (!list)
        return 0;
    if (!json_is_array(list))
        return field_wrong_type(list, name, "an array of token ids", e);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        if (!json_is_integer(value))
            return field_wrong_type(value, name, "an array of token ids", e);
        json_int_t id = json_integer_value(value);
        if (id < 0 || id >= vocab_size) {
            err_set(e, "token_out_of_range", "\"%s\"[%zu] is %lld; ids of this model go from 0 to %d", name,
                    i, (long long)id, vocab_size - 1);
            return err_param(e, name);
        }
        if (token_list_push(out, (int32_t)id) != 0)
            return err_memory(e);
    }
    return 1;
}
