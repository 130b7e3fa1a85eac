/* Linear layers in f32 over weights in their stored format, by OpenBLAS.
 *
 * gemm chooses its code path by the shape of the call, so every call here has one fixed shape per matrix: a
 * block of LINEAR_TOKENS tokens (padded) and a block of LINEAR_ROWS output rows, whatever the batch and the
 * number of threads. A token's result is then the same to the last bit wherever it stands. The caller's
 * buffers have room for a whole number of token blocks. Any number of workers may call at the same time, each
 * with scratch of its own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/format/dtype.h"

enum { LINEAR_TOKENS = 16, LINEAR_ROWS = 64 };

struct matrix {
    const void
        *data; /* [rows, cols], or with `transposed` [cols, rows]; read-only, aligned to its elements */
    enum dtype dtype;
    int rows, cols; /* outputs, inputs */
    bool transposed;
};

/* Once, before any worker calls: one OpenBLAS thread per caller. */
void linear_init(void);
int linear_blocks(const struct matrix *w);     /* row blocks: ceil(rows / LINEAR_ROWS) */
size_t linear_scratch(const struct matrix *w); /* floats of scratch that linear_block needs */
/* Tokens rounded up to whole blocks. */
int linear_pad(int tokens);

/* y[t][j] = sum over k of w[row + j][k] * x[t][k], for the rows of one block, `row` its first, and all
 * tokens. x: [pad(tokens), cols], the padding is read and of no effect; y: [tokens, y_stride]. */
void linear_block(const struct matrix *w, int block, const float *x, int tokens, float *y, int y_stride,
                  float *scratch);
/* First row of a block, and how many rows it has. */
int linear_block_row(int block);
int linear_block_rows(const struct matrix *w, int block);

/* Does a token get the same bits at every place of a block, with this OpenBLAS on this CPU? Error
 * "cpu_unsupported". */
int linear_check(const struct matrix *w, struct err *e);

/* One row of the matrix, widened: f32 [cols]. */
void matrix_row(const struct matrix *w, int row, float *out);
