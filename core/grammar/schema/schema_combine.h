/* Schemas that are made of schemas: $ref, allOf, anyOf, oneOf. What is made belongs to the struct schema. */
#pragma once
#include "core/grammar/schema/schema.h"

/* What a $ref's pointer names; NULL: refused. */
const json_t *schema_target(struct schema *s, const char *pointer, const struct schema_place *at);
/* Is there nothing beside the $ref that says anything? */
bool schema_is_bare_reference(const json_t *schema);
/* The same schema without $ref and allOf at its top; NULL: refused. */
const json_t *schema_flatten(struct schema *s, const json_t *schema, const struct schema_place *at);
/* An array of what "anyOf" or "oneOf" says, each with what stands beside it; NULL: refused. */
json_t *schema_alternatives(struct schema *s, const json_t *schema, const char *keyword,
                            const struct schema_place *at);
