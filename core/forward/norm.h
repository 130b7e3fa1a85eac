/* Norms of rows, with what a delta puts in their place. For core/forward and core/train. */
#pragma once
#include "core/delta/delta_internal.h"
#include "core/kernels/vector.h"
#include "core/model/network.h"

/* y = norm(x) [n->size] as the delta (NULL: the base) has it; y may be x. */
static inline void norm_row(const struct norm *n, const struct delta *delta, const float *x, float *y)
{
    const float *weight = delta_vector(delta, n->weight_parameter, n->weight),
                *bias = delta_vector(delta, n->bias_parameter, n->bias);
    if (bias)
        vector_layer_norm(y, x, weight, bias, n->eps, n->size);
    else
        vector_rms_norm(y, x, weight, n->eps, n->size);
}
