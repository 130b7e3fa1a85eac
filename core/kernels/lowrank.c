#include "core/kernels/lowrank.h"

#include <stddef.h>

#include "core/kernels/linear.h"
#include "core/kernels/vector.h"

void lowrank_shrink(const float *a, const float *x, float *t, int in, int begin, int end)
{
    for (int r = begin; r < end; r++)
        t[r] = vector_dot(a + (size_t)r * (size_t)in, x, in);
}

void lowrank_expand(const float *bt, const float *t, float *y, int rank, int out, int row, int rows)
{
    float sum[LINEAR_ROWS] = {0};
    for (int r = 0; r < rank; r++)
        vector_add_scaled(sum, bt + (size_t)r * (size_t)out + row, t[r], rows);
    vector_add(y, sum, rows);
}
