/* What a request changes in the model's logits before a token is chosen from them, in this order: the penalty
 * of repetition as in transformers, those of frequency and presence as in vLLM, biases; then what would
 * complete a banned sequence (transformers' NoBadWordsLogitsProcessor), end tokens that may not come yet, and
 * what a constraint does not allow, cannot come.
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
    const uint64_t
        *allowed; /* [vocab_size] bits, the lowest of a word first: what may come; NULL: anything */
};

/* Is there anything to change? */
bool processors_wanted(const struct sampling *how, const struct processors_history *h);
/* Change `logits` [vocab_size] in place. `counts` [vocab_size] is scratch: zeros before and after. */
void processors_apply(const struct sampling *how, const struct processors_history *h, float *logits,
                      uint32_t *counts, int vocab_size);
