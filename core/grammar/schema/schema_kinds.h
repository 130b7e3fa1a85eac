/* The kinds of values, each in its file: a node for what a schema says of that kind. */
#pragma once
#include "core/grammar/schema/schema.h"

int schema_object(struct schema *s, const json_t *schema, const struct schema_place *at);
int schema_array(struct schema *s, const json_t *schema, const struct schema_place *at);
/* The strings of `schema`, whatever it says of other types. */
int schema_strings(struct schema *s, const json_t *schema, const struct schema_place *at);
/* Of `min` to `max` (-1: no limit) items that are different. */
int schema_unique(struct schema *s, const json_t *items, int min, int max, const struct schema_place *at);
int schema_string(struct schema *s, const json_t *schema, const struct schema_place *at);
int schema_number(struct schema *s, const json_t *schema, const struct schema_place *at, bool integer);
