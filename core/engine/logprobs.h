/* Log-probabilities of the model's own distribution: log-softmax of logits, summed in double. Pure
 * functions; any thread. */
#pragma once
#include "core/engine/sampling.h"

float logprobs_of(const float *logits, int vocab_size, int32_t token);
/* Fill what a token was given: its log-probability, and the `count` likeliest ones,
 * 0..SAMPLING_LOGPROBS_MAX. */
void logprobs_fill(const float *logits, int vocab_size, int count, struct engine_token *t);
