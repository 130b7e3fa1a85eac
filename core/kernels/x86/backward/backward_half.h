/* What the kernels that multiply in bf16 share: packed weights as pairs of rows, gradients in tiles. */
#pragma once
#include <assert.h>
#include <immintrin.h>
#include <string.h>

#include "core/kernels/kernels.h"
#include "core/kernels/r16.h"

enum {
    HALF_TOKENS = 16, /* of a tile of gradients */
    HALF_ROWS = 32,   /* of a tile: what one instruction of AMX sums up */
    HALF_COLS = 16,   /* of a tile of weights */
    HALF_TILE = HALF_ROWS * 16,
    HALF_PAIR = 32, /* tokens, or columns, of two tiles */
    HALF_AHEAD = 2  /* steps whose weights are asked for before they are widened */
};
static_assert(BACKWARD_ROWS % HALF_ROWS == 0, "no stretch is longer than its tiles");

static inline int half_steps(int rows) /* tiles along all rows */
{
    return (rows + HALF_ROWS - 1) / HALF_ROWS;
}

/* The tile of gradients of the tokens from `token` on, a multiple of 16, at `step`. */
static inline uint16_t *half_tile(const struct backward_input *in, int token, int step)
{
    return (uint16_t *)in->prepared +
           ((size_t)(token / HALF_TOKENS) * (size_t)half_steps(in->rows) + (size_t)step) * HALF_TILE;
}

/* The first `count` of 16 floats; zeros behind. */
static inline __m512 half_load(const float *x, int count)
{
    if (count >= 16)
        return _mm512_loadu_ps(x);
    return count <= 0 ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), x);
}

/* One token, or zeros for one behind the last. */
static inline void half_prepare_token(const struct backward_input *in, int t)
{
    const float *dy = in->dy + (size_t)t * (size_t)in->stride;
    for (int step = 0, row = 0; row < in->rows; step++, row += HALF_ROWS) {
        int count = t < in->tokens ? in->rows - row : 0;
        __m512bh both = _mm512_cvtne2ps_pbh(half_load(dy + row + 16, count - 16), half_load(dy + row, count));
        memcpy(half_tile(in, t / HALF_TOKENS * HALF_TOKENS, step) + t % HALF_TOKENS * HALF_ROWS, &both,
               sizeof both);
    }
}

static inline void half_prepare(const struct backward_input *in, int begin, int end)
{
    int last = end < in->tokens ? end : (end + HALF_PAIR - 1) / HALF_PAIR * HALF_PAIR;
    for (int t = begin; t < last; t++)
        half_prepare_token(in, t);
}

/* ---- weights ---- */

/* Four lines of int8 by 16 rows become the rows' 16 columns: lane i of *out[j] is row 4 i + j. */
static inline void half_turn(__m512i line[4], __m512i out[4])
{
    __m512i a = _mm512_unpacklo_epi32(line[0], line[1]), b = _mm512_unpackhi_epi32(line[0], line[1]);
    __m512i c = _mm512_unpacklo_epi32(line[2], line[3]), d = _mm512_unpackhi_epi32(line[2], line[3]);
    out[0] = _mm512_unpacklo_epi64(a, c);
    out[1] = _mm512_unpackhi_epi64(a, c);
    out[2] = _mm512_unpacklo_epi64(b, d);
    out[3] = _mm512_unpackhi_epi64(b, d);
}

/* The four signed lines of a panel that hold 16 columns from k on. */
static inline void half_lines(const struct packed *p, int panel, int k, __m512i line[4])
{
    const uint8_t *from = p->q + (size_t)panel * r16_panel_bytes(p->bits, p->cols_padded) +
                          (size_t)k * R16_ROWS * (size_t)p->bits / 8;
    if (p->bits == R16_INT8) {
        for (int i = 0; i < 4; i++)
            line[i] = _mm512_xor_si512(_mm512_loadu_si512(from + i * R16_LINE), _mm512_set1_epi8((char)0x80));
        return;
    }
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (int i = 0; i < 2; i++) {
        __m512i v = _mm512_loadu_si512(from + i * R16_LINE);
        line[2 * i] = _mm512_sub_epi8(_mm512_and_si512(v, low), eight);
        line[2 * i + 1] = _mm512_sub_epi8(_mm512_and_si512(_mm512_srli_epi16(v, 4), low), eight);
    }
}

