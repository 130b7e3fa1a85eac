/* Forward and backward through a numeric base: the linear layers and ReLU of core/forward/numeric.c, then
 * mean squared error or cross entropy. Such bases are small: the calling thread does it all, some rows at a
 * time. Includes delta_internal.h. One thread at a time.
 *
 * Sums over rows are one chain in their order. */
#pragma once
#include "core/train/train_data.h"
#include "core/train/train_options.h"
#include "core/train/train_params.h"

struct train_numeric;

MUST_USE int train_numeric_new(struct train_numeric **out, const struct model *m, struct err *e);
void train_numeric_free(struct train_numeric *n); /* NULL is fine */

/* One line's numbers. */
struct train_numeric_row {
    const float *input, *target;
    int32_t class;
    uint64_t dropout_seed;
};

enum { TRAIN_NUMERIC_ROWS = 64 };

/* Up to TRAIN_NUMERIC_ROWS of them. */
struct train_numeric_job {
    const struct train_options *options; /* loss and dropout */
    const struct delta *delta;
    struct train_params *params; /* whose gradients it adds to; NULL: forward alone, without dropout */
    const struct train_numeric_row *rows;
    int count;
    float weight; /* of each row's loss in the gradient; 0: forward alone */
    /* results: added to */
    double loss;
    int64_t correct; /* of classes: those whose class was the likeliest */
};
MUST_USE int train_numeric_run(struct train_numeric *n, struct train_numeric_job *job, struct err *e);
