/* What the products of AVX2 share among their files and with those of later instruction sets. */
#pragma once
#include <immintrin.h>

#include "core/kernels/r16.h"
#include "core/kernels/x86/x86.h"

static inline __m256 qgemm_half_to_float(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

/* The group's integers become floats: total += integer * (weight scale * activation scale). */
static inline __m256 qgemm_add_group(__m256 total, __m256i integers, __m256 scale, float x_scale)
{
    return _mm256_fmadd_ps(_mm256_cvtepi32_ps(integers), _mm256_mul_ps(scale, _mm256_set1_ps(x_scale)),
                           total);
}

void qgemm_widen_avx2(const int8_t *q, int cols_padded, int16_t *wide);
/* multiply_int8 with x->wide. */
void qgemm_multiply_wide_avx2(const struct packed *w, int begin, int end, const struct activation *x,
                              int tokens, float *y, int stride);
void qgemm_pack_row_avx2(const struct packed *p, int row, const float *x);
void qgemm_quantize_avx2(const float *x, int cols, int8_t *q, float *scale, int32_t *sum);
void qgemm_quantize_avx512(const float *x, int cols, int8_t *q, float *scale, int32_t *sum);