static inline __m512 half_widen_row(__m128i q, float scale)
{
    return _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(q)), _mm512_set1_ps(scale));
}

/* A panel's 16 columns from k on, as 8 pairs of rows [8, 16, 2]; zeros behind the last panel. */
static inline void half_widen_panel(const struct packed *p, int panel, int k, uint16_t *out)
{
    const __m512i mix = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7,
                                         22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
    if (panel >= p->panels) {
        memset(out, 0, HALF_TILE * sizeof *out / 2);
        return;
    }
    int group = r16_group(p->bits);
    const uint16_t *halves =
        p->scale + ((size_t)panel * (size_t)(p->cols_padded / group) + (size_t)(k / group)) * R16_ROWS;
    float scale[R16_ROWS];
    _mm512_storeu_ps(scale, _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)halves)));
    __m512i line[4], turned[4];
    __m128i row[R16_ROWS];
    half_lines(p, panel, k, line);
    half_turn(line, turned);
    for (int i = 0; i < 4; i++) {
        row[i] = _mm512_extracti32x4_epi32(turned[i], 0);
        row[4 + i] = _mm512_extracti32x4_epi32(turned[i], 1);
        row[8 + i] = _mm512_extracti32x4_epi32(turned[i], 2);
        row[12 + i] = _mm512_extracti32x4_epi32(turned[i], 3);
    }
    for (int i = 0; i < R16_ROWS; i += 2) {
        __m512bh both =
            _mm512_cvtne2ps_pbh(half_widen_row(row[i + 1], scale[i + 1]), half_widen_row(row[i], scale[i]));
        __m512i pairs;
        memcpy(&pairs, &both, sizeof pairs);
        _mm512_storeu_si512(out + i * HALF_COLS, _mm512_permutexvar_epi16(mix, pairs));
    }
}

/* The columns from k on of a panel: of memory that is read in no order that a CPU foresees. */
static inline void half_ask(const struct packed *p, int panel, int k, int cols)
{
    if (panel >= p->panels)
        return;
    const uint8_t *from = p->q + (size_t)panel * r16_panel_bytes(p->bits, p->cols_padded) +
                          (size_t)k * R16_ROWS * (size_t)p->bits / 8;
    for (int i = 0; i < cols * R16_ROWS * (int)p->bits / 8; i += R16_LINE)
        _mm_prefetch(from + i, _MM_HINT_T0);
}

/* Rows from tile `first` on and the columns [begin, begin + cols): [cols / 32, steps, 2, 16, 16, 2]. */
static inline void half_widen_weights(const struct packed *p, int first, int steps, int begin, int cols,
                                      uint16_t *out)
{
    for (int s = 0; s < steps; s++) {
        int panel = 2 * (first + s);
        half_ask(p, panel + 2 * HALF_AHEAD, begin, cols);
        half_ask(p, panel + 2 * HALF_AHEAD + 1, begin, cols);
        for (int c = 0; c < (cols + HALF_PAIR - 1) / HALF_PAIR * HALF_PAIR; c += HALF_COLS) {
            uint16_t *to =
                out + ((size_t)(c / HALF_PAIR * steps + s) * 2 + (size_t)(c % HALF_PAIR > 0)) * HALF_TILE;
            half_widen_panel(p, panel, begin + c, to);
            half_widen_panel(p, panel + 1, begin + c, to + HALF_TILE / 2);
        }
    }
}
