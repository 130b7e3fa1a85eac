/* Gradients of linear layers that read one input, each row with its own delta: the mirror of
 * core/forward/product.h. With y = factor (W x) + bias + B A x:
 *
 *   dx = W^T (factor dy) + A^T u, where u = B^T dy      dA += u x^T      dB += (factor dy) (scale A x)^T
 *   dbias += dy      dW += (factor dy) x^T      dmagnitude += dy (y - bias) / magnitude
 *
 * The norm in DoRA's factor is a constant, as the paper proposes and PEFT does. */
#pragma once
#include "core/train/pass/pass.h"

struct linear_backward {
    struct input input; /* x as numbers, whatever the layers read */
    const struct pass_runs *runs;
    bool wants_dx;
    int stride;                         /* of dy */
    const float *dy[INPUT_LINEARS_MAX]; /* [rows, stride] of each layer */
    /* [rows, stride] of each layer: where factor dy is put if it is another; may be the same memory. */
    float *scaled[INPUT_LINEARS_MAX];

    /* filled by linear_backward_prepare */
    struct backward_input base[INPUT_LINEARS_MAX], own[INPUT_LINEARS_MAX];
};

/* Makes ready what blocks are computed of, and adds to the gradients of biases and magnitudes. Ends at a
 * barrier. */
void linear_backward_prepare(struct train_pass *p, struct linear_backward *l, const struct worker *w);
/* Columns [begin, end) of the layers' input. */
struct columns {
    int begin, end;
};
/* The worker's share of `cols`. */
struct columns linear_backward_columns(int cols, const struct worker *w);
/* Those of `all` that are computed together after `done`; none: all are. */
struct columns linear_backward_next(const struct columns *all, int done);
/* The input's gradient, some columns: into the worker's block [rows, BACKWARD_COLS], which is returned; and
 * those of A. */
float *linear_backward_inputs(struct train_pass *p, const struct linear_backward *l, const struct columns *c,
                              const struct worker *w);
/* The worker's share of the gradients of B and W. */
void linear_backward_outputs(struct train_pass *p, const struct linear_backward *l, const struct worker *w);
/* Both, all of the worker's share; the input's gradient goes to dx [rows, columns]. Ends at a barrier. */
void linear_backward_share(struct train_pass *p, struct linear_backward *l, float *dx,
                           const struct worker *w);
