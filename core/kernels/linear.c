#include "core/kernels/linear.h"

#include <cblas.h>
#include <stdlib.h>
#include <string.h>

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
        dtype_widen(w->dtype, element(w, (size_t)row * (size_t)w->cols), scratch,
                    (size_t)rows * (size_t)w->cols);
        *stride = w->cols;
        return scratch;
    }
    for (int k = 0; k < w->cols; k++)
        dtype_widen(w->dtype, element(w, (size_t)k * (size_t)w->rows + (size_t)row),
                    scratch + (size_t)k * (size_t)rows, (size_t)rows);
    *stride = rows;
    return scratch;
}

/* One call of fixed shape. Tokens lie along gemm's first dimension, where each is a lane of a vector register
 * and all lanes are treated alike; along the second, kernels sum leftover columns in another order. out:
 * [rows, LINEAR_TOKENS]. */
static void multiply_tile(const struct matrix *w, const float *weights, int stride, int rows, const float *x,
                          float *out)
{
    cblas_sgemm(CblasColMajor, CblasTrans, w->transposed ? CblasTrans : CblasNoTrans, LINEAR_TOKENS, rows,
                w->cols, 1.0f, x, w->cols, weights, stride, 0.0f, out, LINEAR_TOKENS);
}

void linear_block(const struct matrix *w, int block, const float *x, int tokens, float *y, int y_stride,
                  float *scratch)
{
    int row = linear_block_row(block), rows = linear_block_rows(w, block), stride;
    const float *weights = block_weights(w, row, rows, scratch, &stride);
    float tile[LINEAR_ROWS * LINEAR_TOKENS];
    for (int t = 0; t < tokens; t += LINEAR_TOKENS) {
        multiply_tile(w, weights, stride, rows, x + (size_t)t * (size_t)w->cols, tile);
        int count = tokens - t < LINEAR_TOKENS ? tokens - t : LINEAR_TOKENS;
        for (int i = 0; i < count; i++)
            for (int j = 0; j < rows; j++)
                y[(size_t)(t + i) * (size_t)y_stride + (size_t)j] = tile[j * LINEAR_TOKENS + i];
    }
}

/* Fill all places of a tile with one token, multiply, and see whether the places agree. */
static bool tile_is_uniform(const struct matrix *w, int block, float *x, float *scratch)
{
    int row = linear_block_row(block), rows = linear_block_rows(w, block), stride;
    const float *weights = block_weights(w, row, rows, scratch, &stride);
    float tile[LINEAR_ROWS * LINEAR_TOKENS];
    for (int k = 0; k < w->cols; k++)
        for (int t = 0; t < LINEAR_TOKENS; t++)
            x[(size_t)t * (size_t)w->cols + (size_t)k] =
                (float)((unsigned)k * 2654435761u >> 8) / 8388608.0f - 1.0f;
    multiply_tile(w, weights, stride, rows, x, tile);
    for (int j = 0; j < rows; j++)
        for (int t = 1; t < LINEAR_TOKENS; t++)
            if (memcmp(&tile[j * LINEAR_TOKENS], &tile[j * LINEAR_TOKENS + t], sizeof *tile) != 0)
                return false;
    return true;
}

int linear_check(const struct matrix *w, struct err *e)
{
    float *x = malloc((size_t)LINEAR_TOKENS * (size_t)w->cols * sizeof *x);
    float *scratch = malloc((linear_scratch(w) + 1) * sizeof *scratch);
    int result = 0;
    if (!x || !scratch)
        result = err_memory(e);
    else if (!tile_is_uniform(w, 0, x, scratch) || !tile_is_uniform(w, linear_blocks(w) - 1, x, scratch))
        result = err_set(
            e, "cpu_unsupported",
            "OpenBLAS (%s) gives a token another result at another place of a block; answers would depend "
            "on other tenants' requests",
            openblas_get_corename());
    free(x);
    free(scratch);
    return result;
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
