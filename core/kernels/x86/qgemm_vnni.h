/* Products by VNNI, whose instruction multiplies unsigned by signed bytes and adds them in fours: written
 * once for registers of every width. A file that includes this defines first
 *
 *   VARIANT, QUANTIZE         the name of what this gives; how it quantizes activations
 *   SHIFT, TOKENS             log2 of the rows in a register; tokens whose sums fit into registers, at most 6
 *   ints, floats              the registers
 *   load, all, low, high      part of a line; one number in all lanes; the nibbles
 *   dot                       the instruction
 *   halves, zero              a part's scales
 *   add_group, store          total + integers * (scale * number); to memory */
#pragma once
#include <string.h>

#include "core/kernels/x86/qgemm_x86.h"

enum { LANES = 1 << SHIFT, PARTS = 2, PANELS = PARTS * LANES / R16_ROWS };

static inline ints broadcast4(const int8_t *p)
{
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return all(bytes);
}

struct job {
    const uint8_t *lines[PARTS]; /* of the parts; the second repeats the first where there is one only */
    const uint16_t *scale[PARTS];
    int groups; /* of the weights' scales */
    const struct activation *x;
    float *y;
    int stride;
};

/* The integers of one group of 64 k. */
static inline __attribute__((always_inline)) void group_int8(const struct job *j, int g,
                                                             const int8_t *const *q, const int count,
                                                             const int parts, ints sum[TOKENS][PARTS])
{
    for (int i = 0; i < R16_INT8_GROUP / 4; i++) {
        size_t at = ((size_t)g * (R16_INT8_GROUP / 4) + (size_t)i) * R16_LINE;
        ints w0 = load(j->lines[0] + at), w1 = load(j->lines[1] + at);
#pragma GCC unroll 6
        for (int t = 0; t < count; t++) {
            ints b = broadcast4(q[t] + g * R16_INT8_GROUP + 4 * i);
            sum[t][0] = dot(sum[t][0], w0, b);
            if (parts > 1)
                sum[t][1] = dot(sum[t][1], w1, b);
        }
    }
}

/* The same of 32 k, two to a byte. */
static inline __attribute__((always_inline)) void group_int4(const struct job *j, int g,
                                                             const int8_t *const *q, const int count,
                                                             const int parts, ints sum[TOKENS][PARTS])
{
    for (int i = 0; i < R16_INT4_GROUP / 8; i++) {
        size_t at = ((size_t)g * (R16_INT4_GROUP / 8) + (size_t)i) * R16_LINE;
        ints v0 = load(j->lines[0] + at), v1 = load(j->lines[1] + at);
        ints l0 = low(v0), h0 = high(v0), l1 = low(v1), h1 = high(v1);
#pragma GCC unroll 6
        for (int t = 0; t < count; t++) {
            ints a = broadcast4(q[t] + g * R16_INT4_GROUP + 8 * i),
                 b = broadcast4(q[t] + g * R16_INT4_GROUP + 8 * i + 4);
            sum[t][0] = dot(dot(sum[t][0], l0, a), h0, b);
            if (parts > 1)
                sum[t][1] = dot(dot(sum[t][1], l1, a), h1, b);
        }
    }
}

/* Where a group's integers start: at minus the weights' offset times the sum of the activations, which undoes
 * the offset. */
static inline __attribute__((always_inline)) int offset(const enum qgemm_bits bits, const int32_t *sums,
                                                        size_t group)
{
    return bits == R16_INT8 ? -128 * (sums[2 * group] + sums[2 * group + 1]) : -8 * sums[group];
}

