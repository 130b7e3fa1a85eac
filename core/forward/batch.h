/* What goes through one forward pass together: a ragged list of tokens, or of rows of numbers. Types only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/delta/delta.h"
#include "core/forward/dropout.h"
#include "core/kv/kvcache.h"

struct batch {
    int count;               /* tokens in this step, at most the pass's batch_tokens */
    const int32_t *token;    /* [count]; of a numeric model NULL */
    const float *input;      /* [count, input_size] of a numeric model, otherwise NULL */
    const int32_t *position; /* [count] place in its sequence */
    /* [count] of the sequence as the token's rotation knows it: that of the whole prompt for its tokens.
     * NULL: position + 1. */
    const int32_t *length;
    struct kv_sequence *const *sequence; /* [count] */
    /* [count]; NULL: bare base. Runs of equal deltas are computed together. */
    const struct delta *const *delta;
    const struct dropout *dropout; /* [count] of what the delta's low-rank parts read; NULL: none */
    const uint8_t *want_logits;    /* [count] */
    const uint8_t *want_state;     /* [count] what stands behind the final norm; NULL: of no token */
    float *const *scores;          /* [count] where what the token's head says of that goes; NULL: nowhere */
    bool alone;                    /* the calling thread does it all; the same result */
};

/* Rows that go through linear layers together: the tokens of the step, or those whose logits are wanted. */
struct rows {
    int count;
    const struct delta *const *delta; /* [count] */
    const struct dropout *dropout;    /* [count], or NULL: none is dropped */
};

/* The end of the run of equal deltas that begins at `first`. */
static inline int rows_run_end(struct rows rows, int first, int end)
{
    int next = first + 1;
    while (next < end && rows.delta[next] == rows.delta[first])
        next++;
    return next;
}

/* Row t of rows that are `width` numbers long. A macro, for constant rows stay constant. */
#define row_at(x, t, width) ((x) + (size_t)(t) * (size_t)(width))
