/* The one table of kernels: all that computes, for one kind of CPU, and the data that it works on. Any
 * thread.
 *
 * A variant is a row of the list in cpu.c: how it multiplies packed weights, the thin products of adapters,
 * attention, vectors. Each part may be another variant's, too. All variants do the same float operations in
 * the same order and agree to the last bit, but where `own_order` says otherwise. The parts that every
 * machine has are in core/kernels, compiled for the plainest CPU; the others in a folder of their
 * architecture, whose files alone are compiled for more. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/kernels/linear.h"

/* ---- products of packed weights; r16.h has their layout ---- */

struct packed;
struct activation;

struct qgemm_kernels {
    /* Quantize row `row` of a matrix, x [cols], into the memory under the view; NULL: zeros, behind the
     * last. */
    void (*pack_row)(const struct packed *p, int row, const float *x);
    /* Quantize one token's x [cols], cols_padded of them with zeros behind, into its row of an activation. */
    void (*quantize)(const float *x, int cols, int8_t *q, float *scale, int32_t *sum);
    /* One token's q as this variant multiplies it when there are many tokens; NULL where it has no use for
     * that. */
    void (*widen)(const int8_t *q, int cols_padded, int16_t *wide);
    /* y[t][row - 16 * begin] = row of the matrix times token t, for the rows of panels [begin, end) and
     * tokens [0, tokens). y: [tokens, stride]; whole panels are written. */
    void (*multiply_int8)(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride);
    void (*multiply_int4)(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride);
};

/* ---- low rank ---- */

/* A and B of one linear layer, f32 or bf16. */
struct lowrank {
    int rank;
    bool bf16;
    const void *a; /* [rank, in] */
    const void *b; /* [blocks of LINEAR_ROWS rows, rank, LINEAR_ROWS]: B with the scale folded in; a block's
                    * part, which one worker reads, lies together. lowrank_b_at says where B[row][r] is */
};

struct lowrank_kernels { /* as lowrank_shrink and lowrank_expand in lowrank.h */
    void (*shrink)(const struct lowrank *l, const float *x, size_t x_stride, int tokens, float *t,
                   size_t t_stride, int in, int begin, int end);
    void (*expand)(const struct lowrank *l, const float *t, size_t t_stride, int tokens, float *y,
                   size_t y_stride, int row, int rows);
};

/* ---- attention ---- */

enum { ATTENTION_KEYS = 32, ATTENTION_QUERIES = 48 /* of a tile, at most */ };
enum kv_type {
    KV_F32,
    KV_BF16,
    KV_INT8 /* one f32 scale per key and per value, behind the page */
};

struct attention_tile {
    enum kv_type type; /* of the pages */
    int dim, padded;   /* padded: dim rounded up to whole steps of the kernels */
    float scale;
    float cap;    /* scores become cap tanh(score / cap); 0: they do not */
    float *query; /* [ATTENTION_QUERIES, dim], as the kernels lay them, and some rows more that may be read */
    float *sum;   /* [ATTENTION_QUERIES, padded] weighted values so far */
    float *weight;           /* [ATTENTION_QUERIES, 32] of the page in hand */
    float *largest;          /* [ATTENTION_QUERIES] score so far */
    float *total;            /* [ATTENTION_QUERIES] of the weights so far */
    float *keys;             /* [dim, 32] of the page in hand */
    float *values;           /* [32, padded] */
    const void *page_values; /* as they are kept, for kernels that come back to them */
};

/* The keys [begin, end) of a page; at least one of its 32. */
struct attention_span {
    int begin, end;
};

struct attention_kernels { /* as attention_query, attention_page and attention_add in attention.h */
    bool own_order;        /* adds in an order of its own: near the others, but not to the last bit */
    void (*query)(struct attention_tile *t, int index, const float *query);
    void (*page)(struct attention_tile *t, const void *keys, const void *values);
    void (*add)(struct attention_tile *t, int first, int count, struct attention_span keys);
};

/* ---- vectors ---- */

