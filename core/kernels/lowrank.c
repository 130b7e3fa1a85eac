#include "core/kernels/lowrank.h"

#include "core/kernels/bf16.h"
#include "core/kernels/lanes.h"

static inline lanes load(bool bf16, const void *p, size_t index)
{
    return bf16 ? lanes_load_bf16((const uint16_t *)p + index) : lanes_load((const float *)p + index);
}

static inline float load_one(bool bf16, const void *p, size_t index)
{
    return bf16 ? bf16_widen(((const uint16_t *)p)[index]) : ((const float *)p)[index];
}

void lowrank_shrink(const struct lowrank *l, const float *x, float *t, int in, int begin, int end)
{
    for (int r = begin; r < end; r++)
        t[r] = l->bf16 ? lanes_dot(true, l->a, (size_t)r * (size_t)in, x, in)
                       : lanes_dot(false, l->a, (size_t)r * (size_t)in, x, in);
}

void lowrank_column(const struct lowrank *l, int column, float *t)
{
    for (int r = 0; r < l->rank; r++)
        t[r] = load_one(l->bf16, l->a, (size_t)column * (size_t)l->rank + (size_t)r);
}

/* The block's sums stay in registers while r runs, 32 rows at a time. `at` is where the block's part of B
 * begins. */
static inline __attribute__((always_inline)) void expand(bool bf16, const struct lowrank *l, size_t at,
                                                         const float *t, float *y, int rows)
{
    enum { PARTS = 4 };
    int j = 0;
    for (; j + PARTS * LANES <= rows; j += PARTS * LANES) {
        lanes sum[PARTS] = {0};
        for (int r = 0; r < l->rank; r++)
            for (int i = 0; i < PARTS; i++)
                sum[i] = lanes_fma(load(bf16, l->b, at + (size_t)(r * LINEAR_ROWS + j + i * LANES)),
                                   lanes_all(t[r]), sum[i]);
        for (int i = 0; i < PARTS; i++)
            lanes_store(y + j + i * LANES, lanes_load(y + j + i * LANES) + sum[i]);
    }
    for (; j < rows; j++) {
        float sum = 0;
        for (int r = 0; r < l->rank; r++)
            sum += load_one(bf16, l->b, at + (size_t)(r * LINEAR_ROWS + j)) * t[r];
        y[j] += sum;
    }
}

void lowrank_expand(const struct lowrank *l, const float *t, float *y, int row, int rows)
{
    size_t at = lowrank_b_at(l->rank, row, 0);
    if (l->bf16)
        expand(true, l, at, t, y, rows);
    else
        expand(false, l, at, t, y, rows);
}