/* `count` tokens by one or two parts; both constants where this is inlined. */
static inline __attribute__((always_inline)) void tile(const enum qgemm_bits bits, const struct job *j,
                                                       int token, const int count, const int parts)
{
    const int8_t *q[TOKENS];
    floats total[TOKENS][PARTS];
    for (int t = 0; t < count; t++) {
        q[t] = j->x->q + (size_t)(token + t) * (size_t)j->x->cols_padded;
        total[t][0] = total[t][1] = zero();
    }
    for (int g = 0; g < j->groups; g++) {
        ints sum[TOKENS][PARTS];
        for (int t = 0; t < count; t++)
            sum[t][0] = sum[t][1] =
                all(offset(bits, j->x->sum, (size_t)(token + t) * (size_t)j->groups + (size_t)g));
        if (bits == R16_INT8)
            group_int8(j, g, q, count, parts, sum);
        else
            group_int4(j, g, q, count, parts, sum);
        floats s0 = halves(j->scale[0] + g * R16_ROWS), s1 = halves(j->scale[1] + g * R16_ROWS);
#pragma GCC unroll 6
        for (int t = 0; t < count; t++) {
            size_t at = (size_t)(token + t) * (size_t)j->groups + (size_t)g;
            float x = j->x->scale[bits == R16_INT8 ? at : at / 2];
            total[t][0] = add_group(total[t][0], sum[t][0], s0, x);
            if (parts > 1)
                total[t][1] = add_group(total[t][1], sum[t][1], s1, x);
        }
    }
    for (int t = 0; t < count; t++)
        for (int p = 0; p < parts; p++)
            store(j->y + (size_t)(token + t) * (size_t)j->stride + p * LANES, total[t][p]);
}

static inline __attribute__((always_inline)) void all_tokens(const enum qgemm_bits bits, const struct job *j,
                                                             int tokens, const int parts)
{
    int t = 0;
    for (; tokens - t >= 2 * TOKENS || tokens - t == TOKENS; t += TOKENS)
        tile(bits, j, t, TOKENS, parts);
    while (t < tokens) { /* the rest in two parts of about the same size */
        int left = tokens - t, count = left > TOKENS ? (left + 1) / 2 : left;
        switch (count) {
#if TOKENS > 4
        case 6:
            tile(bits, j, t, 6, parts);
            break;
        case 5:
            tile(bits, j, t, 5, parts);
            break;
#endif
        case 4:
            tile(bits, j, t, 4, parts);
            break;
        case 3:
            tile(bits, j, t, 3, parts);
            break;
        case 2:
            tile(bits, j, t, 2, parts);
            break;
        default:
            tile(bits, j, t, 1, parts);
            break;
        }
        t += count;
    }
}

static inline __attribute__((always_inline)) void multiply(const enum qgemm_bits bits, const struct packed *w,
                                                           int begin, int end, const struct activation *x,
                                                           int tokens, float *y, int stride)
{
    size_t bytes = r16_panel_bytes(bits, w->cols_padded), groups = (size_t)(w->cols_padded / r16_group(bits));
    for (int panel = begin; panel < end; panel += PANELS) {
        struct job j = {.groups = (int)groups, .x = x, .y = y + (panel - begin) * R16_ROWS, .stride = stride};
        bool whole = panel + PANELS <= end;
        for (int p = 0; p < PARTS; p++) {
            size_t row = whole ? (size_t)p * LANES : 0, lane = row % R16_ROWS,
                   at = (size_t)panel + row / R16_ROWS;
            j.lines[p] = w->q + at * bytes + lane * 4;
            j.scale[p] = w->scale + at * groups * R16_ROWS + lane;
        }
        if (whole)
            all_tokens(bits, &j, tokens, PARTS);
        else
            all_tokens(bits, &j, tokens, 1);
    }
}

static void multiply_int8(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    multiply(R16_INT8, w, begin, end, x, tokens, y, stride);
}

static void multiply_int4(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    multiply(R16_INT4, w, begin, end, x, tokens, y, stride);
}

const struct qgemm_kernels VARIANT = {.pack_row = qgemm_pack_row_avx2,
                                      .quantize = QUANTIZE,
                                      .multiply_int8 = multiply_int8,
                                      .multiply_int4 = multiply_int4};
