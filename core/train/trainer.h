/* One job's training: which lines come next, when a step is full, what the optimizer does then. A state
 * machine without threads, clocks or files; whoever runs passes asks it for examples and gives them back
 * computed. The same options, data and seed give the same bits, whatever happens around: how examples are put
 * into passes, and where it was saved and restored. */
#pragma once
#include "core/train/train_data.h"
#include "core/train/train_options.h"
#include "core/train/train_params.h"
#include "core/train/train_pass.h"

/* What the trainer says after each step and each evaluation. */
enum train_report_kind { TRAIN_REPORT_NOTHING, TRAIN_REPORT_STEP, TRAIN_REPORT_EVALUATION };
struct train_report {
    enum train_report_kind kind;
    int64_t step; /* 1.. */
    /* Of the step's targets; of an evaluation: of all validation targets. The loss is the mean over them, of
     * preferences over pairs, of numbers over examples. The accuracy is the share whose likeliest was the
     * right one, of preferences of pairs whose preferred answer gained more; of numbers without classes 0. */
    double loss, accuracy;
    double gradient_norm; /* before clipping */
    double learning_rate;
    int64_t tokens, targets; /* of the step */
    double epoch;
    bool best; /* of an evaluation: the lowest loss so far */
};

struct trainer;

/* Takes the params over, also on failure. `valid` may be NULL. Data outlive the trainer. Errors:
 * "out_of_memory", those of params. */
MUST_USE int trainer_new(struct trainer **out, const struct model *m, const struct train_options *o,
                         struct train_params *p, const struct train_data *data,
                         const struct train_data *valid, struct err *e);
void trainer_free(struct trainer *t);           /* NULL is fine */
int64_t trainer_steps(const struct trainer *t); /* in all */
int64_t trainer_steps_of(const struct train_options *o, size_t lines);
/* Of a trainer with all that it owns. */
size_t trainer_bytes(const struct model *m, const struct train_options *o, const struct train_plan *plan);
int64_t trainer_step(const struct trainer *t); /* done */
bool trainer_is_done(const struct trainer *t);
int64_t trainer_trained_tokens(const struct trainer *t);

/* The next examples of a language model, `room` tokens and `max` examples at most: 0 where the next does not
 * fit, or while those given out are not back. */
int trainer_next(struct trainer *t, int room, struct train_example *out, int max,
                 struct err *e); /* -1: error */
/* They were computed; the same ones, in the same order. Errors: "training_diverged" where loss or gradients
 * are no longer finite; "adapter_not_finite"; "out_of_memory"; those of the data. */
MUST_USE int trainer_give(struct trainer *t, const struct train_example *examples, int count,
                          struct train_report *out, struct err *e);
/* A whole step (or evaluation) of a numeric model at once; small. */
MUST_USE int trainer_run_numeric(struct trainer *t, struct train_report *out, struct err *e);

/* The params as they stand, or the best where early stopping keeps it and the job is done. */
const struct train_params *trainer_result(const struct trainer *t);

/* Everything that is needed to go on with the same bits, while no examples are out (trainer_can_save). A step
 * or an evaluation that has begun is not in it: it will begin again. */
bool trainer_can_save(const struct trainer *t);
uint64_t trainer_save_bytes(const struct trainer *t);
/* In pieces, one behind the other: no second copy of it is in memory. Errors: those of `write`. */
MUST_USE int trainer_save(const struct trainer *t,
                          int (*write)(void *arg, const void *data, size_t length, struct err *e), void *arg,
                          struct err *e);
/* Into a new trainer of the same options, params of the same plan, and data of the same size. Errors:
 * "checkpoint_malformed", also of another job's: then the trainer is as it was. */
MUST_USE int trainer_restore(struct trainer *t, const void *bytes, size_t size, struct err *e);
