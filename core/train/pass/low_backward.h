/* Gradients through the two thin products of a low-rank part, y += B A x with the scale in B: u = B^T dy,
 * then dx += A^T u. The part is read as the forward pass has it, in the precision of serving, and its kernels
 * do the sums: a token's result has an order of its own. Any thread. */
#pragma once
#include "core/kernels/lowrank.h"

enum { LOW_BACKWARD_SCRATCH = 1 << 17 }; /* floats */

/* u[t][r] = sum over outputs o of B[o][r] * dy[t][o]. dy: [tokens, dy_stride], u: [tokens, u_stride]. */
void low_backward_outputs(const struct lowrank *part, int out, const float *dy, size_t dy_stride, int tokens,
                          float *u, size_t u_stride, float *scratch);
/* y[t][k] += sum over r of A[r][first + k] * u[t][r], for `count` inputs; first begins a block of
 * LINEAR_ROWS. in: of the part's layer. */
void low_backward_inputs(const struct lowrank *part, int in, int first, int count, const float *u,
                         size_t u_stride, int tokens, float *y, size_t y_stride, float *scratch);
