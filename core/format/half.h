/* f16, IEEE's 16-bit floats, in integer operations: the same on every machine, and vectors where the compiler
 * makes them. */
#pragma once
#include <stdint.h>
#include <string.h>

/* Exact. NaN stays NaN. */
static inline float half_widen(uint16_t half)
{
    uint32_t magnitude = (uint32_t)(half & 0x7FFF) << 13, sign = (uint32_t)(half & 0x8000) << 16, bits;
    float x;
    memcpy(&x, &magnitude, sizeof x);
    x *= 0x1p112f; /* the exponents' biases differ so much; denormal halves become normal floats */
    memcpy(&bits, &x, sizeof bits);
    bits |= magnitude >= 0x0F800000 ? 0x7F800000 : 0;
    bits |= magnitude > 0x0F800000 ? 0x00400000 : 0;
    bits |= sign;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* To the nearest, ties to even; what is too large becomes infinite, and NaN stays NaN. */
static inline uint16_t half_of(float x)
{
    uint32_t bits, magnitude;
    memcpy(&bits, &x, sizeof bits);
    uint16_t sign = (uint16_t)(bits >> 16 & 0x8000);
    magnitude = bits & 0x7FFFFFFF;
    if (magnitude > 0x7F800000)
        return (uint16_t)(sign | 0x7E00);
    if (magnitude >= 0x477FF000) /* 65520: halfway between the largest and what would come next */
        return (uint16_t)(sign | 0x7C00);
    if (magnitude >= 0x38800000) /* 2^-14: normal */
        return (uint16_t)(sign | (magnitude + 0xFFF + (magnitude >> 13 & 1) - 0x38000000) >> 13);
    float shifted;
    memcpy(&shifted, &magnitude, sizeof shifted);
    shifted += 0.5f; /* whose last place is a denormal half's: the addition rounds */
    memcpy(&magnitude, &shifted, sizeof magnitude);
    return (uint16_t)(sign | (magnitude - 0x3F000000));
}
