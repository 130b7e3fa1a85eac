/* What a LoraConfig trains of a base, by the same matching that an adapter of that config is read with. No
 * I/O, no globals; any thread. */
#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "core/train/train_params.h"

struct peft_plan {
    struct train_plan train; /* its lists are owned */
};

/* `strict`: names, layers and patterns that hit nothing in this base, which PEFT passes over, are refused:
 * "adapter_unknown_module". Other errors: those of an adapter with this config; "adapter_unsupported_feature"
 * for what is served but not trained: trainable_token_indices, and ensure_weight_tying where it ties. */
MUST_USE int peft_plan_init(struct peft_plan *p, const struct model *m, json_t *config, bool strict,
                            struct err *e);
void peft_plan_fini(struct peft_plan *p); /* of a zeroed one, too */
/* Names of the base's linear layers but lm_head, as target_modules has them in the place of "all-linear". */
json_t *peft_plan_all_linear(const struct model *m); /* NULL when memory ran out */
