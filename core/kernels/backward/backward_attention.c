#include "core/kernels/backward.h"

#include <math.h>
#include <string.h>

#include "core/kernels/cpu.h"
#include "core/kernels/vector.h"

enum { QUERIES = 32 /* neighbouring queries of one head, computed together */ };

/* Keys and values, a dimension after the other, and what some queries have to do with all keys they see. */
struct work {
    float *keys, *values;     /* [dim, tokens] */
    float *weight, *gradient; /* [QUERIES, tokens]: of the softmax's results, then of the scores */
    float *capped;            /* [QUERIES, tokens] the scores, where they are capped */
};

size_t backward_attention_scratch(int tokens, int dim, bool capped)
{
    return (size_t)tokens * (2 * (size_t)dim + (capped ? 3 : 2) * QUERIES);
}

static struct work lay_out(const struct backward_attention *a, float *scratch)
{
    size_t turned = (size_t)a->tokens * (size_t)a->dim, shared = (size_t)a->tokens * QUERIES;
    return (struct work){scratch, scratch + turned, scratch + 2 * turned, scratch + 2 * turned + shared,
                         scratch + 2 * (turned + shared)};
}

/* Some queries of one head, and the keys that they see. */
struct queries {
    int at;           /* of the head in a row */
    int first, count; /* tokens */
    int begin, end;   /* keys */
};

static int first_key(const struct backward_attention *a, int token)
{
    return a->window > 0 && token >= a->window ? token - a->window + 1 : 0;
}

static void turn(const struct backward_attention *a, const float *x, float *out)
{
    for (int t = 0; t < a->tokens; t++)
        for (int d = 0; d < a->dim; d++)
            out[(size_t)d * (size_t)a->tokens + (size_t)t] = x[(size_t)t * (size_t)a->qkv_stride + (size_t)d];
}

/* What each query says of each key: x[query] . turned[key]. */
static void compare(const struct backward_attention *a, const struct queries *q, const float *x, int stride,
                    const float *turned, float *out)
{
    cpu_kernels()->backward->product(
        &(struct backward_product){.left = x + (size_t)q->first * (size_t)stride + q->at,
                                   .left_row = (size_t)stride,
                                   .left_sum = 1,
                                   .right = turned + q->begin,
                                   .right_stride = (size_t)a->tokens,
                                   .out = out,
                                   .out_stride = (size_t)a->tokens,
                                   .rows = q->count,
                                   .sum = a->dim,
                                   .cols = q->end - q->begin});
}

/* Scores become weights; keys that the query does not see weigh nothing. capped: room for the scores. */
static void soften(const struct backward_attention *a, const struct queries *q, int i, float *p,
                   float *capped)
{
    const struct backward_kernels *k = cpu_kernels()->backward;
    int token = q->first + i, begin = first_key(a, token) - q->begin, end = token + 1 - q->begin;
    memset(p, 0, (size_t)begin * sizeof *p);
    memset(p + end, 0, (size_t)(q->end - q->begin - end) * sizeof *p);
    k->scale(p + begin, a->scale, end - begin);
    if (a->cap > 0) {
        vector_cap(p + begin, a->cap, end - begin);
        memcpy(capped + begin, p + begin, (size_t)(end - begin) * sizeof *p);
    }
    float largest = p[begin + vector_argmax(p + begin, end - begin)];
    double sum = k->exponentials(p + begin, end - begin, largest, true);
    k->scale(p + begin, (float)(1 / sum), end - begin);
}

/* The gradient of query i's scores, from that of its weights. */
static void of_scores(const struct backward_attention *a, const struct queries *q, int i, const float *p,
                      const float *capped, float *gradient)
{
    size_t token = (size_t)(q->first + i);
    float mean = vector_dot(a->dout + token * (size_t)a->dout_stride + q->at,
                            a->out + token * (size_t)a->out_stride + q->at, a->dim);
    for (int j = 0; j < q->end - q->begin; j++)
        gradient[j] = p[j] == 0 ? 0 : a->scale * p[j] * (gradient[j] - mean);
    int token_at = q->first + i, begin = first_key(a, token_at) - q->begin, end = token_at + 1 - q->begin;
    if (a->cap > 0)
        backward_cap(gradient + begin, capped + begin, a->cap, end - begin);
}

/* dk or dv of the keys, from what the queries weigh them by and x of the queries. */
static void add_to_keys(const struct backward_attention *a, const struct queries *q, const float *weight,
                        const float *x, int stride, float *out)
{
    cpu_kernels()->backward->product(
        &(struct backward_product){.left = weight,
                                   .left_row = 1,
                                   .left_sum = (size_t)a->tokens,
                                   .right = x + (size_t)q->first * (size_t)stride + q->at,
                                   .right_stride = (size_t)stride,
                                   .out = out + (size_t)q->begin * (size_t)a->dqkv_stride,
                                   .out_stride = (size_t)a->dqkv_stride,
                                   .rows = q->end - q->begin,
                                   .sum = q->count,
                                   .cols = a->dim,
                                   .further = true});
}

static void of_queries(const struct backward_attention *a, const struct queries *q, const float *gradient)
{
    cpu_kernels()->backward->product(
        &(struct backward_product){.left = gradient,
                                   .left_row = (size_t)a->tokens,
                                   .left_sum = 1,
                                   .right = a->k + (size_t)q->begin * (size_t)a->qkv_stride,
                                   .right_stride = (size_t)a->qkv_stride,
                                   .out = a->dq + (size_t)q->first * (size_t)a->dqkv_stride + q->at,
                                   .out_stride = (size_t)a->dqkv_stride,
                                   .rows = q->count,
                                   .sum = q->end - q->begin,
                                   .cols = a->dim});
}

static void add_queries(const struct backward_attention *a, const struct queries *q, const struct work *w)
{
    compare(a, q, a->q, a->qkv_stride, w->keys, w->weight);
    compare(a, q, a->dout, a->dout_stride, w->values, w->gradient);
    for (int i = 0; i < q->count; i++) {
        size_t at = (size_t)i * (size_t)a->tokens;
        soften(a, q, i, w->weight + at, w->capped + at);
        of_scores(a, q, i, w->weight + at, w->capped + at, w->gradient + at);
    }
    add_to_keys(a, q, w->weight, a->dout, a->dout_stride, a->dv);
    add_to_keys(a, q, w->gradient, a->q, a->qkv_stride, a->dk);
    of_queries(a, q, w->gradient);
}

void backward_attention_run(const struct backward_attention *a, float *scratch)
{
    struct work w = lay_out(a, scratch);
    turn(a, a->k, w.keys);
    turn(a, a->v, w.values);
    for (int t = 0; t < a->tokens; t++) {
        memset(a->dk + (size_t)t * (size_t)a->dqkv_stride, 0, (size_t)a->dim * sizeof *a->dk);
        memset(a->dv + (size_t)t * (size_t)a->dqkv_stride, 0, (size_t)a->dim * sizeof *a->dv);
    }
    for (int head = 0; head < a->count; head++)
        for (int t = 0; t < a->tokens; t += QUERIES) {
            int count = a->tokens - t < QUERIES ? a->tokens - t : QUERIES;
            add_queries(a, &(struct queries){head * a->dim, t, count, first_key(a, t), t + count}, &w);
        }
}
