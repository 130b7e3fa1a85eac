/* What a request changes in the model's logits before a token is chosen from them, in this order: biases,
 * the penalty of repetition, those of frequency and presence, end tokens that may not come yet. Each does
 * what the processor of that name does in transformers (frequency and presence: in vLLM).
 *
 * A function of its arguments alone: what was said before is read from the sequence each time, so that a
 * sequence that began again goes on with the same bits, and nothing is kept for each that waits. */
#pragma once
#include "core/engine/sampling.h"

/* What a sequence has said so far, and which tokens would end it. Borrowed. */
struct processors_history {
    const int32_t *tokens; /* [prompt + answered] */
    int prompt, answered;
    const int32_t *ends; /* [end_count] */
    int end_count;
};

/* Does anything of `how` change logits, now or later? */
bool processors_wanted(const struct sampling *how);
/* Change `logits` [vocab_size] in place. `counts` [vocab_size] is scratch: zeros before and after. */
void processors_apply(const struct sampling *how, const struct processors_history *h, float *logits,
                      uint32_t *counts, int vocab_size);
