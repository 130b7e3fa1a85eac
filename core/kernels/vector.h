/* Float loops whose result for one row depends on that row alone: every sum has one fixed order. Any
 * thread. */
#pragma once
#include <stddef.h>

/* Sum of a[i] * b[i]. */
float vector_dot(const float *a, const float *b, int n);
/* y[i] += c * x[i] */
void vector_add_scaled(float *y, const float *x, float c, int n);
/* y[i] += x[i] */
void vector_add(float *y, const float *x, int n);
/* y[i] *= x[i] */
void vector_multiply(float *y, const float *x, int n);

/* y[i] *= c */
void vector_scale(float *y, float c, int n);

/* y = x / sqrt(mean(x^2) + eps) * (weight + plus) (Zhang and Sennrich 2019) */
void vector_rms_norm(float *y, const float *x, const float *weight, float plus, float eps, int n);
/* y = (x - mean) / sqrt(variance + eps) * weight + bias; bias may be NULL */
void vector_layer_norm(float *y, const float *x, const float *weight, const float *bias, float eps, int n);

/* y[i] = silu(gate[i]) * up[i] */
void vector_silu_gate(float *y, const float *gate, const float *up, int n);
/* The tanh form of GELU, in place. */
void vector_gelu_tanh(float *y, int n);
void vector_relu(float *y, int n);

/* The largest magnitude; infinite or NaN where an element is. 0 of nothing. */
float vector_largest(const float *x, size_t n);

/* y[i] = cap tanh(y[i] / cap) */
void vector_cap(float *y, float cap, int n);

/* Rotate the pairs (x[2i], x[2i + 1]) by angles given as cosines and sines [n/2]. */
void vector_rotate_neighbours(float *x, const float *cosine, const float *sine, int n);
/* Of the pairs (x[i], x[i + n/2]) (Su et al. 2021). */
void vector_rotate(float *x, const float *cosine, const float *sine, int n);

/* Index of the largest element, the lowest of equal ones; NaN is never the largest. 0 where nothing is above
 * -infinity. */
int vector_argmax(const float *x, int n);
