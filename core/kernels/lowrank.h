/* The two thin products of LoRA (Hu et al. 2021): t = A x, y += B t. Own loops: a token's sums do not depend
 * on how many tokens share its adapter. Any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* A and B of one linear layer, f32 or bf16. */
struct lowrank {
    int rank;
    bool bf16;
    const void *a;  /* [rank, in] */
    const void *bt; /* [rank, out]: B transposed, the scale folded in */
};

/* t[r] = a[r] . x[in], for the rows [begin, end) of a. */
void lowrank_shrink(const struct lowrank *l, const float *x, float *t, int in, int begin, int end);
/* y[j] += sum over r of bt[r][row + j] * t[r], j < rows <= LINEAR_ROWS: a block of output rows. */
void lowrank_expand(const struct lowrank *l, const float *t, float *y, int out, int row, int rows);
