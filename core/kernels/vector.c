#include "core/kernels/vector.h"

#include <math.h>

#include "core/kernels/cpu.h"

float vector_dot(const float *a, const float *b, int n)
{
    return cpu_kernels()->vector->dot(a, b, n);
}

void vector_add_scaled(float *y, const float *x, float c, int n)
{
    cpu_kernels()->vector->add_scaled(y, x, c, n);
}

void vector_add(float *y, const float *x, int n)
{
    cpu_kernels()->vector->add(y, x, n);
}

void vector_scale(float *y, float c, int n)
{
    for (int i = 0; i < n; i++)
        y[i] *= c;
}

void vector_multiply(float *y, const float *x, int n)
{
    cpu_kernels()->vector->multiply(y, x, n);
}

void vector_rms_norm(float *y, const float *x, const float *weight, float plus, float eps, int n)
{
    cpu_kernels()->vector->rms_norm(y, x, weight, plus, eps, n);
}

void vector_layer_norm(float *y, const float *x, const float *weight, const float *bias, float eps, int n)
{
    cpu_kernels()->vector->layer_norm(y, x, weight, bias, eps, n);
}

void vector_silu_gate(float *y, const float *gate, const float *up, int n)
{
    cpu_kernels()->vector->silu_gate(y, gate, up, n);
}

void vector_gelu_tanh(float *y, int n)
{
    cpu_kernels()->vector->gelu_tanh(y, n);
}

void vector_relu(float *y, int n)
{
    cpu_kernels()->vector->relu(y, n);
}

float vector_largest(const float *x, size_t n)
{
    return cpu_kernels()->vector->largest(x, n);
}

void vector_rotate(float *x, const float *cosine, const float *sine, int n)
{
    cpu_kernels()->vector->rotate(x, cosine, sine, n);
}

void vector_cap(float *y, float cap, int n)
{
    for (int i = 0; i < n; i++)
        y[i] = cap * tanhf(y[i] / cap);
}

void vector_rotate_neighbours(float *x, const float *cosine, const float *sine, int n)
{
    for (int i = 0; i < n / 2; i++) {
        float a = x[2 * i], b = x[2 * i + 1];
        x[2 * i] = a * cosine[i] - b * sine[i];
        x[2 * i + 1] = b * cosine[i] + a * sine[i];
    }
}

int vector_argmax(const float *x, int n)
{
    return cpu_kernels()->vector->argmax(x, n);
}
