/* Is a value valid under a schema? For values that a schema lists. Owns nothing; any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

enum schema_verdict {
    SCHEMA_INVALID,
    SCHEMA_UNKNOWN /* a keyword that is not tried here decides */,
    SCHEMA_VALID
};

enum schema_verdict schema_test(const json_t *schema, const json_t *value);
bool schema_equal(const json_t *a, const json_t *b); /* 1 and 1.0 are */
/* Owned by the caller; NULL: out of memory. Numbers have the fewest digits that read back. */
char *schema_value_text(const json_t *value);
