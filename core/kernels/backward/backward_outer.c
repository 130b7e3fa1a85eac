#include "core/kernels/backward.h"
#include "core/kernels/vector.h"

void backward_outer(float *g, int g_stride, const float *s, int s_stride, int rows, const float *x,
                    int x_stride, int cols, int tokens)
{
    for (int t = 0; t < tokens; t++)
        for (int r = 0; r < rows; r++)
            vector_add_scaled(g + (size_t)r * (size_t)g_stride, x + (size_t)t * (size_t)x_stride,
                              s[(size_t)t * (size_t)s_stride + (size_t)r], cols);
}
