/* Reading a JSON body field by field: types and ranges are checked, and every refusal names the field, what
 * was expected and what was found. Stateless; any thread with at least 1 MiB of stack. What is returned
 * points into the parsed document. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/tokenizer/tokenizer.h"

enum { JSON_BODY_BYTES_MAX = 1 << 20 };

/* The document, which must be an object without duplicate keys, or NULL ("invalid_json"). */
json_t *fields_parse(const char *text, size_t length, struct err *e);
/* "unknown_field" unless every key is in the NULL-terminated list. */
MUST_USE int fields_known(const json_t *object, const char *const *names, struct err *e);

/* Each of these: 1 when the field is there and *out is set, 0 when it is absent (*out is left alone), -1 on
 * an error: "invalid_type" or "out_of_range". null is not absent, it is a wrong type. */
MUST_USE int field_string(const json_t *o, const char *name, size_t max_bytes, const char **out,
                          size_t *length, struct err *e);
/* The same without U+0000 ("out_of_range"), so that it ends where C thinks. */
MUST_USE int field_text(const json_t *o, const char *name, size_t max_bytes, const char **out, struct err *e);
MUST_USE int field_integer(const json_t *o, const char *name, int64_t low, int64_t high, int64_t *out,
                           struct err *e);
MUST_USE int field_number(const json_t *o, const char *name, double low, double high, double *out,
                          struct err *e);
MUST_USE int field_bool(const json_t *o, const char *name, bool *out, struct err *e);
/* A time to come, or null for never (*out_ms 0). */
MUST_USE int field_expiry(const json_t *o, const char *name, int64_t *out_ms, struct err *e);
/* An array of token ids, each 0..vocab_size-1; appended to `out`. */
MUST_USE int field_tokens(const json_t *o, const char *name, int vocab_size, struct token_list *out,
                          struct err *e);

/* "invalid_type" for `name`, saying what was found. Returns -1. */
MUST_USE int field_wrong_type(const json_t *found, const char *name, const char *expected, struct err *e);
