/* The thin products on SIMD_LANES floats at a time. A file that defines VARIANT, the name of what this gives,
 * includes it once. */
#pragma once
#include "core/format/bf16.h"
#include "core/kernels/kernels.h"
#include "core/kernels/simd/simd.h"

static inline simd load(bool bf16, const void *p, size_t index)
{
    return bf16 ? simd_load_bf16((const uint16_t *)p + index) : simd_load((const float *)p + index);
}

static inline float load_one(bool bf16, const void *p, size_t index)
{
    return bf16 ? bf16_widen(((const uint16_t *)p)[index]) : ((const float *)p)[index];
}

enum { TILE = 4 /* tokens, or rows of A for one token */ };

/* `rows` rows of A by `tokens` tokens, four pairs in all at most (both constants where this is inlined). A
 * pair's numbers are added in two chains, every other eight each. */
static inline __attribute__((always_inline)) void shrink(bool bf16, const void *a, size_t at, const float *x,
                                                         size_t x_stride, float *t, size_t t_stride, int in,
                                                         const int rows, const int tokens)
{
    simd sum[TILE][2] = {0};
    int k = 0;
    for (; k + 2 * SIMD_LANES <= in; k += 2 * SIMD_LANES)
        for (int p = 0; p < rows * tokens; p++)
            for (int c = 0; c < 2; c++)
                sum[p][c] = simd_fma(
                    load(bf16, a, at + (size_t)(p / tokens) * (size_t)in + (size_t)(k + c * SIMD_LANES)),
                    simd_load(x + (size_t)(p % tokens) * x_stride + k + c * SIMD_LANES), sum[p][c]);
    if (k + SIMD_LANES <= in) {
        for (int p = 0; p < rows * tokens; p++)
            sum[p][0] = simd_fma(load(bf16, a, at + (size_t)(p / tokens) * (size_t)in + (size_t)k),
                                 simd_load(x + (size_t)(p % tokens) * x_stride + k), sum[p][0]);
        k += SIMD_LANES;
    }
    for (int p = 0; p < rows * tokens; p++) {
        float tail = 0;
        for (int i = k; i < in; i++)
            tail += load_one(bf16, a, at + (size_t)(p / tokens) * (size_t)in + (size_t)i) *
                    x[(size_t)(p % tokens) * x_stride + (size_t)i];
        t[(size_t)(p % tokens) * t_stride + (size_t)(p / tokens)] = simd_sum(sum[p][0] + sum[p][1]) + tail;
    }
}

static inline __attribute__((always_inline)) void shrink_all(bool bf16, const struct lowrank *l,
                                                             const float *x, size_t x_stride, int tokens,
                                                             float *t, size_t t_stride, int in, int begin,
                                                             int end)
{
    size_t width = (size_t)in;
    int i = 0;
    for (; i + TILE <= tokens; i += TILE)
        for (int r = begin; r < end; r++)
            shrink(bf16, l->a, (size_t)r * width, x + (size_t)i * x_stride, x_stride,
                   t + (size_t)i * t_stride + r, t_stride, in, 1, TILE);
    for (; i < tokens; i++) {
        const float *one = x + (size_t)i * x_stride;
        float *out = t + (size_t)i * t_stride;
        int r = begin;
        for (; r + TILE <= end; r += TILE)
            shrink(bf16, l->a, (size_t)r * width, one, x_stride, out + r, t_stride, in, TILE, 1);
        for (; r < end; r++)
            shrink(bf16, l->a, (size_t)r * width, one, x_stride, out + r, t_stride, in, 1, 1);
    }
}

static void shrink_tokens(const struct lowrank *l, const float *x, size_t x_stride, int tokens, float *t,
                          size_t t_stride, int in, int begin, int end)
{
    if (l->bf16)
        shrink_all(true, l, x, x_stride, tokens, t, t_stride, in, begin, end);
    else
        shrink_all(false, l, x, x_stride, tokens, t, t_stride, in, begin, end);
}

