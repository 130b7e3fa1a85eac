/* The two thin products of LoRA (Hu et al. 2021): t = A x, y += B t. Tokens that share an adapter share the
 * reading of A and B; each one's sums have an order of their own, whatever the tile. Any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "core/kernels/kernels.h"

static inline size_t lowrank_b_at(int rank, int row, int r)
{
    return ((size_t)(row / LINEAR_ROWS) * (size_t)rank + (size_t)r) * LINEAR_ROWS +
           (size_t)(row % LINEAR_ROWS);
}

/* Elements of B in that layout; those behind the last row are not used. */
static inline size_t lowrank_b_elements(int rank, int out)
{
    return (size_t)((out + LINEAR_ROWS - 1) / LINEAR_ROWS) * LINEAR_ROWS * (size_t)rank;
}

/* t[r] = a[r] . x for the rows [begin, end) of a, of `tokens` tokens with this adapter; x: [tokens,
 * x_stride], t: [tokens, t_stride]. */
void lowrank_shrink(const struct lowrank *l, const float *x, size_t x_stride, int tokens, float *t,
                    size_t t_stride, int in, int begin, int end);
/* t = A's column `column`, of an A that is stored [in, rank]: what a one-hot x gives. */
void lowrank_column(const struct lowrank *l, int column, float *t);
/* y[j] += sum over r of B[row + j][r] * t[r], j < rows: a block of output rows, `row` its first, of `tokens`
 * tokens. t: [tokens, t_stride], y: [tokens, y_stride]. */
void lowrank_expand(const struct lowrank *l, const float *t, size_t t_stride, int tokens, float *y,
                    size_t y_stride, int row, int rows);
