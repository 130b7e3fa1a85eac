/* Two schemas as one that holds where both do. */
#pragma once
#include "core/grammar/schema/schema.h"

/* Owned by the caller; NULL: refused, where two keywords cannot be made one. Neither has $ref or allOf at its
 * top. */
json_t *schema_merge(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at);