/* `parts` times 8 output rows of `tokens` tokens, eight sums in all at most (both constants where this is
 * inlined); they stay in registers while r runs. b: where the first row's numbers of the block begin. */
static inline __attribute__((always_inline)) void expand(bool bf16, const struct lowrank *l, size_t b,
                                                         const float *t, size_t t_stride, float *y,
                                                         size_t y_stride, const int parts, const int tokens)
{
    simd sum[8] = {0};
    for (int r = 0; r < l->rank; r++)
        for (int i = 0; i < parts; i++) {
            simd w = load(bf16, l->b, b + (size_t)(r * LINEAR_ROWS + i * SIMD_LANES));
            for (int j = 0; j < tokens; j++)
                sum[j * parts + i] =
                    simd_fma(w, simd_all(t[(size_t)j * t_stride + (size_t)r]), sum[j * parts + i]);
        }
    for (int j = 0; j < tokens; j++)
        for (int i = 0; i < parts; i++) {
            float *out = y + (size_t)j * y_stride + i * SIMD_LANES;
            simd_store(out, simd_load(out) + sum[j * parts + i]);
        }
}

/* The rows from `from` on of `tokens` tokens, as many eights as there are, then one by one. */
static inline __attribute__((always_inline)) void expand_rest(bool bf16, const struct lowrank *l, size_t b,
                                                              const float *t, size_t t_stride, float *y,
                                                              size_t y_stride, int from, int rows,
                                                              const int tokens)
{
    int j = from;
    for (; j + SIMD_LANES <= rows; j += SIMD_LANES)
        expand(bf16, l, b + (size_t)j, t, t_stride, y + j, y_stride, 1, tokens);
    for (; j < rows; j++)
        for (int i = 0; i < tokens; i++) {
            float sum = 0;
            for (int r = 0; r < l->rank; r++)
                sum += load_one(bf16, l->b, b + (size_t)(r * LINEAR_ROWS + j)) *
                       t[(size_t)i * t_stride + (size_t)r];
            y[(size_t)i * y_stride + (size_t)j] += sum;
        }
}

static inline __attribute__((always_inline)) void expand_all(bool bf16, const struct lowrank *l,
                                                             const float *t, size_t t_stride, int tokens,
                                                             float *y, size_t y_stride, int row, int rows)
{
    size_t b = (size_t)(row / LINEAR_ROWS) * (size_t)l->rank * LINEAR_ROWS + (size_t)(row % LINEAR_ROWS);
    int i = 0;
    for (; i + TILE <= tokens; i += TILE) {
        const float *low = t + (size_t)i * t_stride;
        float *out = y + (size_t)i * y_stride;
        int j = 0;
        for (; j + 2 * SIMD_LANES <= rows; j += 2 * SIMD_LANES)
            expand(bf16, l, b + (size_t)j, low, t_stride, out + j, y_stride, 2, TILE);
        expand_rest(bf16, l, b, low, t_stride, out, y_stride, j, rows, TILE);
    }
    for (; i < tokens; i++) {
        const float *low = t + (size_t)i * t_stride;
        float *out = y + (size_t)i * y_stride;
        int j = 0;
        for (; j + 8 * SIMD_LANES <= rows; j += 8 * SIMD_LANES)
            expand(bf16, l, b + (size_t)j, low, t_stride, out + j, y_stride, 8, 1);
        expand_rest(bf16, l, b, low, t_stride, out, y_stride, j, rows, 1);
    }
}

static void expand_tokens(const struct lowrank *l, const float *t, size_t t_stride, int tokens, float *y,
                          size_t y_stride, int row, int rows)
{
    if (l->bf16)
        expand_all(true, l, t, t_stride, tokens, y, y_stride, row, rows);
    else
        expand_all(false, l, t, t_stride, tokens, y, y_stride, row, rows);
}

const struct lowrank_kernels VARIANT = {.shrink = shrink_tokens, .expand = expand_tokens};
