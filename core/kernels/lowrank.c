#include "core/kernels/lowrank.h"

#include "core/format/bf16.h"
#include "core/kernels/cpu.h"

void lowrank_shrink(const struct lowrank *l, const float *x, size_t x_stride, int tokens, float *t,
                    size_t t_stride, int in, int begin, int end)
{
    cpu_kernels()->lowrank->shrink(l, x, x_stride, tokens, t, t_stride, in, begin, end);
}

void lowrank_column(const struct lowrank *l, int column, float *t)
{
    size_t first = (size_t)column * (size_t)l->rank;
    for (size_t r = 0; r < (size_t)l->rank; r++)
        t[r] = l->bf16 ? bf16_widen(((const uint16_t *)l->a)[first + r]) : ((const float *)l->a)[first + r];
}

void lowrank_expand(const struct lowrank *l, const float *t, size_t t_stride, int tokens, float *y,
                    size_t y_stride, int row, int rows)
{
    cpu_kernels()->lowrank->expand(l, t, t_stride, tokens, y, y_stride, row, rows);
}
