/* The two thin products of LoRA (Hu et al. 2021): t = A x, y += B t. Own loops: a token's sums do not depend
 * on how many tokens share its adapter. Any thread. */
#pragma once

/* t[rank] = a[rank, in] x[in], for the rows [begin, end) of a. */
void lowrank_shrink(const float *a, const float *x, float *t, int in, int begin, int end);
/* y[j] += sum over r of bt[r][row + j] * t[r], j < rows: a block of output rows. bt: [rank, out], scale
 * folded in. */
void lowrank_expand(const float *bt, const float *t, float *y, int rank, int out, int row, int rows);
