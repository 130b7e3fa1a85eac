#include "core/model/config/keys.h"

#include <float.h>
#include <stdio.h>
#include <stdlib.h>

bool key_is_absent(const json_t *value)
{
    return !value || json_is_null(value);
}

int key_unsupported(const char *field, const json_t *value, struct err *e)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    err_set(e, "model_unsupported", "config.json: %s = %.200s is not supported", field, text ? text : "?");
    free(text);
    return err_param(e, field);
}

int key_malformed(const char *field, const char *wanted, struct err *e)
{
    err_set(e, "model_malformed", "config.json: %s must be %s", field, wanted);
    return err_param(e, field);
}

int key_size(const json_t *root, const char *field, int fallback, int maximum, int *out, struct err *e)
{
    const json_t *value = json_object_get(root, field);
    if (key_is_absent(value) && fallback > 0) {
        *out = fallback;
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > maximum) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "an integer from 1 to %d", maximum);
        return key_malformed(field, wanted, e);
    }
    *out = (int)json_integer_value(value);
    return 0;
}

int key_number(const json_t *root, const char *field, double fallback, double *out, struct err *e)
{
    const json_t *value = json_object_get(root, field);
    if (key_is_absent(value) && fallback > 0) {
        *out = fallback;
        return 0;
    }
    if (!json_is_number(value) || !(json_number_value(value) > 0) || json_number_value(value) > FLT_MAX)
        return key_malformed(field, "a positive number", e);
    *out = json_number_value(value);
    return 0;
}

int key_flag(const json_t *root, const char *field, bool fallback, bool *out, struct err *e)
{
    const json_t *value = json_object_get(root, field);
    if (!key_is_absent(value) && !json_is_boolean(value))
        return key_malformed(field, "true or false", e);
    *out = key_is_absent(value) ? fallback : json_is_true(value);
    return 0;
}
