/* The reference in plain C. Its float operations are those of the fast kernels, in the same order. */
#include <math.h>

#include "core/format/half.h"
#include "core/kernels/kernels.h"
#include "core/kernels/r16.h"
#define VARIANT pack_row
#include "core/kernels/simd/pack_simd.h"

static void quantize(const float *x, int cols, int8_t *q, float *scale, int32_t *sum)
{
    int padded = r16_pad(cols);
    for (int g = 0; g < padded / R16_K; g++) {
        float largest = 0;
        for (int k = g * R16_K; k < (g + 1) * R16_K && k < cols; k++)
            largest = fabsf(x[k]) > largest ? fabsf(x[k]) : largest;
        float inverse = largest > 0 ? 127.0f / largest : 0.0f;
        scale[g] = largest / 127.0f;
        sum[2 * g] = sum[2 * g + 1] = 0;
        for (int k = g * R16_K; k < (g + 1) * R16_K; k++) {
            q[k] = k < cols ? (int8_t)lrintf(x[k] * inverse) : 0;
            sum[k / R16_SUM_K] += q[k];
        }
    }
}

static int group_int8(const uint8_t *lines, int lane, const int8_t *x)
{
    int total = 0;
    for (int k = 0; k < R16_INT8_GROUP; k++)
        total += lines[k / 4 * R16_LINE + lane * 4 + k % 4] * x[k];
    return total;
}

static int group_int4(const uint8_t *lines, int lane, const int8_t *x)
{
    int total = 0;
    for (int k = 0; k < R16_INT4_GROUP; k++) {
        uint8_t byte = lines[k / 8 * R16_LINE + lane * 4 + k % 4];
        total += (k / 4 % 2 ? byte >> 4 : byte & 15) * x[k];
    }
    return total;
}

static void panel_int8(const struct packed *w, int panel, const struct activation *x, int tokens, float *y,
                       int stride)
{
    int groups = w->cols_padded / R16_INT8_GROUP;
    const uint8_t *lines = w->q + (size_t)panel * (size_t)w->cols_padded * R16_ROWS;
    const uint16_t *scale = w->scale + (size_t)panel * (size_t)groups * R16_ROWS;
    for (int t = 0; t < tokens; t++)
        for (int lane = 0; lane < R16_ROWS; lane++) {
            float total = 0;
            for (int g = 0; g < groups; g++) {
                const int32_t *sums = x->sum + ((size_t)t * (size_t)groups + (size_t)g) * 2;
                int product = group_int8(lines + (size_t)g * R16_INT8_GROUP * R16_ROWS, lane,
                                         x->q + (size_t)t * (size_t)w->cols_padded + g * R16_INT8_GROUP);
                product -= 128 * (sums[0] + sums[1]);
                total = fmaf((float)product,
                             half_widen(scale[g * R16_ROWS + lane]) *
                                 x->scale[(size_t)t * (size_t)groups + (size_t)g],
                             total);
            }
            y[(size_t)t * (size_t)stride + (size_t)lane] = total;
        }
}

static void panel_int4(const struct packed *w, int panel, const struct activation *x, int tokens, float *y,
                       int stride)
{
    int groups = w->cols_padded / R16_INT4_GROUP;
    const uint8_t *lines = w->q + (size_t)panel * (size_t)w->cols_padded * R16_ROWS / 2;
    const uint16_t *scale = w->scale + (size_t)panel * (size_t)groups * R16_ROWS;
    for (int t = 0; t < tokens; t++)
        for (int lane = 0; lane < R16_ROWS; lane++) {
            float total = 0;
            for (int g = 0; g < groups; g++) {
                int product = group_int4(lines + (size_t)g * R16_INT4_GROUP * R16_ROWS / 2, lane,
                                         x->q + (size_t)t * (size_t)w->cols_padded + g * R16_INT4_GROUP);
                product -= 8 * x->sum[(size_t)t * (size_t)groups + (size_t)g];
                total = fmaf((float)product,
                             half_widen(scale[g * R16_ROWS + lane]) *
                                 x->scale[((size_t)t * (size_t)groups + (size_t)g) / 2],
                             total);
            }
            y[(size_t)t * (size_t)stride + (size_t)lane] = total;
        }
}

static void multiply_int8(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    for (int panel = begin; panel < end; panel++)
        panel_int8(w, panel, x, tokens, y + (panel - begin) * R16_ROWS, stride);
}

static void multiply_int4(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    for (int panel = begin; panel < end; panel++)
        panel_int4(w, panel, x, tokens, y + (panel - begin) * R16_ROWS, stride);
}

const struct qgemm_kernels qgemm_plain = {.pack_row = pack_row,
                                          .quantize = quantize,
                                          .multiply_int8 = multiply_int8,
                                          .multiply_int4 = multiply_int4};
