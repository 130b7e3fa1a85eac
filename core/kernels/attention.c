#include "core/kernels/attention.h"

#include <math.h>

#include <string.h>

#include "core/format/bf16.h"
#include "core/kernels/cpu.h"

enum {
    STEP = 32,  /* dimensions that the kernels mix at a time, at most */
    BEHIND = 16 /* queries that they may read behind the last */
};

size_t attention_page_bytes(enum kv_type t, int dim)
{
    static const size_t sizes[] = {[KV_F32] = sizeof(float), [KV_BF16] = sizeof(uint16_t), [KV_INT8] = 1};
    return ATTENTION_KEYS * ((size_t)dim * sizes[t] + (t == KV_INT8 ? sizeof(float) : 0));
}

/* The scales of an int8 page. */
static float *scales_of(void *page, int dim)
{
    return (float *)((char *)page + ATTENTION_KEYS * (size_t)dim);
}

/* Put number `index` of the page, divided by the scale where it is int8. */
static void put(enum kv_type type, void *page, size_t index, float x, float inverse)
{
    if (type == KV_F32)
        ((float *)page)[index] = x;
    else if (type == KV_BF16)
        ((uint16_t *)page)[index] = bf16_of(x);
    else
        ((int8_t *)page)[index] = (int8_t)lrintf(x * inverse);
}

/* One token's vector into its slot; `first` and `step` say where its numbers lie. */
static void put_vector(enum kv_type type, void *page, int slot, const float *x, int dim, size_t first,
                       size_t step)
{
    float largest = 0;
    for (int d = 0; type == KV_INT8 && d < dim; d++)
        largest = fabsf(x[d]) > largest ? fabsf(x[d]) : largest;
    float inverse = largest > 0 ? 127.0f / largest : 0;
    if (type == KV_INT8)
        scales_of(page, dim)[slot] = largest / 127.0f;
    for (int d = 0; d < dim; d++)
        put(type, page, first + (size_t)d * step, x[d], inverse);
}

void attention_put(enum kv_type type, void *keys, void *values, int slot, const float *key,
                   const float *value, int dim)
{
    put_vector(type, keys, slot, key, dim, (size_t)slot, ATTENTION_KEYS);
    put_vector(type, values, slot, value, dim, (size_t)slot * (size_t)dim, 1);
}

/* ---- the tile ---- */

static int padded(int dim)
{
    return (dim + STEP - 1) / STEP * STEP;
}

size_t attention_scratch(int dim)
{
    size_t query = (size_t)dim + (size_t)padded(dim) + ATTENTION_KEYS + 2;
    return ATTENTION_QUERIES * query + BEHIND * (size_t)dim +
           ATTENTION_KEYS * ((size_t)dim + (size_t)padded(dim));
}

void attention_begin(struct attention_tile *t, enum kv_type type, int dim, float *scratch)
{
    size_t width = (size_t)padded(dim);
    *t = (struct attention_tile){
        .type = type, .dim = dim, .padded = (int)width, .scale = 1.0f / sqrtf((float)dim)};
    t->keys = scratch;
    t->values = t->keys + (size_t)dim * ATTENTION_KEYS;
    t->sum = t->values + ATTENTION_KEYS * width;
    t->weight = t->sum + ATTENTION_QUERIES * width;
    t->largest = t->weight + ATTENTION_QUERIES * ATTENTION_KEYS;
    t->total = t->largest + ATTENTION_QUERIES;
    t->query = t->total + ATTENTION_QUERIES;
}

void attention_query(struct attention_tile *t, int index, const float *query)
{
    cpu_kernels()->attention->query(t, index, query);
    memset(t->sum + (size_t)index * (size_t)t->padded, 0, (size_t)t->padded * sizeof *t->sum);
    t->largest[index] = -INFINITY;
    t->total[index] = 0;
}

void attention_result(const struct attention_tile *t, int index, float *out)
{
    const float *sum = t->sum + (size_t)index * (size_t)t->padded;
    float inverse = 1.0f / t->total[index];
    for (int d = 0; d < t->dim; d++)
        out[d] = sum[d] * inverse;
}

void attention_page(struct attention_tile *t, const void *keys, const void *values)
{
    cpu_kernels()->attention->page(t, keys, values);
}

void attention_add(struct attention_tile *t, int first, int count, struct attention_span keys)
{
    cpu_kernels()->attention->add(t, first, count, keys);
}
