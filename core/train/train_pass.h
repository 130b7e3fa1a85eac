/* One pass of the base, forward and backward, over sequences of any number of jobs: the products with the
 * base's weights are shared, all else is each job's own. What a sequence adds to its job's gradients does not
 * depend on who shares the pass, nor on the number of threads: every sum over tokens is one chain in the
 * order of the data.
 *
 * The forward pass is that of serving (core/forward). Each layer's input is kept; the backward pass computes
 * the layer again. Logits and their gradients exist for a block of target tokens at a time. */
#pragma once
#include "core/system/gate.h"
#include "core/system/pool.h"
#include "core/train/train_data.h"
#include "core/train/train_params.h"

struct train_example {
    const struct train_sequence *sequence;
    const struct delta *delta; /* what it is computed with; NULL: the bare base */
    struct train_params
        *params;   /* whose gradients it adds to: of the same numbers as the delta; NULL: forward alone */
    float weight;  /* of each target's loss in the gradient: 1 / targets of the step, as a rule */
    float dropout; /* of the low-rank input, 0: none; as reproducible as all else: */
    uint64_t dropout_seed; /* of this example in this step */
    /* results */
    double loss;          /* sum of -log p over its targets, in their order */
    int targets, correct; /* those whose token was the likeliest */
};

struct train_pass;
enum { TRAIN_PASS_EXAMPLES = 256 }; /* of one pass at most */

/* For passes of up to `tokens` tokens, which bounds one example too. The pool's caller is the pass's. `gate`
 * may be NULL. */
MUST_USE int train_pass_new(struct train_pass **out, const struct model *m, struct pool *pool,
                            struct gate *gate, int tokens, struct err *e);
void train_pass_free(struct train_pass *p); /* NULL is fine */
size_t train_pass_bytes(const struct model *m, int tokens, int threads);
int train_pass_tokens(const struct train_pass *p);
/* At least one example; those of the same params stand one behind the other, in the order of their data.
 * Language models only. */
void train_pass_run(struct train_pass *p, struct train_example *examples, int count);
