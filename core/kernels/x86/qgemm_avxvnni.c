/* AVX-VNNI: registers of 32 bytes, half a panel each (client CPUs since 2021). */
#include <immintrin.h>

#include "core/kernels/x86/qgemm_x86.h"

#define VARIANT qgemm_avxvnni
#define SHIFT 3
#define QUANTIZE qgemm_quantize_avx2
#define TOKENS 4
typedef __m256i ints;
typedef __m256 floats;

#ifndef KEEP
#define KEEP(v) __asm__("" : "+x"(v))
#endif

static inline ints load(const uint8_t *p)
{
    return _mm256_load_si256((const __m256i *)p);
}

static inline ints all(int x)
{
    return _mm256_set1_epi32(x);
}

static inline ints low(ints v)
{
    return _mm256_and_si256(v, _mm256_set1_epi8(15));
}

static inline ints high(ints v)
{
    return low(_mm256_srli_epi16(v, 4));
}

static inline ints dot(ints sum, ints w, ints x)
{
    sum = _mm256_dpbusd_avx_epi32(sum, w, x);
    KEEP(sum);
    return sum;
}

static inline floats zero(void)
{
    return _mm256_setzero_ps();
}

static inline floats halves(const uint16_t *p)
{
    return qgemm_half_to_float(p);
}

static inline floats add_group(floats total, ints sum, floats scale, float x)
{
    return qgemm_add_group(total, sum, scale, x);
}

static inline void store(float *p, floats v)
{
    _mm256_storeu_ps(p, v);
}

#include "core/kernels/x86/qgemm_vnni.h"
