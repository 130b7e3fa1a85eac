/* AVX2. Bytes are multiplied by the pair (|x|, w with x's sign), which cannot saturate: 2 x 127 x 127 <
 * 2^15. */
#include <immintrin.h>
#include <string.h>

#include "core/kernels/x86/qgemm_x86.h"

enum {
    TOKENS = 4,
    STRETCH_K = 512 /* of k: 8 KiB of int8 weights */
};

static __m256 absolute(__m256 v)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), v);
}

static float largest_of(__m256 v)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
    return _mm_cvtss_f32(m);
}

static int32_t sum_of(__m256i v)
{
    __m128i m = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4E));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0xB1));
    return _mm_cvtsi128_si32(m);
}

/* 32 values: quantize, store, and return their sum. */
static int32_t quantize_half(const float *x, __m256 inverse, int8_t *q)
{
    __m256i i[4];
    for (int j = 0; j < 4; j++)
        i[j] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * j), inverse));
    __m256i sum = _mm256_add_epi32(_mm256_add_epi32(i[0], i[1]), _mm256_add_epi32(i[2], i[3]));
    __m256i low = _mm256_packs_epi32(i[0], i[1]), high = _mm256_packs_epi32(i[2], i[3]);
    __m256i bytes =
        _mm256_permutevar8x32_epi32(_mm256_packs_epi16(low, high), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
    _mm256_storeu_si256((__m256i *)q, bytes);
    return sum_of(sum);
}

static void quantize_group(const float *x, int8_t *q, float *scale, int32_t *sum)
{
    __m256 m = absolute(_mm256_loadu_ps(x));
    for (int j = 1; j < R16_K / 8; j++)
        m = _mm256_max_ps(m, absolute(_mm256_loadu_ps(x + 8 * j)));
    float largest = largest_of(m), inverse = largest > 0 ? 127.0f / largest : 0.0f;
    *scale = largest / 127.0f;
    sum[0] = quantize_half(x, _mm256_set1_ps(inverse), q);
    sum[1] = quantize_half(x + R16_SUM_K, _mm256_set1_ps(inverse), q + R16_SUM_K);
}

void qgemm_quantize_avx2(const float *x, int cols, int8_t *q, float *scale, int32_t *sum)
{
    int g = 0;
    for (; (g + 1) * R16_K <= cols; g++)
        quantize_group(x + g * R16_K, q + g * R16_K, scale + g, sum + 2 * g);
    if (g * R16_K == cols)
        return;
    float rest[R16_K] = {0};
    memcpy(rest, x + g * R16_K, (size_t)(cols - g * R16_K) * sizeof *rest);
    quantize_group(rest, q + g * R16_K, scale + g, sum + 2 * g);
}

static inline __m256i broadcast4(const int8_t *p)
{
    int32_t bytes;
    memcpy(&bytes, p, sizeof bytes);
    return _mm256_set1_epi32(bytes);
}

/* A stretch of one panel's groups, [first, last), for all tokens. */
struct stretch {
    const uint8_t *lines;  /* of the panel */
    const uint16_t *scale; /* of the panel */
    int groups, first, last;
    const struct activation *x;
    float *y; /* where the panel's first row goes; holds the sums of the groups before `first` */
    int stride;
};

/* The sums so far of `count` tokens. */
static inline __attribute__((always_inline)) void load_totals(const struct stretch *s, int token,
                                                              const int count, __m256 total[TOKENS][2])
{
    for (int t = 0; t < count; t++) {
        const float *y = s->y + (size_t)(token + t) * (size_t)s->stride;
        total[t][0] = s->first ? _mm256_loadu_ps(y) : _mm256_setzero_ps();
        total[t][1] = s->first ? _mm256_loadu_ps(y + 8) : _mm256_setzero_ps();
    }
}

static inline __attribute__((always_inline)) void store_totals(const struct stretch *s, int token,
                                                               const int count, __m256 total[TOKENS][2])
{
    for (int t = 0; t < count; t++) {
        float *y = s->y + (size_t)(token + t) * (size_t)s->stride;
        _mm256_storeu_ps(y, total[t][0]);
        _mm256_storeu_ps(y + 8, total[t][1]);
    }
}