struct vector_kernels { /* as the functions of vector.h */
    float (*dot)(const float *a, const float *b, int n);
    void (*add_scaled)(float *y, const float *x, float c, int n);
    void (*add)(float *y, const float *x, int n);
    void (*multiply)(float *y, const float *x, int n);
    void (*rms_norm)(float *y, const float *x, const float *weight, float plus, float eps, int n);
    void (*layer_norm)(float *y, const float *x, const float *weight, const float *bias, float eps, int n);
    void (*silu_gate)(float *y, const float *gate, const float *up, int n);
    void (*gelu_tanh)(float *y, int n);
    void (*relu)(float *y, int n);
    float (*largest)(const float *x, size_t n);
    void (*rotate)(float *x, const float *cosine, const float *sine, int n);
    int (*argmax)(const float *x, int n);
};

/* ---- training ---- */

/* out[i][k] = sum over j of left[i][j] * right[j][k]: one chain of fused multiply-adds for each number, in
 * the order of j. */
struct backward_product {
    const float *left, *right;
    float *out;
    size_t left_row, left_sum;       /* from one i to the next, from one j to the next */
    size_t right_stride, out_stride; /* from one j, one i to the next */
    int rows, sum, cols;             /* of i, j, k */
    bool further;                    /* the chains go on from what out holds */
};

struct backward_kernels { /* as the functions of backward.h */
    void (*product)(const struct backward_product *p);
    /* Rows [row, row + rows) and columns [begin, end) of a packed matrix as f32 [rows, stride]. */
    void (*widen)(const struct packed *p, int row, int rows, int begin, int end, float *out, int stride);
    /* The sum of e^(x - largest); `keep`: they are left in x. */
    double (*exponentials)(float *x, int n, float largest, bool keep);
    void (*scale)(float *x, float c, int n);
    void (*rms_norm)(float *dx, float *dweight, const float *dy, const float *x, const float *weight,
                     float plus, float eps, int n);
    void (*layer_norm)(float *dx, float *dweight, float *dbias, const float *dy, const float *x,
                       const float *weight, float eps, int n);
    void (*silu_gate)(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n);
    void (*gelu_tanh)(float *dx, const float *dy, const float *x, int n);
};

/* The gradient of a linear layer's outputs, ready to be multiplied. */
struct backward_input {
    const float *dy;          /* [tokens, stride] */
    int stride, tokens, rows; /* rows: outputs of the layer */
    void
        *prepared; /* [backward_input_bytes], aligned to 64: the same for the kernels; NULL where that is 0 */
};

enum {
    BACKWARD_COLS = 4 * LINEAR_ROWS, /* of W, at a time at most */
    BACKWARD_ROWS = 512              /* of W, in a stretch at most */
};

/* How many stretches `rows` of W are. */
static inline int backward_stretches(int rows)
{
    return (rows + BACKWARD_ROWS - 1) / BACKWARD_ROWS;
}

/* Packed weights and gradients in bf16, with f32 sums in an order of their own: as backward_prepare and
 * backward_stretch. `prepared` is of tiles of 16 tokens by 32 rows, [tokens / 16, rows / 32, 16, 32]; tokens
 * and rows are padded with zeros to whole 32. */
struct backward_half_kernels {
    void (*prepare)(const struct backward_input *in, int begin, int end);
    void (*multiply)(const struct packed *p, int begin, int end, int stretch, const struct backward_input *in,
                     float *dx, int dx_stride, float *scratch);
};

/* ---- the table ---- */

struct kernels {
    const char *name;   /* as ADAPTERD_KERNELS has it */
    bool (*runs)(void); /* on this CPU? */
    const struct qgemm_kernels *qgemm;
    const struct lowrank_kernels *lowrank;
    const struct attention_kernels *attention;
    const struct vector_kernels *vector;
    const struct backward_kernels *backward;
    const struct backward_half_kernels *backward_half; /* NULL: packed weights are widened to f32 */
};

/* Plain C. */
extern const struct qgemm_kernels qgemm_plain;
extern const struct lowrank_kernels lowrank_plain;
extern const struct attention_kernels attention_plain;
extern const struct vector_kernels vector_plain;
extern const struct backward_kernels backward_plain;
