/* Packed weights in the layout R16, and products with activations of int8. Any thread.
 *
 * A panel is 16 output rows by all k. Its lines of 64 bytes hold, for each of the 16 rows, 4 bytes:
 *   int8: 4 weights k = 4j..4j+3, stored as q + 128; one fp16 scale per row and 64 k
 *   int4: 8 weights, k = 8j..8j+3 in the low nibbles and 8j+4..8j+7 in the high ones, stored as q + 8; one
 * fp16 scale per row and 32 k The scales, 16 per panel and group, are a stream of their own. k is padded with
 * zeros to whole groups of 64.
 *
 * Activations are int8 with one f32 scale per token and 64 k. A product sums each group in exact integers and
 * adds the groups in order, so a token's result does not depend on how many tokens share the call. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/kernels/linear.h"

enum {
    R16_ROWS = 16,
    R16_LINE = 64,
    R16_K = 64,
    R16_SUM_K = 32,
    R16_INT8_GROUP = 64,
    R16_INT4_GROUP = 32,
    R16_WIDE_TOKENS = 24 /* from so many on, `wide` pays */
};

enum qgemm_bits { R16_INT8 = 8, R16_INT4 = 4 };

struct packed {
    enum qgemm_bits bits;
    int rows, cols; /* of the matrix */
    int panels, cols_padded;
    const uint8_t *q;      /* [panels, cols_padded * 16 * bits / 8] */
    const uint16_t *scale; /* fp16 [panels, groups, 16] */
};

/* Activations of a step, ready for products: one row per token. */
struct activation {
    int cols_padded;
    int8_t *q;     /* [tokens, cols_padded] */
    float *scale;  /* [tokens, cols_padded / 64] */
    int32_t *sum;  /* [tokens, cols_padded / 32]: of q */
    int16_t *wide; /* [tokens, cols_padded]: q once more, as `widen` lays it; NULL: none */
};

int qgemm_pad(int cols); /* to whole groups of 64 */
/* Bytes that a packed matrix takes: its lines, then its scales. */
size_t qgemm_bytes(enum qgemm_bits bits, int rows, int cols);
/* Lay the view over memory of qgemm_bytes, aligned to 64. */
void qgemm_view(struct packed *out, enum qgemm_bits bits, int rows, int cols, const void *memory);
/* Quantize the rows of panels [begin, end) of `w` into the memory under the view. scratch: [w->cols] floats.
 */
void qgemm_pack(const struct packed *p, const struct matrix *w, int begin, int end, float *scratch);
/* One row, back as f32 [cols]. */
void qgemm_unpack_row(const struct packed *p, int row, float *out);

/* One family of kernels; cpu_kernels gives the one in use. */
struct qgemm_kernels {
    const char *name;
    /* Quantize one token's x [cols], cols_padded of them with zeros behind, into its row of an activation. */
    void (*quantize)(const float *x, int cols, int8_t *q, float *scale, int32_t *sum);
    /* One token's q as the family multiplies it when there are many tokens; NULL where it has no use for
     * that.
     */
    void (*widen)(const int8_t *q, int cols_padded, int16_t *wide);
    /* y[t][row - 16 * begin] = row of the matrix times token t, for the rows of panels [begin, end) and
     * tokens [0, tokens). y: [tokens, stride]; whole panels are written. */
    void (*multiply_int8)(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride);
    void (*multiply_int4)(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride);
};
void qgemm_quantize_avx2(const float *x, int cols, int8_t *q, float *scale, int32_t *sum);
extern const struct qgemm_kernels qgemm_plain, qgemm_avx2, qgemm_avxvnni, qgemm_avx512;
