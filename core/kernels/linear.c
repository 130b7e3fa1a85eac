#include "core/kernels/linear.h"

#include <cblas.h>

void linear_init(void)
{
    openblas_set_num_threads(1);
}

int linear_blocks(const struct matrix *w)
{
    return (w->rows + LINEAR_ROWS - 1) / LINEAR_ROWS;
}

size_t linear_scratch(const struct matrix *w)
{
    return w->dtype == DTYPE_F32 ? 0 : (size_t)LINEAR_ROWS * (size_t)w->cols;
}

int linear_pad(int tokens)
{
    return (tokens + LINEAR_TOKENS - 1) / LINEAR_TOKENS * LINEAR_TOKENS;
}

int linear_block_row(int block)
{
    return block * LINEAR_ROWS;
}

int linear_block_rows(const struct matrix *w, int block)
{
    int left = w->rows - block * LINEAR_ROWS;
    return left < LINEAR_ROWS ? left : LINEAR_ROWS;
}

static const char *element(const struct matrix *w, size_t index)
{
    return (const char *)w->data + index * dtype_size(w->dtype);
}

/* The block's weights as f32, laid out as they are stored; *stride between its rows (or columns). */
static const float *block_weights(const struct matrix *w, int row, int rows, float *scratch, int *stride)
{
    if (w->dtype == DTYPE_F32) {
        *stride = w->transposed ? w->rows : w->cols;
        return (const float *)w->data + (w->transposed ? (size_t)row : (size_t)row * (size_t)w->cols);
    }
    if (!w->transposed) {
        dtype_widen(w->dtype, element(w, (size_t)row * (size_t)w->cols), scratch, (size_t)rows * (size_t)w->cols);
        *stride = w->cols;
        return scratch;
    }
    for (int k = 0; k < w->cols; k++)
        dtype_widen(w->dtype, element(w, (size_t)k * (size_t)w->rows + (size_t)row), scratch + (size_t)k * (size_t)rows,
                    (size_t)rows);
    *stride = rows;
    return scratch;
}

void linear_block(const struct matrix *w, int block, const float *x, int tokens, float *y, int y_stride, float *scratch)
{
    int row = linear_block_row(block), rows = linear_block_rows(w, block), stride;
    const float *weights = block_weights(w, row, rows, scratch, &stride);
    for (int t = 0; t < tokens; t += LINEAR_TOKENS)
        cblas_sgemm(CblasRowMajor, CblasNoTrans, w->transposed ? CblasNoTrans : CblasTrans, LINEAR_TOKENS, rows,
                    w->cols, 1.0f, x + (size_t)t * (size_t)w->cols, w->cols, weights, stride, 0.0f,
                    y + (size_t)t * (size_t)y_stride + row, y_stride);
}

void matrix_row(const struct matrix *w, int row, float *out)
{
    if (!w->transposed) {
        dtype_widen(w->dtype, element(w, (size_t)row * (size_t)w->cols), out, (size_t)w->cols);
        return;
    }
    for (int k = 0; k < w->cols; k++)
        dtype_widen(w->dtype, element(w, (size_t)k * (size_t)w->rows + (size_t)row), out + k, 1);
}
