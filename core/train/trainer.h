/* One job's training: which lines come next, when a step is full, what the optimizer does then. A state
 * machine without threads, clocks or files; whoever runs passes asks it for examples and gives them back
 * computed. The same options, data and seed give the same bits, whatever happens around: how examples are put
 * into passes, and where it was saved and restored. */
#pragma once
#include "core/train/train_data.h"
#include "core/train/train_params.h"
#include "core/train/train_pass.h"

enum train_method { TRAIN_SUPERVISED, TRAIN_DPO };
enum train_schedule { TRAIN_CONSTANT, TRAIN_LINEAR, TRAIN_COSINE };
enum train_optimizer { TRAIN_ADAMW, TRAIN_SGD };
enum train_loss { TRAIN_MSE, TRAIN_HALF_MSE, TRAIN_CROSS_ENTROPY }; /* of numeric bases */

struct train_options {
    enum train_method method;
    double beta; /* of DPO */
    enum train_schedule schedule;
    enum train_optimizer optimizer;
    enum train_loss loss;
    double learning_rate, weight_decay, adam_beta1, adam_beta2, adam_epsilon,
        max_grad_norm /* 0: no clipping */, dropout;
    int64_t warmup_steps;
    double epochs;                /* used where max_steps is 0 */
    int64_t max_steps;            /* 0: by epochs */
    int batch_size, accumulation; /* lines of a micro-batch, micro-batches of a step */
    bool shuffle;                 /* each epoch in an order of its own; otherwise as the file has it */
    bool decay_all;               /* weight decay also of magnitudes, norms and biases */
    int64_t eval_steps;           /* 0: at the end only, where there are validation data */
    int patience; /* evaluations without a better loss before it stops; 0: never. The best is kept */
    uint64_t seed;
};

/* What the trainer says after each step and each evaluation. */
enum train_report_kind { TRAIN_REPORT_NOTHING, TRAIN_REPORT_STEP, TRAIN_REPORT_EVALUATION };
struct train_report {
    enum train_report_kind kind;
    int64_t step;          /* 1.. */
    double loss, accuracy; /* of the step's targets; of an evaluation: of all validation targets */
    double gradient_norm;  /* before clipping */
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
int64_t trainer_step(const struct trainer *t); /* done */
bool trainer_is_done(const struct trainer *t);
int64_t trainer_trained_tokens(const struct trainer *t);

/* The next examples of a language model, `room` tokens and `max` examples at most: 0 where the next does not
 * fit, or while those given out are not back. */
int trainer_next(struct trainer *t, int room, struct train_example *out, int max,
                 struct err *e); /* -1: error */
/* They were computed; the same ones, in the same order. */
MUST_USE int trainer_give(struct trainer *t, const struct train_example *examples, int count,
                          struct train_report *out, struct err *e);
/* A whole step (or evaluation) of a numeric model at once; small. */
MUST_USE int trainer_run_numeric(struct trainer *t, struct train_report *out, struct err *e);

/* The params as they stand, or the best where early stopping keeps it and the job is done. */
const struct train_params *trainer_result(const struct trainer *t);

/* Between steps only (trainer_can_save): everything that is needed to go on with the same bits. `buf` grows.
 */
bool trainer_can_save(const struct trainer *t);
struct buf;
MUST_USE int trainer_save(const struct trainer *t, struct buf *out, struct err *e);
/* Errors: "checkpoint_malformed", also of another job's. */
MUST_USE int trainer_restore(struct trainer *t, const void *bytes, size_t size, struct err *e);
