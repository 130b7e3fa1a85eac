/* AVX-512 with VNNI: one instruction multiplies 64 pairs of bytes and adds them in fours. */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "core/kernels/qgemm.h"

enum { TOKENS = 6, PANELS = 2 };

static inline __m512i broadcast4(const int8_t *p)
{
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm512_set1_epi32(bytes);
}

static inline __m512 scales(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

struct job {
    const uint8_t *lines[PANELS]; /* of the panels; the second repeats the first where there is one only */
    const uint16_t *scale[PANELS];
    int groups; /* of the weights' scales */
    const struct activation *x;
    float *y;
    int stride;
};

/* The integers of one group of 64 k: they start at -128 times the sum of the activations, which undoes the +
 * 128. */
static inline __attribute__((always_inline)) void group_int8(const struct job *j, int g,
                                                             const int8_t *const *q, const int count,
                                                             const int panels, __m512i sum[TOKENS][PANELS])
{
    for (int i = 0; i < R16_INT8_GROUP / 4; i++) {
        size_t at = ((size_t)g * (R16_INT8_GROUP / 4) + (size_t)i) * R16_LINE;
        __m512i w0 = _mm512_load_si512(j->lines[0] + at), w1 = _mm512_load_si512(j->lines[1] + at);
#pragma GCC unroll 6
        for (int t = 0; t < count; t++) {
            __m512i b = broadcast4(q[t] + g * R16_INT8_GROUP + 4 * i);
            sum[t][0] = _mm512_dpbusd_epi32(sum[t][0], w0, b);
            if (panels > 1)
                sum[t][1] = _mm512_dpbusd_epi32(sum[t][1], w1, b);
        }
    }
}

static inline __attribute__((always_inline)) void group_int4(const struct job *j, int g,
                                                             const int8_t *const *q, const int count,
                                                             const int panels, __m512i sum[TOKENS][PANELS])
{
    const __m512i low = _mm512_set1_epi8(15);
    for (int i = 0; i < R16_INT4_GROUP / 8; i++) {
        size_t at = ((size_t)g * (R16_INT4_GROUP / 8) + (size_t)i) * R16_LINE;
        __m512i v0 = _mm512_load_si512(j->lines[0] + at), v1 = _mm512_load_si512(j->lines[1] + at);
        __m512i l0 = _mm512_and_si512(v0, low), h0 = _mm512_and_si512(_mm512_srli_epi16(v0, 4), low);
        __m512i l1 = _mm512_and_si512(v1, low), h1 = _mm512_and_si512(_mm512_srli_epi16(v1, 4), low);
#pragma GCC unroll 6
        for (int t = 0; t < count; t++) {
            __m512i a = broadcast4(q[t] + g * R16_INT4_GROUP + 8 * i),
                    b = broadcast4(q[t] + g * R16_INT4_GROUP + 8 * i + 4);
            sum[t][0] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum[t][0], l0, a), h0, b);
            if (panels > 1)
                sum[t][1] = _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(sum[t][1], l1, a), h1, b);
        }
    }
}

/* `count` tokens by one or two panels; both constants where this is inlined. */
static inline __attribute__((always_inline)) void tile(const enum qgemm_bits bits, const struct job *j,
                                                       int token, const int count, const int panels)
{
    const int8_t *q[TOKENS];
    __m512 total[TOKENS][PANELS];
    for (int t = 0; t < count; t++) {
        q[t] = j->x->q + (size_t)(token + t) * (size_t)j->x->cols_padded;
        total[t][0] = total[t][1] = _mm512_setzero_ps();
    }
    for (int g = 0; g < j->groups; g++) {
        __m512i sum[TOKENS][PANELS];
        for (int t = 0; t < count; t++) {
            size_t at = (size_t)(token + t) * (size_t)j->groups + (size_t)g;
            int offset =
                bits == R16_INT8 ? -128 * (j->x->sum[2 * at] + j->x->sum[2 * at + 1]) : -8 * j->x->sum[at];
            sum[t][0] = sum[t][1] = _mm512_set1_epi32(offset);
        }
        if (bits == R16_INT8)
            group_int8(j, g, q, count, panels, sum);
        else
            group_int4(j, g, q, count, panels, sum);
        __m512 s0 = scales(j->scale[0] + g * R16_ROWS), s1 = scales(j->scale[1] + g * R16_ROWS);
#pragma GCC unroll 6
        for (int t = 0; t < count; t++) {
            size_t at = (size_t)(token + t) * (size_t)j->groups + (size_t)g;
            __m512 x = _mm512_set1_ps(j->x->scale[bits == R16_INT8 ? at : at / 2]);
            total[t][0] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][0]), _mm512_mul_ps(s0, x), total[t][0]);
            if (panels > 1)
                total[t][1] =
                    _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[t][1]), _mm512_mul_ps(s1, x), total[t][1]);
        }
    }
    for (int t = 0; t < count; t++)
        for (int p = 0; p < panels; p++)
            _mm512_storeu_ps(j->y + (size_t)(token + t) * (size_t)j->stride + p * R16_ROWS, total[t][p]);
}

static inline __attribute__((always_inline)) void all_tokens(const enum qgemm_bits bits, const struct job *j,
                                                             int tokens, const int panels)
{
    int t = 0;
    for (; tokens - t >= 12 || tokens - t == TOKENS; t += TOKENS)
        tile(bits, j, t, TOKENS, panels);
    while (t < tokens) { /* the rest in two parts of about the same size */
        int left = tokens - t, count = left > TOKENS ? (left + 1) / 2 : left;
        switch (count) {
        case 6:
            tile(bits, j, t, 6, panels);
            break;
        case 5:
            tile(bits, j, t, 5, panels);
            break;
        case 4:
            tile(bits, j, t, 4, panels);
            break;
        case 3:
            tile(bits, j, t, 3, panels);
            break;
        case 2:
            tile(bits, j, t, 2, panels);
            break;
        default:
            tile(bits, j, t, 1, panels);
            break;
        }
        t += count;
    }
}

static inline __attribute__((always_inline)) void multiply(const enum qgemm_bits bits, const struct packed *w,
                                                           int begin, int end, const struct activation *x,
                                                           int tokens, float *y, int stride)
{
    int group = bits == R16_INT8 ? R16_INT8_GROUP : R16_INT4_GROUP;
    size_t bytes = (size_t)w->cols_padded * R16_ROWS * bits / 8, groups = (size_t)(w->cols_padded / group);
    for (int panel = begin; panel < end; panel += PANELS) {
        size_t second = (size_t)(panel + 1 < end ? panel + 1 : panel);
        struct job j = {
            .lines = {w->q + (size_t)panel * bytes, w->q + second * bytes},
            .scale = {w->scale + (size_t)panel * groups * R16_ROWS, w->scale + second * groups * R16_ROWS},
            .groups = (int)groups,
            .x = x,
            .y = y + (panel - begin) * R16_ROWS,
            .stride = stride};
        if (panel + 1 < end)
            all_tokens(bits, &j, tokens, 2);
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

const struct qgemm_kernels qgemm_avx512 = {.name = "avx512",
                                           .quantize = qgemm_quantize_avx2,
                                           .multiply_int8 = multiply_int8,
                                           .multiply_int4 = multiply_int4};
#endif
