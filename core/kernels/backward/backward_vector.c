#include "core/kernels/backward.h"
#include "core/kernels/cpu.h"
#include "core/kernels/vector.h"

#include <assert.h>
#include <string.h>

void backward_rms_norm(float *dx, float *dweight, const float *dy, const float *x, const float *weight,
                       float plus, float eps, int n)
{
    cpu_kernels()->backward->rms_norm(dx, dweight, dy, x, weight, plus, eps, n);
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

void backward_gelu_gate(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n)
{
    float active[BACKWARD_COLS], of_active[BACKWARD_COLS];
    assert(n <= BACKWARD_COLS);
    memcpy(active, gate, (size_t)n * sizeof *active);
    vector_gelu_tanh(active, n);
    for (int i = 0; i < n; i++)
        of_active[i] = dy[i] * up[i];
    for (int i = 0; i < n; i++)
        dup[i] = dy[i] * active[i];
    backward_gelu_tanh(dgate, of_active, gate, n);
}

void backward_cap(float *dy, const float *y, float cap, int n)
{
    for (int i = 0; i < n; i++)
        dy[i] *= 1 - y[i] / cap * (y[i] / cap);
}
