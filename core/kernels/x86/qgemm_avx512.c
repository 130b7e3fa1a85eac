/* AVX-512 with VNNI: registers of 64 bytes, a panel each. */
#include <immintrin.h>

#include "core/kernels/x86/qgemm_x86.h"

#define VARIANT qgemm_avx512
#define SHIFT 4
#define QUANTIZE qgemm_quantize_avx512
#define TOKENS 6
typedef __m512i ints;
typedef __m512 floats;

/* Keeps the sum in one register: else GCC 12 moves it back and forth for each instruction. */
#ifndef KEEP
#define KEEP(v) __asm__("" : "+v"(v))
#endif

static inline ints load(const uint8_t *p)
{
    return _mm512_load_si512(p);
}

static inline ints all(int x)
{
    return _mm512_set1_epi32(x);
}

static inline ints low(ints v)
{
    return _mm512_and_si512(v, _mm512_set1_epi8(15));
}

static inline ints high(ints v)
{
    return low(_mm512_srli_epi16(v, 4));
}

static inline ints dot(ints sum, ints w, ints x)
{
    sum = _mm512_dpbusd_epi32(sum, w, x);
    KEEP(sum);
    return sum;
}

static inline floats zero(void)
{
    return _mm512_setzero_ps();
}

static inline floats halves(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

static inline floats add_group(floats total, ints sum, floats scale, float x)
{
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scale, _mm512_set1_ps(x)), total);
}

static inline void store(float *p, floats v)
{
    _mm512_storeu_ps(p, v);
}

#include "core/kernels/x86/qgemm_vnni.h"
