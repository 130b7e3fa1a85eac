/* Norms of rows, with what a delta puts in their place. For core/forward and core/train. */
#pragma once
#include <string.h>

#include "core/delta/delta_internal.h"
#include "core/kernels/vector.h"
#include "core/model/network.h"

/* What is added to its weight. */
static inline float norm_plus(const struct norm *n)
{
    return n->kind == NORM_RMS_PLUS ? 1 : 0;
}

/* y = norm(x) [n->size] as the delta (NULL: the base) has it; y may be x. x itself where there is no such
 * norm. */
static inline void norm_row(const struct norm *n, const struct delta *delta, const float *x, float *y)
{
    if (!n->weight) {
        memmove(y, x, (size_t)n->size * sizeof *y);
        return;
    }
    const float *weight = delta_vector(delta, n->weight_parameter, n->weight),
                *bias = delta_vector(delta, n->bias_parameter, n->bias);
    if (n->kind == NORM_LAYER)
        vector_layer_norm(y, x, weight, bias, n->eps, n->size);
    else
        vector_rms_norm(y, x, weight, norm_plus(n), n->eps, n->size);
}
