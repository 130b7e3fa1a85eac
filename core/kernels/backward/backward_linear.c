#include "core/kernels/backward.h"

#include "core/kernels/cpu.h"

enum {
    TOKENS = 32, /* of a whole tile of the kernels */
    ROWS = 32
};

static size_t padded(int count, int whole)
{
    return (size_t)((count + whole - 1) / whole * whole);
}

size_t backward_input_bytes(int tokens, int rows, bool packed)
{
    bool halves = packed && cpu_kernels()->backward_half;
    return halves ? padded(tokens, TOKENS) * padded(rows, ROWS) * sizeof(uint16_t) : 0;
}

void backward_prepare(const struct backward_input *in, bool packed, int begin, int end)
{
    if (packed && cpu_kernels()->backward_half)
        cpu_kernels()->backward_half->prepare(in, begin, end);
}

size_t backward_scratch(void)
{
    return (size_t)BACKWARD_ROWS * BACKWARD_COLS;
}

/* Some rows and columns of a matrix as it is stored. */
static void widen_stored(const struct matrix *w, int row, int rows, int begin, int end, float *out)
{
    const char *data = w->data;
    size_t size = dtype_size(w->dtype), cols = (size_t)(end - begin);
    for (int j = 0; j < rows && !w->transposed; j++)
        dtype_widen(w->dtype, data + ((size_t)(row + j) * (size_t)w->cols + (size_t)begin) * size,
                    out + (size_t)j * BACKWARD_COLS, cols);
    for (size_t k = 0; k < cols && w->transposed; k++) {
        float column[BACKWARD_ROWS];
        dtype_widen(w->dtype, data + (((size_t)begin + k) * (size_t)w->rows + (size_t)row) * size, column,
                    (size_t)rows);
        for (int j = 0; j < rows; j++)
            out[(size_t)j * BACKWARD_COLS + k] = column[j];
    }
}

/* In f32. */
static void multiply(const struct backward_kernels *k, const struct matrix *w, const struct packed *packed,
                     int begin, int end, int stretch, const struct backward_input *in, float *dx,
                     int dx_stride, float *scratch)
{
    int row = stretch * BACKWARD_ROWS, left = in->rows - row,
        rows = left < BACKWARD_ROWS ? left : BACKWARD_ROWS;
    if (packed)
        k->widen(packed, row, rows, begin, end, scratch, BACKWARD_COLS);
    else
        widen_stored(w, row, rows, begin, end, scratch);
    k->product(&(struct backward_product){.left = in->dy + row,
                                          .left_row = (size_t)in->stride,
                                          .left_sum = 1,
                                          .right = scratch,
                                          .right_stride = BACKWARD_COLS,
                                          .out = dx,
                                          .out_stride = (size_t)dx_stride,
                                          .rows = in->tokens,
                                          .sum = rows,
                                          .cols = end - begin,
                                          .further = stretch > 0});
}

void backward_stretch(const struct matrix *w, const struct packed *packed, int begin, int end, int stretch,
                      const struct backward_input *in, float *dx, int dx_stride, float *scratch)
{
    const struct kernels *k = cpu_kernels();
    if (packed && packed->bits == 0)
        packed = NULL;
    if (packed && k->backward_half)
        k->backward_half->multiply(packed, begin, end, stretch, in, dx, dx_stride, scratch);
    else
        multiply(k->backward, w, packed, begin, end, stretch, in, dx, dx_stride, scratch);
}
