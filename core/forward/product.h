/* Linear layers, each row with its own delta: y = W x, times DoRA's factors, + bias, + B A x. For
 * core/forward and core/train.
 *
 * First the rows are made ready for the layers that read them, which ends at a barrier; then each worker
 * computes blocks of LINEAR_ROWS outputs for all rows. */
#pragma once
#include "core/forward/scratch.h"

/* Rows and the linear layers that read them. */
struct input {
    struct rows rows;
    int first;            /* place of row 0 among the rows of the step */
    int step_rows;        /* how many those are */
    const float *x;       /* [rows, columns of the layers] */
    struct activation *q; /* the same quantized, for packed layers */
    bool quantized;       /* it is there already */
    const struct linear *linear[INPUT_LINEARS_MAX];
    int count;
};

/* All tokens of the step as the input of one layer; further ones may be added. */
struct input input_tokens(struct forward *f, const float *x, const struct linear *l);
/* The rows whose logits are wanted. */
struct input input_wanted(struct forward *f, const float *x, const struct linear *l);
/* Make ready what many workers wrote. Rows are divided over the workers; where there are fewer rows than
 * workers, each row's A is. Ends at a barrier. */
void input_prepare(struct forward *f, const struct input *in, const struct worker *w);
/* The same for in->x = norm(residual stream). Where there are fewer rows than workers, each worker computes
 * the norms for its part of A itself: that takes less than another barrier. */
void input_normalize(struct forward *f, const struct norm *n, const struct input *in, const struct worker *w);

/* Quantize one block of an input's columns, of all rows, as another layer gave it: [rows, LINEAR_ROWS]. */
void input_quantize_block(const struct forward *f, const struct input *in, int block, const float *x);

/* One layer over its input. */
struct product {
    const struct input *input;
    int which; /* of the input's layers */
    float *y;  /* [rows, stride] */
    int stride;
    int from; /* the layer's output that goes to y[0]: 0, or the first of the block that is computed */
};

/* One block of outputs, for all rows. */
void product_block(struct forward *f, const struct product *p, int block, const struct worker *w);
/* The worker's share of all blocks. */
void product_share(struct forward *f, const struct product *p, const struct worker *w);
