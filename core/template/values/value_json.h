/* Values from JSON, and to JSON as Python's json.dumps writes it. */
#pragma once
#include <jansson.h>

#include "core/template/values/value.h"

/* Strings stay where they stand in `json`, which must outlive the value. */
MUST_USE int value_from_json(struct context *c, const json_t *json, struct value *out);

struct json_style {
    bool ascii, sorted, indented;
    struct string indent, between, colon;
};
MUST_USE int value_to_json(struct context *c, struct value v, const struct json_style *style,
                           struct buf *out);
