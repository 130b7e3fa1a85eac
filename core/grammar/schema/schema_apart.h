/* Whether the values written for one schema can be valid under another. */
#pragma once
#include "core/grammar/schema/schema.h"

/* True: no text that is written for `a` is valid under `b`. False: it may be, or something was refused. */
bool schema_apart(struct schema *s, const json_t *a, const json_t *b, const struct schema_place *at);
/* -1: the alternatives of a "oneOf" are refused, since two may hold for one value. Otherwise it is as good as
 * an anyOf. */
int schema_all_apart(struct schema *s, const json_t *list, const struct schema_place *at);
