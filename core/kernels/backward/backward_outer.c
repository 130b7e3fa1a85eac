#include "core/kernels/backward.h"
#include "core/kernels/cpu.h"

void backward_outer(float *g, int g_stride, const float *s, int s_stride, int rows, const float *x,
                    int x_stride, int cols, int tokens)
{
    cpu_kernels()->backward->product(&(struct backward_product){.left = s,
                                                                .left_row = 1,
                                                                .left_sum = (size_t)s_stride,
                                                                .right = x,
                                                                .right_stride = (size_t)x_stride,
                                                                .out = g,
                                                                .out_stride = (size_t)g_stride,
                                                                .rows = rows,
                                                                .sum = tokens,
                                                                .cols = cols,
                                                                .further = true});
}
