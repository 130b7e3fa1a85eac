/* Vectors, SIMD_LANES floats at a time. A file that defines VARIANT, the name of what this gives, includes it
 * once. */
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/kernels/kernels.h"
#include "core/kernels/simd/simd.h"

static float dot(const float *a, const float *b, int n)
{
    enum { CHAINS = 4, REGISTERS = CHAINS / SIMD_EIGHTS }; /* every chain adds every fourth eight */
    simd sum[REGISTERS] = {0};
    simd_eight chain[CHAINS];
    int i = 0;
    for (; i + 8 * CHAINS <= n; i += 8 * CHAINS)
        for (int k = 0; k < REGISTERS; k++)
            sum[k] = simd_fma(simd_load(a + i + k * SIMD_LANES), simd_load(b + i + k * SIMD_LANES), sum[k]);
    for (int k = 0; k < CHAINS; k++)
        chain[k] = simd_part(sum[k / SIMD_EIGHTS], k % SIMD_EIGHTS);
    for (; i + 8 <= n; i += 8)
        chain[0] = simd_eight_fma(simd_eight_load(a + i), simd_eight_load(b + i), chain[0]);
    float tail = 0;
    for (; i < n; i++)
        tail += a[i] * b[i];
    return simd_sum((chain[0] + chain[1]) + (chain[2] + chain[3])) + tail;
}

static void add_scaled(float *y, const float *x, float c, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += c * x[i];
}

static void add(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += x[i];
}

static void multiply(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        y[i] *= x[i];
}

static void rms_norm(float *y, const float *x, const float *weight, float plus, float eps, int n)
{
    float inverse = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * inverse * (weight[i] + plus);
}

static void layer_norm(float *y, const float *x, const float *weight, const float *bias, float eps, int n)
{
    double sum = 0, squares = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i];
    float mean = (float)(sum / n);
    for (int i = 0; i < n; i++) {
        float d = x[i] - mean;
        squares += (double)d * (double)d;
    }
    float inverse = 1.0f / sqrtf((float)(squares / n) + eps);
    for (int i = 0; i < n; i++)
        y[i] = (x[i] - mean) * inverse * weight[i];
    for (int i = 0; bias && i < n; i++)
        y[i] += bias[i];
}

static simd silu_gate_lanes(simd gate, simd up)
{
    return gate / (1.0f + simd_exp(-gate)) * up;
}

static void silu_gate(float *y, const float *gate, const float *up, int n)
{
    int i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES)
        simd_store(y + i, silu_gate_lanes(simd_load(gate + i), simd_load(up + i)));
    for (; i < n; i++)
        y[i] = silu_gate_lanes(simd_all(gate[i]), simd_all(up[i]))[0];
}

static void gelu_tanh(float *y, int n)
{
    const float root = 0.7978845608028654f; /* sqrt(2 / pi) */
    for (int i = 0; i < n; i++) {
        float x = y[i];
        y[i] = 0.5f * x * (1.0f + tanhf(root * (x + 0.044715f * x * x * x)));
    }
}

static void relu(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] > 0 ? y[i] : y[i] != y[i] ? y[i] : 0;
}

/* Magnitudes of floats are ordered as their bits are, infinities and then NaNs above all others. */
static float largest(const float *x, size_t n)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        bits &= 0x7FFFFFFF;
        largest = bits > largest ? bits : largest;
    }
    float result;
    memcpy(&result, &largest, sizeof result);
    return result;
}

static void rotate(float *x, const float *cosine, const float *sine, int n)
{
    int half = n / 2;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

static int argmax(const float *x, int n)
{
    simd best = simd_all(-INFINITY);
    simd_int at = {0}, index = {0};
    for (int l = 0; l < SIMD_LANES; l++)
        index[l] = l;
    int i = 0, winner = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES, index += SIMD_LANES) {
        simd v = simd_load(x + i);
        simd_int above = v > best;
        best = (simd)((above & (simd_int)v) | (~above & (simd_int)best));
        at = (above & index) | (~above & at);
    }
    float largest = -INFINITY;
    for (int l = 0; l < SIMD_LANES; l++)
        if (best[l] > largest || (best[l] == largest && best[l] > -INFINITY && at[l] < winner)) {
            largest = best[l];
            winner = at[l];
        }
    for (; i < n; i++)
        if (x[i] > largest) {
            largest = x[i];
            winner = i;
        }
    return winner;
}

const struct vector_kernels VARIANT = {.dot = dot,
                                       .add_scaled = add_scaled,
                                       .add = add,
                                       .multiply = multiply,
                                       .rms_norm = rms_norm,
                                       .layer_norm = layer_norm,
                                       .silu_gate = silu_gate,
                                       .gelu_tanh = gelu_tanh,
                                       .relu = relu,
                                       .largest = largest,
                                       .rotate = rotate,
                                       .argmax = argmax};
