/* Tokens that an adapter brings beside the base's. */
#pragma once
#include <jansson.h>

#include "adapters/types/warnings.h"
#include "core/tokenizer/tokenizer.h"

/* *out: the base's tokenizer, which it borrows, with those of the adapter's files whose ids are below
 * `vocab`; NULL where there are none. `config`: tokenizer_config.json; `added`: added_tokens.json; each may
 * be NULL. Errors: "config_malformed", "tokenizer_unsupported", "out_of_memory". */
MUST_USE int settings_tokens(struct tokenizer **out, const struct tokenizer *base, int vocab,
                             const json_t *config, const json_t *added, struct warnings *w, struct err *e);
