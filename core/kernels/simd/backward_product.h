/* The f32 product of training, SIMD_LANES numbers at a time. */
#pragma once
#include "core/kernels/kernels.h"
#include "core/kernels/simd/simd.h"

/* A tile of sums stands in registers while j runs: six rows by as many registers as there are for each, or
 * twelve rows by one. A stretch of j passes all tiles before the next does, so that its part of `right` stays
 * in the first-level cache. */
enum {
    PRODUCT_STRETCH = 128,
    PRODUCT_ROWS = 6,
    PRODUCT_THIN_ROWS = 12,
    PRODUCT_REGISTERS = SIMD_LANES == 16 ? 4 : 2,
    PRODUCT_WIDTH = PRODUCT_REGISTERS * SIMD_LANES
};

/* Rows by registers; both constants where this is inlined. */
static inline __attribute__((always_inline)) void product_tile(const struct backward_product *p,
                                                               const int rows, const int registers)
{
    simd sum[PRODUCT_ROWS * PRODUCT_REGISTERS];
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < registers; c++)
            sum[i * registers + c] =
                p->further ? simd_load(p->out + (size_t)i * p->out_stride + c * SIMD_LANES) : simd_all(0);
    const float *left = p->left, *right = p->right;
    const size_t left_row = p->left_row, left_sum = p->left_sum, right_stride = p->right_stride;
    for (int j = 0; j < p->sum; j++, left += left_sum, right += right_stride) {
        simd w[PRODUCT_REGISTERS];
        for (int c = 0; c < registers; c++)
            w[c] = simd_load(right + c * SIMD_LANES);
        for (int i = 0; i < rows; i++) {
            simd x = simd_all(left[(size_t)i * left_row]);
            for (int c = 0; c < registers; c++)
                sum[i * registers + c] = simd_fma(x, w[c], sum[i * registers + c]);
        }
    }
    for (int i = 0; i < rows; i++)
        for (int c = 0; c < registers; c++)
            simd_store(p->out + (size_t)i * p->out_stride + c * SIMD_LANES, sum[i * registers + c]);
}

static void product_wide(struct backward_product p)
{
    for (; p.rows >= PRODUCT_ROWS; p.rows -= PRODUCT_ROWS) {
        product_tile(&p, PRODUCT_ROWS, PRODUCT_REGISTERS);
        p.left += PRODUCT_ROWS * p.left_row;
        p.out += PRODUCT_ROWS * p.out_stride;
    }
    switch (p.rows) {
    case 5:
        product_tile(&p, 5, PRODUCT_REGISTERS);
        break;
    case 4:
        product_tile(&p, 4, PRODUCT_REGISTERS);
        break;
    case 3:
        product_tile(&p, 3, PRODUCT_REGISTERS);
        break;
    case 2:
        product_tile(&p, 2, PRODUCT_REGISTERS);
        break;
    case 1:
        product_tile(&p, 1, PRODUCT_REGISTERS);
        break;
    default:
        break;
    }
}

static void product_thin(struct backward_product p)
{
    for (; p.rows >= PRODUCT_THIN_ROWS; p.rows -= PRODUCT_THIN_ROWS) {
        product_tile(&p, PRODUCT_THIN_ROWS, 1);
        p.left += PRODUCT_THIN_ROWS * p.left_row;
        p.out += PRODUCT_THIN_ROWS * p.out_stride;
    }
    for (; p.rows >= 4; p.rows -= 4) {
        product_tile(&p, 4, 1);
        p.left += 4 * p.left_row;
        p.out += 4 * p.out_stride;
    }
    for (; p.rows > 0; p.rows--) {
        product_tile(&p, 1, 1);
        p.left += p.left_row;
        p.out += p.out_stride;
    }
}

/* Copies [rows, cols] between arrays of other strides. */
static void product_copy(float *to, size_t to_stride, const float *from, size_t from_stride, int rows,
                         int cols)
{
    for (int i = 0; i < rows; i++)
        for (int k = 0; k < cols; k++)
            to[(size_t)i * to_stride + (size_t)k] = from[(size_t)i * from_stride + (size_t)k];
}

/* Fewer columns than a register holds: in copies with zeros behind them. */
static void product_edge(struct backward_product p)
{
    float right[PRODUCT_STRETCH * SIMD_LANES] = {0}, out[PRODUCT_THIN_ROWS * SIMD_LANES] = {0};
    struct backward_product part = p;
    product_copy(right, SIMD_LANES, p.right, p.right_stride, p.sum, p.cols);
    part.right = right;
    part.right_stride = SIMD_LANES;
    part.out = out;
    part.out_stride = SIMD_LANES;
    for (int i = 0; i < p.rows; i += PRODUCT_THIN_ROWS) {
        part.rows = p.rows - i < PRODUCT_THIN_ROWS ? p.rows - i : PRODUCT_THIN_ROWS;
        part.left = p.left + (size_t)i * p.left_row;
        product_copy(out, SIMD_LANES, p.out + (size_t)i * p.out_stride, p.out_stride,
                     p.further ? part.rows : 0, p.cols);
        product_thin(part);
        product_copy(p.out + (size_t)i * p.out_stride, p.out_stride, out, SIMD_LANES, part.rows, p.cols);
    }
}

static void product_stretch(struct backward_product p)
{
    int left = p.cols;
    for (; left >= PRODUCT_WIDTH; left -= PRODUCT_WIDTH) {
        product_wide(p);
        p.right += PRODUCT_WIDTH;
        p.out += PRODUCT_WIDTH;
    }
    for (; left >= SIMD_LANES; left -= SIMD_LANES) {
        product_thin(p);
        p.right += SIMD_LANES;
        p.out += SIMD_LANES;
    }
    p.cols = left;
    if (left > 0)
        product_edge(p);
}

static void product(const struct backward_product *p)
{
    struct backward_product part = *p;
    int done = 0;
    do {
        part.sum = p->sum - done < PRODUCT_STRETCH ? p->sum - done : PRODUCT_STRETCH;
        product_stretch(part);
        part.left += (size_t)part.sum * p->left_sum;
        part.right += (size_t)part.sum * p->right_stride;
        part.further = true;
        done += part.sum;
    } while (done < p->sum);
}
