/* From logits to the next token. Pure functions of their arguments, but for the generator's state. */
#pragma once
#include <stdint.h>

#include "core/engine/engine.h"

struct candidate {
    int32_t token;
    float weight; /* exp of the logit over the temperature, the largest 1 */
};

struct sampler {
    uint64_t state;               /* of the random generator (SplitMix64) */
    struct candidate *candidates; /* owned: [vocab_size] scratch */
};

/* The same seed gives the same tokens. Memory is taken only where sampling needs it. */
int sampler_init(struct sampler *s, const struct sampling *how, int vocab_size, struct err *e);
void sampler_fini(struct sampler *s);

/* Temperature, then top_k, top_p and min_p, each over what the one before left; at temperature 0 the largest
 * logit, ties to the lowest id. */
int32_t sampler_next(struct sampler *s, const struct sampling *how, const float *logits, int vocab_size);

/* Fill the token's own log-probability and the `how->logprobs` likeliest ones. */
void sampler_logprobs(const struct sampling *how, const float *logits, int vocab_size,
                      struct engine_token *t);
