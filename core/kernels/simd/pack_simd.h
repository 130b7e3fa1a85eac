/* Quantizing weights, SIMD_LANES floats at a time. A file that defines VARIANT, the name of what this gives,
 * includes it once. */
#pragma once
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "core/format/half.h"
#include "core/kernels/r16.h"
#include "core/kernels/simd/simd.h"

static void put(enum qgemm_bits bits, uint8_t *panel, int lane, int k, int q)
{
    uint8_t *byte = panel + r16_byte(bits, lane, k);
    if (bits == R16_INT8)
        *byte = (uint8_t)(q + 128);
    else
        *byte = (uint8_t)(k / 4 % 2 ? (*byte & 0x0F) | (q + 8) << 4 : (*byte & 0xF0) | (q + 8));
}

static int quantized(float x, float inverse, int lowest, int highest)
{
    long q = lrintf(x * inverse);
    return (int)(q < lowest ? lowest : q > highest ? highest : q);
}

/* int8: the largest magnitude becomes 127. */
static float scale_int8(const float *x, int count)
{
    float largest = 0;
    for (int i = 0; i < count; i++)
        largest = fabsf(x[i]) > largest ? fabsf(x[i]) : largest;
    return largest / 127.0f;
}

static simd rounded(simd x, float scale)
{
    const simd magic = simd_all(12582912.0f); /* 1.5 * 2^23: adding it rounds */
    simd q = (x * simd_all(1.0f / scale) + magic) - magic;
    return simd_min(simd_max(q, simd_all(-8)), simd_all(7));
}

/* What rounding a group of 32 to -8..7 times the scale loses. An error counts by its square, and more where
 * the weight is large: such a weight moves its output more than the small ones around it. `least`: what a
 * weight of 0 counts, the mean square. x: [32] */
static float rounding_error(const float *x, float scale, float least)
{
    simd error = {0};
    for (int i = 0; i < R16_INT4_GROUP; i += SIMD_LANES) {
        simd v = simd_load(x + i), d = v - scale * rounded(v, scale);
        error += (v * v + least) * d * d;
    }
    return simd_sum(error);
}

/* The best scale for the integers that `scale` gives: weighted least squares. */
static float refined(const float *x, float scale, float least)
{
    simd product = {0}, square = {0};
    for (int i = 0; i < R16_INT4_GROUP; i += SIMD_LANES) {
        simd v = simd_load(x + i), q = rounded(v, scale), weighted = (v * v + least) * q;
        product += weighted * v;
        square += weighted * q;
    }
    float total = simd_sum(square);
    return total > 0 ? half_widen(half_of(simd_sum(product) / total)) : scale;
}

/* int4: -8..7. The value of the largest magnitude sets the sign of the scale, so that it meets -8; of some
 * scales around that, each also refined, the one with the least error. */
static float scale_int4(const float *x, int count)
{
    float group[R16_INT4_GROUP] = {0}, extreme = 0, best = 0, best_error = INFINITY, least = 0;
    for (int i = 0; i < count; i++) {
        group[i] = x[i];
        extreme = fabsf(x[i]) > fabsf(extreme) ? x[i] : extreme;
        least += x[i] * x[i] / (float)count;
    }
    if (extreme == 0)
        return 0;
    for (int step = -9; step <= 9; step++) {
        float scale = half_widen(half_of(extreme / (-8.0f + 0.1f * (float)step)));
        for (int k = 0; k < 2 && scale != 0; k++, scale = refined(group, scale, least)) {
            float error = rounding_error(group, scale, least);
            if (error < best_error) {
                best_error = error;
                best = scale;
            }
        }
    }
    return best;
}

static void pack_group(const struct packed *p, uint8_t *panel, int lane, int first, const float *x, int count,
                       uint16_t *scale)
{
    bool wide = p->bits == R16_INT8;
    *scale = half_of(wide ? scale_int8(x, count) : scale_int4(x, count));
    float stored = half_widen(*scale), inverse = stored != 0 ? 1.0f / stored : 0.0f;
    for (int i = 0; i < r16_group(p->bits); i++) {
        int q = i < count ? quantized(x[i], inverse, wide ? -127 : -8, wide ? 127 : 7) : 0;
        put(p->bits, panel, lane, first + i, q);
    }
}

void VARIANT(const struct packed *p, int row, const float *x);
void VARIANT(const struct packed *p, int row, const float *x)
{
    int group = r16_group(p->bits), groups = p->cols_padded / group, panel = row / R16_ROWS,
        lane = row % R16_ROWS;
    uint8_t *lines = (uint8_t *)(uintptr_t)p->q + (size_t)panel * r16_panel_bytes(p->bits, p->cols_padded);
    uint16_t *scales = (uint16_t *)(uintptr_t)p->scale + (size_t)panel * (size_t)groups * R16_ROWS;
    for (int g = 0; g < groups; g++) {
        int left = x ? p->cols - g * group : 0;
        pack_group(p, lines, lane, g * group, left > 0 ? x + g * group : NULL,
                   left < 0       ? 0
                   : left < group ? left
                                  : group,
                   &scales[g * R16_ROWS + lane]);
    }
}
