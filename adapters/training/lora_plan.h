/* What a job trains, from the `lora` of its request or from the adapter that it goes on from, and the
 * adapter_config.json of its result. Owns both; no I/O, no globals; any thread. */
#pragma once
#include <jansson.h>

#include "adapters/peft/peft_plan.h"

struct lora_plan {
    struct peft_plan peft; /* peft.train: what train_params are made by */
    json_t *config;        /* owned: a whole LoraConfig */
    double dropout;        /* lora_dropout */
};

/* `lora`: fields of PEFT's LoraConfig, the others by this service's defaults (r 16, lora_alpha 32, all linear
 * layers); NULL the same as {}; JSON's null: no LoRA at all, but what `modules_to_save` names (a list, NULL
 * otherwise). Whole paths in messages are of the field `lora`. Errors, with the field in param ("lora.r"):
 * "config_malformed", "unknown_field", "adapter_unknown_module", "adapter_unsupported_feature",
 * "adapter_rank_too_large", "adapter_not_finite"; "out_of_memory". */
MUST_USE int lora_plan_new(struct lora_plan **out, const struct model *m, json_t *lora,
                           json_t *modules_to_save, struct err *e);
/* As the adapter with this adapter_config.json was trained. Errors: those of peft_plan. */
MUST_USE int lora_plan_of_adapter(struct lora_plan **out, const struct model *m, json_t *config,
                                  struct err *e);
void lora_plan_free(struct lora_plan *p);      /* NULL is fine */
int lora_plan_rank(const struct lora_plan *p); /* the highest */
