#include "core/kernels/qgemm.h"

#include <math.h>
#include <string.h>

#include "core/kernels/simd.h"

int qgemm_pad(int cols)
{
    return (cols + R16_K - 1) / R16_K * R16_K;
}

static int group_size(enum qgemm_bits bits)
{
    return bits == R16_INT8 ? R16_INT8_GROUP : R16_INT4_GROUP;
}

static size_t panel_bytes(enum qgemm_bits bits, int cols_padded)
{
    return (size_t)cols_padded * R16_ROWS * (size_t)bits / 8;
}

size_t qgemm_bytes(enum qgemm_bits bits, int rows, int cols)
{
    size_t panels = (size_t)(rows + R16_ROWS - 1) / R16_ROWS, padded = (size_t)qgemm_pad(cols);
    size_t scales = padded / (size_t)group_size(bits) * R16_ROWS * sizeof(uint16_t);
    return panels * (panel_bytes(bits, (int)padded) + scales);
}

void qgemm_view(struct packed *out, enum qgemm_bits bits, int rows, int cols, const void *memory)
{
    int panels = (rows + R16_ROWS - 1) / R16_ROWS, padded = qgemm_pad(cols);
    const uint8_t *q = memory;
    *out = (struct packed){
        .bits = bits, .rows = rows, .cols = cols, .panels = panels, .cols_padded = padded, .q = q};
    out->scale = (const uint16_t *)(q + (size_t)panels * panel_bytes(bits, padded));
}

static uint16_t to_half(float x)
{
    _Float16 half = (_Float16)x;
    uint16_t bits;
    memcpy(&bits, &half, sizeof bits);
    return bits;
}

static float from_half(uint16_t bits)
{
    _Float16 half;
    memcpy(&half, &bits, sizeof half);
    return (float)half;
}

/* Where weight (row, k) lies in its panel: byte offset, and for int4 the shift of its nibble. */
static size_t byte_of(enum qgemm_bits bits, int row, int k)
{
    size_t lane = (size_t)row * 4;
    if (bits == R16_INT8)
        return (size_t)(k / 4) * R16_LINE + lane + (size_t)(k % 4);
    return (size_t)(k / 8) * R16_LINE + lane + (size_t)(k % 4);
}

static void put(enum qgemm_bits bits, uint8_t *panel, int row, int k, int q)
{
    uint8_t *byte = panel + byte_of(bits, row, k);
    if (bits == R16_INT8)
        *byte = (uint8_t)(q + 128);
    else
        *byte = (uint8_t)(k / 4 % 2 ? (*byte & 0x0F) | (q + 8) << 4 : (*byte & 0xF0) | (q + 8));
}

static int get(enum qgemm_bits bits, const uint8_t *panel, int row, int k)
{
    uint8_t byte = panel[byte_of(bits, row, k)];
    if (bits == R16_INT8)
        return byte - 128;
    return (k / 4 % 2 ? byte >> 4 : byte & 15) - 8;
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
    return total > 0 ? from_half(to_half(simd_sum(product) / total)) : scale;
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
        float scale = from_half(to_half(extreme / (-8.0f + 0.1f * (float)step)));
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
    *scale = to_half(wide ? scale_int8(x, count) : scale_int4(x, count));
    float stored = from_half(*scale), inverse = stored != 0 ? 1.0f / stored : 0.0f;
    for (int i = 0; i < group_size(p->bits); i++) {
        int q = i < count ? quantized(x[i], inverse, wide ? -127 : -8, wide ? 127 : 7) : 0;
        put(p->bits, panel, lane, first + i, q);
    }
}

void qgemm_pack(const struct packed *p, const struct matrix *w, int begin, int end, float *scratch)
{
    int group = group_size(p->bits), groups = p->cols_padded / group;
    for (int row = begin * R16_ROWS; row < end * R16_ROWS; row++) {
        int panel = row / R16_ROWS, lane = row % R16_ROWS;
        uint8_t *lines = (uint8_t *)p->q + (size_t)panel * panel_bytes(p->bits, p->cols_padded);
        uint16_t *scales = (uint16_t *)p->scale + (size_t)panel * (size_t)groups * R16_ROWS;
        if (row < w->rows)
            matrix_row(w, row, scratch);
        for (int g = 0; g < groups; g++) {
            int left = row < w->rows ? w->cols - g * group : 0;
            pack_group(p, lines, lane, g * group, scratch + (left > 0 ? g * group : 0),
                       left < 0       ? 0
                       : left < group ? left
                                      : group,
                       &scales[g * R16_ROWS + lane]);
        }
    }
}

void qgemm_unpack_row(const struct packed *p, int row, float *out)
{
    int group = group_size(p->bits), groups = p->cols_padded / group, panel = row / R16_ROWS,
        lane = row % R16_ROWS;
    const uint8_t *lines = p->q + (size_t)panel * panel_bytes(p->bits, p->cols_padded);
    const uint16_t *scales = p->scale + (size_t)panel * (size_t)groups * R16_ROWS;
    for (int begin = 0; begin < p->cols; begin += group) {
        float scale = from_half(scales[begin / group * R16_ROWS + lane]);
        int end = begin + group < p->cols ? begin + group : p->cols;
        for (int k = begin; k < end; k++)
            out[k] = scale * (float)get(p->bits, lines, lane, k);
    }
}
