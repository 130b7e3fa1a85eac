#include "core/kernels/backward.h"

#include <math.h>
#include <string.h>

#include "core/kernels/vector.h"

size_t backward_attention_scratch(int tokens, int count, int dim)
{
    (void)count;
    (void)dim;
    return (size_t)tokens;
}

static const float *row_of(const float *x, int t, int stride)
{
    return x + (size_t)t * (size_t)stride;
}

/* What query `t` weighs the keys [begin, t] by. */
static void weigh(const struct backward_attention *a, const float *q, int begin, int t, float *p)
{
    float largest = -INFINITY, sum = 0;
    for (int j = begin; j <= t; j++) {
        p[j] = a->scale * vector_dot(q, row_of(a->k, j, a->qkv_stride), a->dim);
        largest = p[j] > largest ? p[j] : largest;
    }
    for (int j = begin; j <= t; j++)
        sum += p[j] = expf(p[j] - largest);
    for (int j = begin; j <= t; j++)
        p[j] /= sum;
}

/* Query `t` of one head, whose first number stands at `at`. */
static void add_query(const struct backward_attention *a, int at, int t, float *p)
{
    const float *q = row_of(a->q, t, a->qkv_stride) + at, *dout = row_of(a->dout, t, a->dout_stride) + at;
    float *dq = a->dq + (size_t)t * (size_t)a->dqkv_stride + at;
    float drift = vector_dot(dout, row_of(a->out, t, a->out_stride) + at, a->dim);
    int begin = a->window > 0 && t >= a->window ? t - a->window + 1 : 0;
    memset(dq, 0, (size_t)a->dim * sizeof *dq);
    weigh(a, q, begin, t, p);
    for (int j = begin; j <= t; j++) {
        size_t key = (size_t)j * (size_t)a->dqkv_stride;
        float ds = a->scale * p[j] * (vector_dot(dout, row_of(a->v, j, a->qkv_stride), a->dim) - drift);
        vector_add_scaled(a->dv + key, dout, p[j], a->dim);
        vector_add_scaled(a->dk + key, q, ds, a->dim);
        vector_add_scaled(dq, row_of(a->k, j, a->qkv_stride), ds, a->dim);
    }
}

void backward_attention_run(const struct backward_attention *a, float *scratch)
{
    for (int t = 0; t < a->tokens; t++) {
        memset(a->dk + (size_t)t * (size_t)a->dqkv_stride, 0, (size_t)a->dim * sizeof *a->dk);
        memset(a->dv + (size_t)t * (size_t)a->dqkv_stride, 0, (size_t)a->dim * sizeof *a->dv);
    }
    for (int head = 0; head < a->count; head++)
        for (int t = 0; t < a->tokens; t++)
            add_query(a, head * a->dim, t, scratch);
}
