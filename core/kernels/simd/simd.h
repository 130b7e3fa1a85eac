/* SIMD_LANES floats at a time, as GCC vectors: loops written once, compiled once for each instruction set
 * (the _plain.c, and x86's _avx2.c and _avx512.c). Every operation is one that all sets round alike. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__FMA__)
#include <immintrin.h>
#endif

#include "core/format/bf16.h"

/* Sixteen where the file that includes this says so. */
#ifndef SIMD_LANES
#define SIMD_LANES 8
#endif

typedef float simd __attribute__((vector_size(4 * SIMD_LANES)));
typedef int32_t simd_int __attribute__((vector_size(4 * SIMD_LANES)));
/* Eight, whatever a register holds: sums over lanes have one order for all. */
typedef float simd_eight __attribute__((vector_size(32)));
enum { SIMD_EIGHTS = SIMD_LANES / 8 };

static inline simd simd_load(const float *p)
{
    simd v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

static inline void simd_store(float *p, simd v)
{
    __builtin_memcpy(p, &v, sizeof v);
}

static inline simd simd_all(float x)
{
#if SIMD_LANES == 16
    return (simd){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x};
#else
    return (simd){x, x, x, x, x, x, x, x};
#endif
}

static inline simd_eight simd_eight_load(const float *p)
{
    simd_eight v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
}

/* a * b + c, rounded once. */
static inline simd_eight simd_eight_fma(simd_eight a, simd_eight b, simd_eight c)
{
#if defined(__FMA__)
    return (simd_eight)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    simd_eight r;
    for (int i = 0; i < 8; i++)
        r[i] = fmaf(a[i], b[i], c[i]);
    return r;
#endif
}

static inline simd simd_fma(simd a, simd b, simd c)
{
#if SIMD_LANES == 8
    return simd_eight_fma(a, b, c);
#elif defined(__AVX512F__)
    return (simd)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c);
#else
    simd r;
    for (int i = 0; i < SIMD_LANES; i++)
        r[i] = fmaf(a[i], b[i], c[i]);
    return r;
#endif
}

static inline simd simd_min(simd a, simd b)
{
    simd_int less = a < b;
    return (simd)((less & (simd_int)a) | (~less & (simd_int)b));
}

static inline simd simd_max(simd a, simd b)
{
    simd_int more = a > b;
    return (simd)((more & (simd_int)a) | (~more & (simd_int)b));
}

/* bf16, widened. (Written out: GCC 12 widens in halves and puts them together.) */
static inline simd simd_load_bf16(const uint16_t *p)
{
#if SIMD_LANES == 16 && defined(__AVX512F__)
    return (simd)_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)p)), 16);
#elif SIMD_LANES == 8 && defined(__AVX2__)
    return (simd)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
#else
    typedef uint16_t halves __attribute__((vector_size(2 * SIMD_LANES)));
    typedef uint32_t words __attribute__((vector_size(4 * SIMD_LANES)));
    halves h;
    __builtin_memcpy(&h, p, sizeof h);
    return (simd)(__builtin_convertvector(h, words) << 16);
#endif
}

/* The eights of a register, to add them up one after the other. */
static inline simd_eight simd_part(simd v, int which)
{
    simd_eight parts[SIMD_EIGHTS];
    __builtin_memcpy(parts, &v, sizeof v);
    return parts[which];
}

/* ((0 + 4) + (2 + 6)) + ((1 + 5) + (3 + 7)) */
static inline float simd_sum(simd_eight v)
{
    v += __builtin_shufflevector(v, v, 4, 5, 6, 7, 0, 1, 2, 3);
    v += __builtin_shufflevector(v, v, 2, 3, 0, 1, 6, 7, 4, 5);
    return v[0] + v[1];
}

static inline simd_eight simd_eight_max(simd_eight a, simd_eight b)
{
    typedef int32_t ints __attribute__((vector_size(32)));
    ints more = a > b;
    return (simd_eight)((more & (ints)a) | (~more & (ints)b));
}

/* Of all lanes; what it is with NaN among them, nobody may rely on. */
static inline float simd_largest(simd v)
{
    simd_eight m = simd_part(v, 0);
    for (int i = 1; i < SIMD_EIGHTS; i++)
        m = simd_eight_max(m, simd_part(v, i));
    m = simd_eight_max(m, __builtin_shufflevector(m, m, 4, 5, 6, 7, 0, 1, 2, 3));
    m = simd_eight_max(m, __builtin_shufflevector(m, m, 2, 3, 0, 1, 6, 7, 4, 5));
    m = simd_eight_max(m, __builtin_shufflevector(m, m, 1, 0, 3, 2, 5, 4, 7, 6));
    return m[0];
}

/* e^x within about 2 units in the last place; 0 below -87.3, infinity above 88.3; NaN stays NaN.
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7, e^x = 2^n e^r. */
static inline simd simd_exp(simd x)
{
    const simd log2e = simd_all(1.44269504f),
               magic = simd_all(12582912.0f); /* 1.5 * 2^23: adding it rounds */
    simd n = (x * log2e + magic) - magic;
    simd r = simd_fma(n, simd_all(-0.693359375f), x);
    r = simd_fma(n, simd_all(2.12194440e-4f), r);
    simd p = simd_all(1.0f / 5040);
    p = simd_fma(p, r, simd_all(1.0f / 720));
    p = simd_fma(p, r, simd_all(1.0f / 120));
    p = simd_fma(p, r, simd_all(1.0f / 24));
    p = simd_fma(p, r, simd_all(1.0f / 6));
    p = simd_fma(p, r, simd_all(0.5f));
    p = simd_fma(p, r, simd_all(1.0f));
    p = simd_fma(p, r, simd_all(1.0f));
    simd clamped = (simd)(((simd_int)(n > -126.0f) & (simd_int)n) |
                          ((simd_int)(n <= -126.0f) & (simd_int)simd_all(-126.0f)));
    clamped = (simd)(((simd_int)(clamped < 127.0f) & (simd_int)clamped) |
                     ((simd_int)(clamped >= 127.0f) & (simd_int)simd_all(127.0f)));
    simd_int exponent = (__builtin_convertvector(clamped, simd_int) + 127) << 23;
    simd e = p * (simd)exponent;
    simd_int low = x<-87.3f, high = x> 88.3f, nan = x != x;
    e = (simd)(~low & (simd_int)e);
    e = (simd)((high & (simd_int)simd_all(__builtin_inff())) | (~high & (simd_int)e));
    return (simd)((nan & (simd_int)x) | (~nan & (simd_int)e));
}

/* cap tanh(x / cap) */
static inline simd simd_cap(simd x, float cap)
{
    return cap * (1.0f - 2.0f / (1.0f + simd_exp(x * (2.0f / cap))));
}
