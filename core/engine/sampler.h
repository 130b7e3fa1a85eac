/* From logits to the next token: what the request changes in them (processors.h), then the choice. Pure
 * functions of their arguments, but for the generator's state. */
#pragma once
#include "core/base/err.h"
#include "core/engine/processors.h"

struct sampler_candidate {
    int32_t token;
    float weight; /* exp of the logit over the temperature, the largest 1 */
};

/* Where one thread samples, one sequence after the other; [vocab_size] each, owned. */
struct sampler_scratch {
    struct sampler_candidate *candidates;
    float *logits;
    uint32_t *counts; /* zeros between two calls */
    int vocab_size;   /* of the logits that are next, up to that of sampler_scratch_init */
};

struct sampler {    /* of one sequence */
    uint64_t state; /* of the random generator (SplitMix64): at first the seed */
};

MUST_USE int sampler_scratch_init(struct sampler_scratch *w, int vocab_size, struct err *e);
void sampler_scratch_fini(struct sampler_scratch *w);

/* The processors, then temperature, top_k, top_p and min_p, each over what the one before left; at
 * temperature 0 the largest logit, ties to the lowest id. The same seed and history give the same token. -1:
 * the processors leave none. */
int32_t sampler_next(struct sampler *s, struct sampler_scratch *w, const struct sampling *how,
                     const struct processors_history *h, const float *logits);
