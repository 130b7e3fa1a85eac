#include "core/kernels/backward.h"
#include "core/kernels/cpu.h"

void backward_rms_norm(float *dx, float *dweight, const float *dy, const float *x, const float *weight,
                       float eps, int n)
{
    cpu_kernels()->backward->rms_norm(dx, dweight, dy, x, weight, eps, n);
}

void backward_layer_norm(float *dx, float *dweight, float *dbias, const float *dy, const float *x,
                         const float *weight, float eps, int n)
{
    cpu_kernels()->backward->layer_norm(dx, dweight, dbias, dy, x, weight, eps, n);
}

void backward_silu_gate(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n)
{
    cpu_kernels()->backward->silu_gate(dgate, dup, dy, gate, up, n);
}

void backward_gelu_tanh(float *dx, const float *dy, const float *x, int n)
{
    cpu_kernels()->backward->gelu_tanh(dx, dy, x, n);
}
