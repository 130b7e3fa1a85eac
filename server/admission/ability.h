/* What a base and its adapters can be asked for: text, vectors, labels. Immutable as they are; any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "adapters/types/rows.h"
#include "server/http/server.h"

enum ability {
    ABILITY_GENERATE, /* text, or rows of a model of numbers */
    ABILITY_EMBED,
    ABILITY_CLASSIFY,
    ABILITIES
};

/* `v` NULL: the bare base, here and below. */
bool ability_has(const struct server *s, const struct version *v, enum ability a);
/* "task_unsupported" unless it has it, with a hint where to ask instead. */
MUST_USE int ability_check(const struct server *s, const struct version *v, enum ability a, struct err *e);
/* The list of their names; a new reference, or NULL when memory ran out. */
json_t *ability_json(const struct server *s, const struct version *v);
