#include "core/kernels/vector.h"

#include <math.h>
#include <string.h>

enum { LANES = 8 };
typedef float lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

static lanes load(const float *p)
{
    lanes v;
    memcpy(&v, p, sizeof v);
    return v;
}

static float sum_lanes(lanes v)
{
    float a = (v[0] + v[4]) + (v[2] + v[6]);
    float b = (v[1] + v[5]) + (v[3] + v[7]);
    return a + b;
}

float vector_dot(const float *a, const float *b, int n)
{
    lanes s0 = {0}, s1 = {0}, s2 = {0}, s3 = {0};
    int i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES) {
        s0 += load(a + i) * load(b + i);
        s1 += load(a + i + LANES) * load(b + i + LANES);
        s2 += load(a + i + 2 * LANES) * load(b + i + 2 * LANES);
        s3 += load(a + i + 3 * LANES) * load(b + i + 3 * LANES);
    }
    for (; i + LANES <= n; i += LANES)
        s0 += load(a + i) * load(b + i);
    float tail = 0;
    for (; i < n; i++)
        tail += a[i] * b[i];
    return sum_lanes((s0 + s1) + (s2 + s3)) + tail;
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

void vector_silu_gate(float *y, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
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

void vector_softmax(float *y, int n)
{
    float largest = y[0], sum = 0;
    for (int i = 1; i < n; i++)
        if (y[i] > largest)
            largest = y[i];
    for (int i = 0; i < n; i++) {
        y[i] = expf(y[i] - largest);
        sum += y[i];
    }
    float inverse = 1.0f / sum;
    for (int i = 0; i < n; i++)
        y[i] *= inverse;
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
