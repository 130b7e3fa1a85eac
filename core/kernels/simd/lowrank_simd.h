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

static inline simd_eight load_eight(bool bf16, const void *p, size_t index)
{
    simd_eight v;
    for (int i = 0; i < 8; i++)
        v[i] = load_one(bf16, p, index + (size_t)i);
    return v;
}

/* Tokens, or rows of A for one token; and rows of A for so many tokens: as many pairs as find registers. */
enum { TILE = 4, TILE_ROWS = SIMD_LANES == 16 ? 4 : 1, CHAINS = 2, CHAIN_REGISTERS = CHAINS / SIMD_EIGHTS };

/* `rows` rows of A by `tokens` tokens (both constants where this is inlined). A pair's numbers are added in
 * two chains, every other eight each. */
static inline __attribute__((always_inline)) void shrink(bool bf16, const void *a, size_t at, const float *x,
                                                         size_t x_stride, float *t, size_t t_stride, int in,
                                                         const int rows, const int tokens)
{
    simd sum[TILE * TILE_ROWS][CHAIN_REGISTERS] = {0};
    size_t width = (size_t)in;
    int k = 0;
    for (; k + CHAINS * 8 <= in; k += CHAINS * 8)
        for (int c = 0; c < CHAIN_REGISTERS; c++) {
            size_t from = (size_t)(k + c * SIMD_LANES);
            for (int r = 0; r < rows; r++) {
                simd w = load(bf16, a, at + (size_t)r * width + from);
                for (int i = 0; i < tokens; i++)
                    sum[r * tokens + i][c] =
                        simd_fma(w, simd_load(x + (size_t)i * x_stride + from), sum[r * tokens + i][c]);
            }
        }
    bool eight = k + 8 <= in;
    for (int p = 0; p < rows * tokens; p++) {
        const float *one = x + (size_t)(p % tokens) * x_stride;
        size_t row = at + (size_t)(p / tokens) * width;
        simd_eight chain[CHAINS];
        for (int c = 0; c < CHAINS; c++)
            chain[c] = simd_part(sum[p][c / SIMD_EIGHTS], c % SIMD_EIGHTS);
        if (eight)
            chain[0] =
                simd_eight_fma(load_eight(bf16, a, row + (size_t)k), simd_eight_load(one + k), chain[0]);
        float tail = 0;
        for (int i = eight ? k + 8 : k; i < in; i++)
            tail += load_one(bf16, a, row + (size_t)i) * one[i];
        t[(size_t)(p % tokens) * t_stride + (size_t)(p / tokens)] = simd_sum(chain[0] + chain[1]) + tail;
    }
}

static inline __attribute__((always_inline)) void shrink_all(bool bf16, const struct lowrank *l,
                                                             const float *x, size_t x_stride, int tokens,
                                                             float *t, size_t t_stride, int in, int begin,
                                                             int end)
{
    size_t width = (size_t)in;
    int i = 0;
    for (; i + TILE <= tokens; i += TILE) {
        const float *from = x + (size_t)i * x_stride;
        float *out = t + (size_t)i * t_stride;
        int r = begin;
        for (; TILE_ROWS > 1 && r + TILE_ROWS <= end; r += TILE_ROWS)
            shrink(bf16, l->a, (size_t)r * width, from, x_stride, out + r, t_stride, in, TILE_ROWS, TILE);
        for (; r < end; r++)
            shrink(bf16, l->a, (size_t)r * width, from, x_stride, out + r, t_stride, in, 1, TILE);
    }
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

enum {
    SUMS = SIMD_LANES == 16 ? 16 : 8, /* that stay in registers while r runs */
    PARTS_MANY = SUMS / TILE,         /* registers of rows for TILE tokens */
    PARTS_ONE = LINEAR_ROWS / SIMD_LANES
};

/* `parts` registers of output rows of `tokens` tokens, SUMS in all at most (both constants where this is
 * inlined). b: where the first row's numbers of the block begin. */
static inline __attribute__((always_inline)) void expand(bool bf16, const struct lowrank *l, size_t b,
                                                         const float *t, size_t t_stride, float *y,
                                                         size_t y_stride, const int parts, const int tokens)
{
    simd sum[SUMS] = {0};
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

/* Eight output rows of a token. */
static inline void expand_eight(bool bf16, const struct lowrank *l, size_t b, const float *t, float *y)
{
    simd_eight sum = {0}, before = simd_eight_load(y);
    for (int r = 0; r < l->rank; r++)
        sum = simd_eight_fma(load_eight(bf16, l->b, b + (size_t)(r * LINEAR_ROWS)),
                             (simd_eight){t[r], t[r], t[r], t[r], t[r], t[r], t[r], t[r]}, sum);
    before += sum;
    memcpy(y, &before, sizeof before);
}

static inline void expand_one(bool bf16, const struct lowrank *l, size_t b, const float *t, float *y)
{
    float sum = 0;
    for (int r = 0; r < l->rank; r++)
        sum += load_one(bf16, l->b, b + (size_t)(r * LINEAR_ROWS)) * t[r];
    *y += sum;
}

/* The rows from `from` on of `tokens` tokens: by registers, then by eights, then one by one. */
static inline __attribute__((always_inline)) void expand_rest(bool bf16, const struct lowrank *l, size_t b,
                                                              const float *t, size_t t_stride, float *y,
                                                              size_t y_stride, int from, int rows,
                                                              const int tokens)
{
    int j = from;
    for (; j + SIMD_LANES <= rows; j += SIMD_LANES)
        expand(bf16, l, b + (size_t)j, t, t_stride, y + j, y_stride, 1, tokens);
    for (int i = 0, k; i < tokens; i++) {
        const float *low = t + (size_t)i * t_stride;
        float *out = y + (size_t)i * y_stride;
        for (k = j; k + 8 <= rows; k += 8)
            expand_eight(bf16, l, b + (size_t)k, low, out + k);
        for (; k < rows; k++)
            expand_one(bf16, l, b + (size_t)k, low, out + k);
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
        for (; j + PARTS_MANY * SIMD_LANES <= rows; j += PARTS_MANY * SIMD_LANES)
            expand(bf16, l, b + (size_t)j, low, t_stride, out + j, y_stride, PARTS_MANY, TILE);
        expand_rest(bf16, l, b, low, t_stride, out, y_stride, j, rows, TILE);
    }
    for (; i < tokens; i++) {
        const float *low = t + (size_t)i * t_stride;
        float *out = y + (size_t)i * y_stride;
        int j = 0;
        for (; j + LINEAR_ROWS <= rows; j += LINEAR_ROWS)
            expand(bf16, l, b + (size_t)j, low, t_stride, out + j, y_stride, PARTS_ONE, 1);
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
