/* One step's lines, or all lines of the validation data, on their way through passes: which examples come
 * next, and what they added up to. Sums go in the order of the lines, however the examples were put into
 * passes. Part of trainer.h's implementation; one thread.
 *
 * A preference is computed by three examples of each of its two sides: with the adapter, with the bare base
 * (Rafailov et al. 2023: the reference), and once more for the gradient, whose weight the first two decide.
 */
#pragma once
#include "core/train/train_data.h"
#include "core/train/train_numeric.h"
#include "core/train/train_options.h"
#include "core/train/train_pass.h"
#include "core/train/train_steps.h"

struct train_round {
    const struct train_options *options;
    const struct train_data *data;
    bool evaluates;
    struct train_span lines;
    size_t slots, next, done;         /* examples in all, given out, taken back */
    int64_t tokens, targets, correct; /* so far; of an evaluation's targets, too */
    double loss;                      /* sum */
    float weight;                     /* of a target in the gradient */
    double *scores;                   /* owned: log p of preferences, [pairs at a time, SCORES] */
    size_t scores_capacity;
    struct train_sequence *sequences; /* owned: of the examples that are out */
    int sequences_capacity;
};

void train_round_fini(struct train_round *r); /* of a zeroed one, too */
/* The lines of a step. Errors: those of the data; "out_of_memory". */
MUST_USE int train_round_begin_step(struct train_round *r, const struct train_options *o,
                                    const struct train_data *d, int64_t step, struct err *e);
MUST_USE int train_round_begin_evaluation(struct train_round *r, const struct train_options *o,
                                          const struct train_data *d, struct err *e);

/* What the examples are computed with. */
struct train_round_with {
    const struct delta *delta;
    struct train_params *params;
};
/* As trainer_next. */
int train_round_next(struct train_round *r, struct train_round_with with, int room, struct train_example *out,
                     int max, struct err *e);
void train_round_give(struct train_round *r, const struct train_example *examples, int count);
/* All of a round of a numeric base. */
MUST_USE int train_round_numeric(struct train_round *r, struct train_round_with with, struct train_numeric *n,
                                 struct err *e);
bool train_round_is_done(const struct train_round *r);
/* Once it is done; 0 where there were no targets. */
double train_round_loss(const struct train_round *r);
double train_round_accuracy(const struct train_round *r);