/* `count` tokens (a constant where this is inlined) by the 16 rows of the panel. */
static inline __attribute__((always_inline)) void tile_int8(const struct stretch *s, int token,
                                                            const int count)
{
    const __m256i ones = _mm256_set1_epi16(1), top = _mm256_set1_epi8((char)0x80);
    const struct activation *x = s->x;
    const int8_t *q[TOKENS];
    __m256 total[TOKENS][2];
    for (int t = 0; t < count; t++)
        q[t] = x->q + (size_t)(token + t) * (size_t)x->cols_padded;
    load_totals(s, token, count, total);
    for (int g = s->first; g < s->last; g++) {
        const uint8_t *lines = s->lines + (size_t)g * R16_INT8_GROUP * R16_ROWS;
        __m256i sum[TOKENS][2];
        for (int t = 0; t < count; t++)
            sum[t][0] = sum[t][1] = _mm256_setzero_si256();
        for (int j = 0; j < R16_INT8_GROUP / 4; j++) {
            const __m256i *line = (const __m256i *)(lines + j * R16_LINE);
            __m256i w0 = _mm256_xor_si256(_mm256_load_si256(line), top);
            __m256i w1 = _mm256_xor_si256(_mm256_load_si256(line + 1), top);
#pragma GCC unroll 4
            for (int t = 0; t < count; t++) {
                __m256i b = broadcast4(q[t] + g * R16_INT8_GROUP + 4 * j), a = _mm256_abs_epi8(b);
                __m256i p0 = _mm256_maddubs_epi16(a, _mm256_sign_epi8(w0, b));
                __m256i p1 = _mm256_maddubs_epi16(a, _mm256_sign_epi8(w1, b));
                sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(p0, ones));
                sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(p1, ones));
            }
        }
        __m256 s0 = qgemm_half_to_float(s->scale + g * R16_ROWS),
               s1 = qgemm_half_to_float(s->scale + g * R16_ROWS + 8);
#pragma GCC unroll 4
        for (int t = 0; t < count; t++) {
            float x_scale = x->scale[(size_t)(token + t) * (size_t)s->groups + (size_t)g];
            total[t][0] = qgemm_add_group(total[t][0], sum[t][0], s0, x_scale);
            total[t][1] = qgemm_add_group(total[t][1], sum[t][1], s1, x_scale);
        }
    }
    store_totals(s, token, count, total);
}

/* Nibbles are at most 15, so eight products of pairs fit into 16 bits: 8 x 2 x 15 x 127 < 2^15. */
static inline __attribute__((always_inline)) void tile_int4(const struct stretch *s, int token,
                                                            const int count)
{
    const __m256i ones = _mm256_set1_epi16(1), low = _mm256_set1_epi8(15);
    const struct activation *x = s->x;
    const int8_t *q[TOKENS];
    __m256 total[TOKENS][2];
    for (int t = 0; t < count; t++)
        q[t] = x->q + (size_t)(token + t) * (size_t)x->cols_padded;
    load_totals(s, token, count, total);
    for (int g = s->first; g < s->last; g++) {
        const uint8_t *lines = s->lines + (size_t)g * R16_INT4_GROUP * R16_ROWS / 2;
        __m256i sum[TOKENS][2];
        for (int t = 0; t < count; t++)
            sum[t][0] = sum[t][1] = _mm256_setzero_si256();
        for (int j = 0; j < R16_INT4_GROUP / 8; j++) {
            const __m256i *line = (const __m256i *)(lines + j * R16_LINE);
            __m256i v0 = _mm256_load_si256(line), v1 = _mm256_load_si256(line + 1);
            __m256i l0 = _mm256_and_si256(v0, low), h0 = _mm256_and_si256(_mm256_srli_epi16(v0, 4), low);
            __m256i l1 = _mm256_and_si256(v1, low), h1 = _mm256_and_si256(_mm256_srli_epi16(v1, 4), low);
#pragma GCC unroll 4
            for (int t = 0; t < count; t++) {
                const int8_t *at = q[t] + g * R16_INT4_GROUP + 8 * j;
                __m256i a = broadcast4(at), b = broadcast4(at + 4);
                __m256i p0 = _mm256_add_epi16(_mm256_maddubs_epi16(l0, a), _mm256_maddubs_epi16(h0, b));
                __m256i p1 = _mm256_add_epi16(_mm256_maddubs_epi16(l1, a), _mm256_maddubs_epi16(h1, b));
                sum[t][0] = _mm256_add_epi16(sum[t][0], p0);
                sum[t][1] = _mm256_add_epi16(sum[t][1], p1);
            }
        }
        __m256 s0 = qgemm_half_to_float(s->scale + g * R16_ROWS),
               s1 = qgemm_half_to_float(s->scale + g * R16_ROWS + 8);
#pragma GCC unroll 4
        for (int t = 0; t < count; t++) {
            size_t at = (size_t)(token + t) * (size_t)s->groups + (size_t)g;
            __m256i offset = _mm256_set1_epi32(-8 * x->sum[at]);
            __m256i i0 = _mm256_add_epi32(_mm256_madd_epi16(sum[t][0], ones), offset);
            __m256i i1 = _mm256_add_epi32(_mm256_madd_epi16(sum[t][1], ones), offset);
            total[t][0] = qgemm_add_group(total[t][0], i0, s0, x->scale[at / 2]);
            total[t][1] = qgemm_add_group(total[t][1], i1, s1, x->scale[at / 2]);
        }
    }
    store_totals(s, token, count, total);
}

