/* Eight floats at a time, as GCC vectors: the seam between kernels and instruction sets. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__FMA__)
#include <immintrin.h>
#endif

#include "core/kernels/bf16.h"

enum { LANES = 8 };
typedef float lanes __attribute__((vector_size(32)));
typedef int32_t lanes_int __attribute__((vector_size(32)));

static inline lanes lanes_load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static inline void lanes_store(float *p, lanes v)
{
    memcpy(p, &v, sizeof v);
}

static inline lanes lanes_all(float x)
{
    return (lanes){x, x, x, x, x, x, x, x};
}

/* a * b + c, rounded once where the machine can. */
static inline lanes lanes_fma(lanes a, lanes b, lanes c)
{
#if defined(__FMA__)
    return (lanes)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c);
#else
    return a * b + c;
#endif
}

static inline lanes lanes_min(lanes a, lanes b)
{
    lanes_int less = a < b;
    return (lanes)((less & (lanes_int)a) | (~less & (lanes_int)b));
}

static inline lanes lanes_max(lanes a, lanes b)
{
    lanes_int more = a > b;
    return (lanes)((more & (lanes_int)a) | (~more & (lanes_int)b));
}

/* Eight bf16, widened. (Written out: GCC 12 widens in halves and puts them together.) */
static inline lanes lanes_load_bf16(const uint16_t *p)
{
#if defined(__AVX2__)
    return (lanes)_mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)p)), 16);
#else
    typedef uint16_t halves __attribute__((vector_size(16)));
    typedef uint32_t words __attribute__((vector_size(32)));
    halves h;
    memcpy(&h, p, sizeof h);
    return (lanes)(__builtin_convertvector(h, words) << 16);
#endif
}

static inline float lanes_sum(lanes v)
{
    return ((v[0] + v[4]) + (v[2] + v[6])) + ((v[1] + v[5]) + (v[3] + v[7]));
}

/* e^x within about 2 units in the last place; 0 below -87.3, infinity above 88.3; NaN stays NaN.
 * x = n ln 2 + r with |r| <= ln 2 / 2; e^r by its Taylor polynomial of degree 7, e^x = 2^n e^r. */
static inline lanes lanes_exp(lanes x)
{
    const lanes log2e = lanes_all(1.44269504f),
                magic = lanes_all(12582912.0f); /* 1.5 * 2^23: adding it rounds */
    lanes n = (x * log2e + magic) - magic;
    lanes r = lanes_fma(n, lanes_all(-0.693359375f), x);
    r = lanes_fma(n, lanes_all(2.12194440e-4f), r);
    lanes p = lanes_all(1.0f / 5040);
    p = lanes_fma(p, r, lanes_all(1.0f / 720));
    p = lanes_fma(p, r, lanes_all(1.0f / 120));
    p = lanes_fma(p, r, lanes_all(1.0f / 24));
    p = lanes_fma(p, r, lanes_all(1.0f / 6));
    p = lanes_fma(p, r, lanes_all(0.5f));
    p = lanes_fma(p, r, lanes_all(1.0f));
    p = lanes_fma(p, r, lanes_all(1.0f));
    lanes clamped = (lanes)(((lanes_int)(n > -126.0f) & (lanes_int)n) |
                            ((lanes_int)(n <= -126.0f) & (lanes_int)lanes_all(-126.0f)));
    clamped = (lanes)(((lanes_int)(clamped < 127.0f) & (lanes_int)clamped) |
                      ((lanes_int)(clamped >= 127.0f) & (lanes_int)lanes_all(127.0f)));
    lanes_int exponent = (__builtin_convertvector(clamped, lanes_int) + 127) << 23;
    lanes e = p * (lanes)exponent;
    lanes_int low = x<-87.3f, high = x> 88.3f, nan = x != x;
    e = (lanes)(~low & (lanes_int)e);
    e = (lanes)((high & (lanes_int)lanes_all(__builtin_inff())) | (~high & (lanes_int)e));
    return (lanes)((nan & (lanes_int)x) | (~nan & (lanes_int)e));
}
