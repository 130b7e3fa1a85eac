#include "core/kernels/backward.h"
#include "core/kernels/cpu.h"

enum { FEW = 16 /* columns, fewer than fill a register */, TURNED_ROWS = 64 };

/* Rows and columns change places: the same sums, over more numbers side by side. */
static void outer_turned(float *g, int g_stride, const float *s, int s_stride, int rows, const float *x,
                         int x_stride, int cols, int tokens)
{
    float turned[FEW * TURNED_ROWS];
    for (int k = 0; k < cols; k++)
        for (int r = 0; r < rows; r++)
            turned[k * TURNED_ROWS + r] = g[(size_t)r * (size_t)g_stride + (size_t)k];
    backward_outer(turned, TURNED_ROWS, x, x_stride, cols, s, s_stride, rows, tokens);
    for (int k = 0; k < cols; k++)
        for (int r = 0; r < rows; r++)
            g[(size_t)r * (size_t)g_stride + (size_t)k] = turned[k * TURNED_ROWS + r];
}

void backward_outer(float *g, int g_stride, const float *s, int s_stride, int rows, const float *x,
                    int x_stride, int cols, int tokens)
{
    if (cols < FEW && rows >= FEW) {
        for (int r = 0; r < rows; r += TURNED_ROWS)
            outer_turned(g + (size_t)r * (size_t)g_stride, g_stride, s + r, s_stride,
                         rows - r < TURNED_ROWS ? rows - r : TURNED_ROWS, x, x_stride, cols, tokens);
        return;
    }
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
