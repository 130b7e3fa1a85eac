#include "core/kernels/backward.h"

#include <string.h>

size_t backward_input_bytes(int tokens, int rows, bool packed)
{
    (void)packed;
    return (size_t)linear_pad(tokens) * (size_t)rows * sizeof(float);
}

void backward_prepare(const struct backward_input *in, bool packed, int begin, int end)
{
    (void)packed;
    float *to = in->prepared;
    size_t rows = (size_t)in->rows;
    for (int t = begin; t < end; t++)
        memcpy(to + (size_t)t * rows, in->dy + (size_t)t * (size_t)in->stride, rows * sizeof *to);
    if (end == in->tokens)
        memset(to + (size_t)end * rows, 0, (size_t)(linear_pad(end) - end) * rows * sizeof *to);
}

int backward_blocks(int cols)
{
    return (cols + LINEAR_ROWS - 1) / LINEAR_ROWS;
}

size_t backward_scratch(int rows, int tokens)
{
    (void)tokens;
    return (size_t)LINEAR_ROWS * (size_t)rows;
}

/* The block's columns of a packed matrix as a matrix of their own, whose inputs are the rows. */
static struct matrix widened(const struct packed *p, int begin, int end, float *scratch)
{
    int cols = end - begin;
    for (int row = 0; row < p->rows; row++)
        qgemm_unpack(p, row, begin, end, scratch + (size_t)row * (size_t)cols);
    return (struct matrix){
        .data = scratch, .dtype = DTYPE_F32, .rows = cols, .cols = p->rows, .transposed = true};
}

void backward_block(const struct matrix *w, const struct packed *packed, int block,
                    const struct backward_input *in, float *dx, int dx_stride, float *scratch)
{
    if (packed && packed->bits != 0) {
        int begin = linear_block_row(block),
            end = begin + LINEAR_ROWS < packed->cols ? begin + LINEAR_ROWS : packed->cols;
        struct matrix columns = widened(packed, begin, end, scratch);
        linear_block(&columns, 0, in->prepared, in->tokens, dx, dx_stride, NULL);
        return;
    }
    struct matrix flipped = {
        .data = w->data, .dtype = w->dtype, .rows = w->cols, .cols = w->rows, .transposed = !w->transposed};
    linear_block(&flipped, block, in->prepared, in->tokens, dx, dx_stride, scratch);
}
