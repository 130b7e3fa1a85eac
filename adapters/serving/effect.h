/* Finding out what an adapter does to the base, beside the change of logits that the engine's probe sees: the
 * size of its updates, and what both answer to a prompt. Any thread. */
#pragma once
#include <stdint.h>

#include "adapters/types/proof.h"
#include "core/base/err.h"

struct delta;
struct delta_source;
struct engine;
struct model;
struct tokenizer;

/* Of the update itself, without forming B A: ||B A||^2 is the sum over (B^T B) .* (A A^T), in double. What
 * DoRA makes of it, biases and saved modules are not in it. Error: "out_of_memory". */
MUST_USE int effect_norms(struct version_proof *p, const struct model *m, const struct delta_source *s,
                          struct err *e);
/* The likeliest answers of the base and of the adapter to `prompt`, PROOF_PROMPT_BYTES_MAX at most. Blocks
 * the caller, not the engine. Errors: those of tokenizer_encode and engine_submit. */
MUST_USE int effect_sample(struct version_proof *p, struct engine *g, uint32_t tenant, struct delta *d,
                           const struct tokenizer *t, const char *prompt, struct err *e);
