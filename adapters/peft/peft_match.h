/* Which sites of the base an adapter's configuration targets, and which modules it replaces, with the rank
 * and the scale of each. Part of peft.h's implementation. One thread; no I/O. Source:
 * check_target_module_exists and _maybe_include_all_linear_layers (peft/tuners/tuners_utils.py),
 * get_pattern_key (peft/utils/other.py), LoraModel._create_and_replace. */
#pragma once
#include <stdbool.h>

#include "adapters/peft/peft_config.h"
#include "core/delta/delta.h"
#include "core/model/model.h"

struct peft_target {
    bool targeted;
    int rank;     /* 1..DELTA_RANK_MAX */
    double scale; /* finite as f32 */
};

/* Fill one target for each of the model's sites. Errors: "adapter_unknown_module",
 * "adapter_unsupported_feature", "adapter_rank_too_large", "adapter_not_finite", "config_malformed". */
int peft_match(const struct model *m, const struct peft_config *c, struct peft_target *targets,
               struct err *e);

/* saved[slot]: the tensor belongs to a module of modules_to_save. Errors: "adapter_unknown_module" where a
 * name is no module's; "adapter_unsupported_feature" where a module is a target, too. */
int peft_match_saved(const struct model *m, const struct peft_config *c, const struct peft_target *targets,
                     bool *saved, struct err *e);
