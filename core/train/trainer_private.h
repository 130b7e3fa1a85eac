/* What a trainer is. For trainer.c and trainer_checkpoint.c only. */
#pragma once
#include "core/train/train_numeric.h"
#include "core/train/train_round.h"

/*   STEP -> STEP | EVALUATION | DONE
 *   EVALUATION -> STEP | DONE */
enum trainer_phase { TRAINER_STEP, TRAINER_EVALUATION, TRAINER_DONE };

/* What a checkpoint has beside the numbers of the tensors. */
struct trainer_state {
    enum trainer_phase phase; /* what comes next */
    int64_t step;             /* done */
    int64_t tokens;           /* of all steps */
    double best_loss;         /* of an evaluation; infinite before the first */
    int64_t worse;            /* evaluations since the best */
};

struct trainer {
    const struct model *model;
    struct train_options options;
    struct train_params *params; /* owned */
    const struct train_data *data, *valid;
    int64_t steps; /* in all */
    struct trainer_state state;
    struct delta *delta; /* owned: of the params as they are */
    float *best;         /* owned, [numbers of the params]: values at the best evaluation; NULL: not kept */
    struct train_round round;
    bool begun;                    /* the round is in hand */
    struct train_numeric *numeric; /* owned; NULL for a language model */
};
