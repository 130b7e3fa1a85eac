/* AVX-VNNI: the byte products of AVX-512 VNNI in registers of 32 bytes (client CPUs since 2021). */
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#include "core/kernels/qgemm.h"

enum { TOKENS = 4 };

static inline __m256i broadcast4(const int8_t *p)
{
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

static inline __attribute__((always_inline)) void line_int8(const uint8_t *line, const int8_t *const *q,
                                                            int k, const int count, __m256i sum[TOKENS][2])
{
    __m256i w0 = _mm256_load_si256((const __m256i *)line), w1 = _mm256_load_si256((const __m256i *)line + 1);
#pragma GCC unroll 4
    for (int t = 0; t < count; t++) {
        __m256i b = broadcast4(q[t] + k);
        sum[t][0] = _mm256_dpbusd_avx_epi32(sum[t][0], w0, b);
        sum[t][1] = _mm256_dpbusd_avx_epi32(sum[t][1], w1, b);
    }
}

static inline __attribute__((always_inline)) void line_int4(const uint8_t *line, const int8_t *const *q,
                                                            int k, const int count, __m256i sum[TOKENS][2])
{
    const __m256i low = _mm256_set1_epi8(15);
    __m256i v0 = _mm256_load_si256((const __m256i *)line), v1 = _mm256_load_si256((const __m256i *)line + 1);
    __m256i l0 = _mm256_and_si256(v0, low), h0 = _mm256_and_si256(_mm256_srli_epi16(v0, 4), low);
    __m256i l1 = _mm256_and_si256(v1, low), h1 = _mm256_and_si256(_mm256_srli_epi16(v1, 4), low);
#pragma GCC unroll 4
    for (int t = 0; t < count; t++) {
        __m256i a = broadcast4(q[t] + k), b = broadcast4(q[t] + k + 4);
        sum[t][0] = _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(sum[t][0], l0, a), h0, b);
        sum[t][1] = _mm256_dpbusd_avx_epi32(_mm256_dpbusd_avx_epi32(sum[t][1], l1, a), h1, b);
    }
}

/* `count` tokens by one panel; `bits` and `count` are constants where this is inlined. */
static inline __attribute__((always_inline)) void tile(const enum qgemm_bits bits, const uint8_t *lines,
                                                       const uint16_t *scale, int groups,
                                                       const struct activation *x, int token, const int count,
                                                       float *y, int stride)
{
    const int8_t *q[TOKENS];
    __m256 total[TOKENS][2];
    for (int t = 0; t < count; t++) {
        q[t] = x->q + (size_t)(token + t) * (size_t)x->cols_padded;
        total[t][0] = total[t][1] = _mm256_setzero_ps();
    }
    for (int g = 0; g < groups; g++, scale += R16_ROWS) {
        __m256i sum[TOKENS][2];
        for (int t = 0; t < count; t++) {
            size_t at = (size_t)(token + t) * (size_t)groups + (size_t)g;
            int offset = bits == R16_INT8 ? -128 * (x->sum[2 * at] + x->sum[2 * at + 1]) : -8 * x->sum[at];
            sum[t][0] = sum[t][1] = _mm256_set1_epi32(offset);
        }
        if (bits == R16_INT8)
            for (int i = 0; i < R16_INT8_GROUP / 4; i++, lines += R16_LINE)
                line_int8(lines, q, g * R16_INT8_GROUP + 4 * i, count, sum);
        else
            for (int i = 0; i < R16_INT4_GROUP / 8; i++, lines += R16_LINE)
                line_int4(lines, q, g * R16_INT4_GROUP + 8 * i, count, sum);
        __m256 s0 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)scale));
        __m256 s1 = _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(scale + 8)));
#pragma GCC unroll 4
        for (int t = 0; t < count; t++) {
            size_t at = (size_t)(token + t) * (size_t)groups + (size_t)g;
            __m256 xs = _mm256_set1_ps(x->scale[bits == R16_INT8 ? at : at / 2]);
            total[t][0] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t][0]), _mm256_mul_ps(s0, xs), total[t][0]);
            total[t][1] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sum[t][1]), _mm256_mul_ps(s1, xs), total[t][1]);
        }
    }
    for (int t = 0; t < count; t++) {
        _mm256_storeu_ps(y + (size_t)(token + t) * (size_t)stride, total[t][0]);
        _mm256_storeu_ps(y + (size_t)(token + t) * (size_t)stride + 8, total[t][1]);
    }
}

static inline __attribute__((always_inline)) void multiply(const enum qgemm_bits bits, const struct packed *w,
                                                           int begin, int end, const struct activation *x,
                                                           int tokens, float *y, int stride)
{
    int groups = w->cols_padded / (bits == R16_INT8 ? R16_INT8_GROUP : R16_INT4_GROUP);
    for (int panel = begin; panel < end; panel++) {
        const uint8_t *lines = w->q + (size_t)panel * (size_t)w->cols_padded * R16_ROWS * bits / 8;
        const uint16_t *scale = w->scale + (size_t)panel * (size_t)groups * R16_ROWS;
        float *out = y + (panel - begin) * R16_ROWS;
        int t = 0;
        for (; t + TOKENS <= tokens; t += TOKENS)
            tile(bits, lines, scale, groups, x, t, TOKENS, out, stride);
        if (tokens - t == 3)
            tile(bits, lines, scale, groups, x, t, 3, out, stride);
        else if (tokens - t == 2)
            tile(bits, lines, scale, groups, x, t, 2, out, stride);
        else if (tokens - t == 1)
            tile(bits, lines, scale, groups, x, t, 1, out, stride);
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

const struct qgemm_kernels qgemm_avxvnni = {.name = "avxvnni",
                                            .quantize = qgemm_quantize_avx2,
                                            .multiply_int8 = multiply_int8,
                                            .multiply_int4 = multiply_int4};
#endif
