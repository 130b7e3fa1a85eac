/* Quantizing activations, for AVX-512. */
#include <immintrin.h>
#include <string.h>

#include "core/kernels/x86/qgemm_x86.h"

enum { PARTS = R16_K / 16 };

static void quantize_group(const float *x, int8_t *q, float *scale, int32_t *sum)
{
    __m512 v[PARTS], m = _mm512_setzero_ps();
    __m512i i[PARTS];
    for (int j = 0; j < PARTS; j++) {
        v[j] = _mm512_loadu_ps(x + 16 * j);
        m = _mm512_max_ps(m, _mm512_abs_ps(v[j]));
    }
    float largest = _mm512_reduce_max_ps(m), inverse = largest > 0 ? 127.0f / largest : 0.0f;
    *scale = largest / 127.0f;
    for (int j = 0; j < PARTS; j++) {
        i[j] = _mm512_cvtps_epi32(_mm512_mul_ps(v[j], _mm512_set1_ps(inverse)));
        _mm_storeu_si128((__m128i *)(q + 16 * j), _mm512_cvtsepi32_epi8(i[j]));
    }
    sum[0] = _mm512_reduce_add_epi32(_mm512_add_epi32(i[0], i[1]));
    sum[1] = _mm512_reduce_add_epi32(_mm512_add_epi32(i[2], i[3]));
}

void qgemm_quantize_avx512(const float *x, int cols, int8_t *q, float *scale, int32_t *sum)
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