typedef void tile(const struct stretch *s, int token, const int count);

/* All tokens by one stretch, four at a time. */
static inline __attribute__((always_inline)) void all_tokens(tile *multiply, const struct stretch *s,
                                                             int tokens)
{
    int t = 0;
    for (; t + TOKENS <= tokens; t += TOKENS)
        multiply(s, t, TOKENS);
    if (tokens - t == 3)
        multiply(s, t, 3);
    else if (tokens - t == 2)
        multiply(s, t, 2);
    else if (tokens - t == 1)
        multiply(s, t, 1);
}

/* Panel by panel; a panel in stretches that stay in the first-level cache while many tokens pass. Sums go on
 * from stretch to stretch in the order of the groups, so the stretches do not show in the result. */
static inline __attribute__((always_inline)) void multiply_panels(tile *multiply, const enum qgemm_bits bits,
                                                                  const struct packed *w, int begin, int end,
                                                                  const struct activation *x, int tokens,
                                                                  float *y, int stride)
{
    int groups = w->cols_padded / (bits == R16_INT8 ? R16_INT8_GROUP : R16_INT4_GROUP);
    int length = tokens > TOKENS ? STRETCH_K * groups / w->cols_padded : groups;
    size_t bytes = (size_t)w->cols_padded * R16_ROWS * bits / 8;
    for (int i = begin; i < end; i++) {
        struct stretch s = {.lines = w->q + (size_t)i * bytes,
                            .scale = w->scale + (size_t)i * (size_t)groups * R16_ROWS,
                            .groups = groups,
                            .x = x,
                            .y = y + (i - begin) * R16_ROWS,
                            .stride = stride};
        for (; s.first < groups; s.first = s.last) {
            s.last = s.first + length < groups ? s.first + length : groups;
            all_tokens(multiply, &s, tokens);
        }
    }
}

static void multiply_int8(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    if (x->wide && tokens >= R16_WIDE_TOKENS)
        qgemm_multiply_wide_avx2(w, begin, end, x, tokens, y, stride);
    else
        multiply_panels(tile_int8, R16_INT8, w, begin, end, x, tokens, y, stride);
}

static void multiply_int4(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    multiply_panels(tile_int4, R16_INT4, w, begin, end, x, tokens, y, stride);
}

const struct qgemm_kernels qgemm_avx2 = {.pack_row = qgemm_pack_row_avx2,
                                         .quantize = qgemm_quantize_avx2,
                                         .widen = qgemm_widen_avx2,
                                         .multiply_int8 = multiply_int8,
                                         .multiply_int4 = multiply_int4};
