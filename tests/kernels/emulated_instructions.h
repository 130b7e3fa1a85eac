/* The instructions of AVX-512 that the kernels use, in C. Whoever includes this includes the kernels' source
 * next. */
#pragma once
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

struct words {
    int32_t at[16];
};
struct floats {
    float at[16];
};

#define EACH for (int i = 0; i < 16; i++)

static inline struct words set1_epi32(int32_t x)
{
    struct words r;
    EACH r.at[i] = x;
    return r;
}

static inline struct words set1_epi8(char x)
{
    struct words r;
    memset(&r, x, sizeof r);
    return r;
}

static inline struct words load_si512(const void *p)
{
    struct words r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline struct words and_si512(struct words a, struct words b)
{
    EACH a.at[i] &= b.at[i];
    return a;
}

static inline struct words srli_epi16(struct words a, int count)
{
    uint16_t halves[32];
    memcpy(halves, &a, sizeof a);
    for (int i = 0; i < 32; i++)
        halves[i] = (uint16_t)(halves[i] >> count);
    memcpy(&a, halves, sizeof a);
    return a;
}

/* Unsigned bytes of `a` times signed bytes of `b`, added in fours. */
static inline struct words dpbusd(struct words sum, struct words a, struct words b)
{
    uint8_t left[64];
    int8_t right[64];
    memcpy(left, &a, sizeof a);
    memcpy(right, &b, sizeof b);
    for (int i = 0; i < 64; i++)
        sum.at[i / 4] += left[i] * right[i];
    return sum;
}

static inline struct floats set1_ps(float x)
{
    struct floats r;
    EACH r.at[i] = x;
    return r;
}

static inline struct floats cvtph_ps(__m256i halves)
{
    struct floats r;
    uint16_t h[16];
    memcpy(h, &halves, sizeof h);
    EACH r.at[i] = _cvtsh_ss(h[i]);
    return r;
}

static inline struct floats cvtepi32_ps(struct words a)
{
    struct floats r;
    EACH r.at[i] = (float)a.at[i];
    return r;
}

static inline struct floats mul_ps(struct floats a, struct floats b)
{
    EACH a.at[i] *= b.at[i];
    return a;
}

static inline struct floats fmadd_ps(struct floats a, struct floats b, struct floats c)
{
    EACH a.at[i] = fmaf(a.at[i], b.at[i], c.at[i]);
    return a;
}

static inline void storeu_ps(float *p, struct floats a)
{
    memcpy(p, &a, sizeof a);
}

static inline struct words xor_si512(struct words a, struct words b)
{
    EACH a.at[i] ^= b.at[i];
    return a;
}

static inline struct words sub_epi8(struct words a, struct words b)
{
    uint8_t left[64], right[64];
    memcpy(left, &a, sizeof a);
    memcpy(right, &b, sizeof b);
    for (int i = 0; i < 64; i++)
        left[i] = (uint8_t)(left[i] - right[i]);
    memcpy(&a, left, sizeof a);
    return a;
}

static inline void store_si512(void *p, struct words a)
{
    memcpy(p, &a, sizeof a);
}

static inline struct floats loadu_ps(const float *p)
{
    struct floats r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline struct floats i32gather_ps(struct words index, const void *base, int scale)
{
    int32_t at[16];
    struct floats r;
    memcpy(at, &index, sizeof at);
    for (int i = 0; i < 16; i++)
        memcpy((char *)&r + (size_t)i * sizeof(float), (const char *)base + (ptrdiff_t)at[i] * scale,
               sizeof(float));
    return r;
}

/* What is no part of the test, and might not run here. */
#define qgemm_quantize_avx512 qgemm_quantize_avx2
#define __m512i struct words
#define __m512 struct floats
#define _mm512_set1_epi32 set1_epi32
#define _mm512_set1_epi8 set1_epi8
#define _mm512_load_si512 load_si512
#define _mm512_and_si512 and_si512
#define _mm512_srli_epi16 srli_epi16
#define _mm512_dpbusd_epi32 dpbusd
#define _mm512_set1_ps set1_ps
#define _mm512_setzero_ps() set1_ps(0)
#define _mm512_cvtph_ps cvtph_ps
#define _mm512_cvtepi32_ps cvtepi32_ps
#define _mm512_mul_ps mul_ps
#define _mm512_fmadd_ps fmadd_ps
#define _mm512_storeu_ps storeu_ps
#define _mm512_xor_si512 xor_si512
#define _mm512_sub_epi8 sub_epi8
#define _mm512_store_si512 store_si512
#define _mm512_loadu_ps loadu_ps
#define _mm512_i32gather_ps i32gather_ps
