#include "core/kernels/backward.h"

#include <math.h>

#include "core/kernels/vector.h"

/* With u = dy * weight, n the normalized x: dx = (u - n mean(u n)) / rms. */
void backward_rms_norm(float *dx, float *dweight, const float *dy, const float *x, const float *weight,
                       float eps, int n)
{
    float inverse = 1.0f / sqrtf(vector_dot(x, x, n) / (float)n + eps);
    double along = 0;
    for (int i = 0; i < n; i++)
        along += (double)(dy[i] * weight[i]) * (double)x[i];
    float pull = (float)(along / n) * inverse * inverse;
    for (int i = 0; i < n; i++) {
        if (dweight)
            dweight[i] += dy[i] * x[i] * inverse;
        dx[i] += inverse * (dy[i] * weight[i] - pull * x[i]);
    }
}

static float mean_of(const float *x, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)x[i];
    return (float)(sum / n);
}

static float inverse_deviation(const float *x, float mean, float eps, int n)
{
    double squares = 0;
    for (int i = 0; i < n; i++)
        squares += (double)(x[i] - mean) * (double)(x[i] - mean);
    return 1.0f / sqrtf((float)(squares / n) + eps);
}

/* With u = dy * weight, n the normalized x: dx = (u - mean(u) - n mean(u n)) / deviation. */
void backward_layer_norm(float *dx, float *dweight, float *dbias, const float *dy, const float *x,
                         const float *weight, float eps, int n)
{
    float mean = mean_of(x, n), inverse = inverse_deviation(x, mean, eps, n);
    double level = 0, along = 0;
    for (int i = 0; i < n; i++) {
        double u = (double)(dy[i] * weight[i]);
        level += u;
        along += u * (double)((x[i] - mean) * inverse);
    }
    float shift = (float)(level / n), pull = (float)(along / n);
    for (int i = 0; i < n; i++) {
        float normal = (x[i] - mean) * inverse;
        if (dweight)
            dweight[i] += dy[i] * normal;
        if (dbias)
            dbias[i] += dy[i];
        dx[i] += inverse * (dy[i] * weight[i] - shift - normal * pull);
    }
}

void backward_silu_gate(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n)
{
    for (int i = 0; i < n; i++) {
        float s = 1.0f / (1.0f + expf(-gate[i])), silu = gate[i] * s, d = dy[i];
        dgate[i] = d * up[i] * s * (1.0f + gate[i] * (1.0f - s));
        dup[i] = d * silu;
    }
}

void backward_gelu_tanh(float *dx, const float *dy, const float *x, int n)
{
    const float root = 0.7978845608028654f; /* sqrt(2 / pi) */
    for (int i = 0; i < n; i++) {
        float v = x[i], h = tanhf(root * (v + 0.044715f * v * v * v));
        float slope =
            0.5f * (1.0f + h) + 0.5f * v * (1.0f - h * h) * root * (1.0f + 3.0f * 0.044715f * v * v);
        dx[i] = dy[i] * slope;
    }
}
