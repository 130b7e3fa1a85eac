#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "tests/kernels/emulated.h"

/* Unsigned bytes of `a` times signed bytes of `b`, added in fours. */
static inline __m256i dpbusd(__m256i sum, __m256i a, __m256i b)
{
    uint8_t left[32];
    int8_t right[32];
    int32_t total[8];
    memcpy(left, &a, sizeof left);
    memcpy(right, &b, sizeof right);
    memcpy(total, &sum, sizeof total);
    for (int i = 0; i < 32; i++)
        total[i / 4] += left[i] * right[i];
    memcpy(&sum, total, sizeof sum);
    return sum;
}

#define _mm256_dpbusd_avx_epi32 dpbusd
#define qgemm_avxvnni emulated_avxvnni
#include "core/kernels/x86/qgemm_avxvnni.c"
