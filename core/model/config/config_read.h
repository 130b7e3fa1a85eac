/* config.json of a Hugging Face model: what it says, checked against what this code computes. Never a silent
 * wrong answer: a field that switches on something else is refused by name and value ("model_unsupported").
 * Both spellings are read: transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters,
 * dtype). */
#pragma once
#include "core/base/err.h"
#include "core/model/config/config.h"

/* Errors: "model_malformed", "model_unsupported", "io_error". */
MUST_USE int config_read(struct config *out, const char *directory, struct err *e);
