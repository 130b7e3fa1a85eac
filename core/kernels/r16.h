/* Packed weights in the layout R16. Any thread.
 *
 * A panel is 16 output rows by all k. Its lines of 64 bytes hold, for each of the 16 rows, 4 bytes:
 *   int8: 4 weights k = 4j..4j+3, stored as q + 128; one fp16 scale per row and 64 k
 *   int4: 8 weights, k = 8j..8j+3 in the low nibbles and 8j+4..8j+7 in the high ones, stored as q + 8; one
 *         fp16 scale per row and 32 k
 * The scales, 16 per panel and group, are a stream of their own. k is padded with zeros to whole groups
 * of 64.
 *
 * Activations are int8 with one f32 scale per token and 64 k. */
#pragma once
#include <stddef.h>
#include <stdint.h>

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

static inline int r16_pad(int cols) /* to whole groups of 64 */
{
    return (cols + R16_K - 1) / R16_K * R16_K;
}

static inline int r16_group(enum qgemm_bits bits) /* k that share a scale */
{
    return bits == R16_INT8 ? R16_INT8_GROUP : R16_INT4_GROUP;
}

static inline size_t r16_panel_bytes(enum qgemm_bits bits, int cols_padded) /* of its lines */
{
    return (size_t)cols_padded * R16_ROWS * (size_t)bits / 8;
}

/* Where weight (lane, k) lies in its panel: byte offset; with int4 in the high nibble where k / 4 is odd. */
static inline size_t r16_byte(enum qgemm_bits bits, int lane, int k)
{
    return (size_t)(bits == R16_INT8 ? k / 4 : k / 8) * R16_LINE + (size_t)lane * 4 + (size_t)(k % 4);
}
