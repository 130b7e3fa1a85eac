#include "core/kernels/vector.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "core/kernels/simd.h"

float vector_dot(const float *a, const float *b, int n)
{
    simd sum[4] = {{0}, {0}, {0}, {0}};
    int i = 0;
    for (; i + 4 * SIMD_LANES <= n; i += 4 * SIMD_LANES)
        for (int k = 0; k < 4; k++)
            sum[k] = simd_fma(simd_load(a + i + k * SIMD_LANES), simd_load(b + i + k * SIMD_LANES), sum[k]);
    for (; i + SIMD_LANES <= n; i += SIMD_LANES)
        sum[0] = simd_fma(simd_load(a + i), simd_load(b + i), sum[0]);
    float tail = 0;
    for (; i < n; i++)
        tail += a[i] * b[i];
    return simd_sum((sum[0] + sum[1]) + (sum[2] + sum[3])) + tail;
}

void vector_add_scaled(float *y, const float *x, float c, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += c * x[i];
}

void vector_add(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        y[i] += x[i];
}

void vector_multiply(float *y, const float *x, int n)
{
    for (int i = 0; i < n; i++)
        y[i] *= x[i];
}

void vector_rms_norm(float *y, const float *x, const float *weight, float eps, int n)
{
    float inverse = 1.0f / sqrtf(vector_dot(x, x, n) / (float)n + eps);
    for (int i = 0; i < n; i++)
        y[i] = x[i] * inverse * weight[i];
}

void vector_layer_norm(float *y, const float *x, const float *weight, const float *bias, float eps, int n)
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
        y[i] = (x[i] - mean) * inverse * weight[i] + bias[i];
}

static simd silu_gate(simd gate, simd up)
{
    return gate / (1.0f + simd_exp(-gate)) * up;
}

void vector_silu_gate(float *y, const float *gate, const float *up, int n)
{
    int i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES)
        simd_store(y + i, silu_gate(simd_load(gate + i), simd_load(up + i)));
    for (; i < n; i++)
        y[i] = silu_gate(simd_all(gate[i]), simd_all(up[i]))[0];
}

void vector_gelu_tanh(float *y, int n)
{
    const float root = 0.7978845608028654f; /* sqrt(2 / pi) */
    for (int i = 0; i < n; i++) {
        float x = y[i];
        y[i] = 0.5f * x * (1.0f + tanhf(root * (x + 0.044715f * x * x * x)));
    }
}

void vector_relu(float *y, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = y[i] > 0 ? y[i] : y[i] != y[i] ? y[i] : 0;
}

/* Magnitudes of floats are ordered as their bits are, infinities and then NaNs above all others. */
float vector_largest(const float *x, size_t n)
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

void vector_rotate(float *x, const float *cosine, const float *sine, int n)
{
    int half = n / 2;
    for (int i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

int vector_argmax(const float *x, int n)
{
    simd best = simd_all(-INFINITY);
    simd_int at = {0}, index = {0, 1, 2, 3, 4, 5, 6, 7};
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
