/* From tokenizer.json to the parts of struct tokenizer, one function for each component of the file. */
#pragma once
#include <jansson.h>

#include "core/tokenizer/load/model_scan.h"
#include "core/tokenizer/tokenizer_private.h"

/* Errors: "tokenizer_malformed", "tokenizer_unsupported",
 * "out_of_memory". */
MUST_USE int tokenizer_load_model(struct tokenizer *t, json_t *model, const struct model_text *text,
                                  struct err *e);
MUST_USE int tokenizer_load_added(struct tokenizer *t, json_t *list,
                                  struct err *e); /* behind model and normalizer */
/* What is looked for, and decoded, of a token that is found in normalized text. */
MUST_USE int tokenizer_normalize_added(const struct normalizer *n, struct added_token *token, struct err *e);
MUST_USE int tokenizer_load_normalizer(struct normalizer *n, json_t *component, struct err *e);
MUST_USE int tokenizer_load_pretokenizer(struct pretokenizer *p, json_t *component, struct err *e);
MUST_USE int tokenizer_load_decoder(struct decoder *d, json_t *component, struct err *e);
MUST_USE int tokenizer_load_postprocessor(struct tokenizer *t, json_t *component, struct err *e);
