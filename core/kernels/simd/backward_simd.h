/* The products of training in f32, SIMD_LANES numbers at a time. A file that includes it makes a table of
 * BACKWARD_F32. */
#pragma once
#include "core/kernels/r16.h"
#include "core/kernels/simd/backward_product.h"
#include "core/format/half.h"

/* ---- packed weights ---- */

enum { WIDEN_K = 16 /* columns at a time */ };

/* What a packed row holds in WIDEN_K columns, not yet signed. `lines`: those of the panel from there on. */
static inline __attribute__((always_inline)) void widen_take(const enum qgemm_bits bits, const uint8_t *lines,
                                                             int lane, uint8_t out[WIDEN_K])
{
    for (int i = 0; i < WIDEN_K / 4; i++) {
        uint32_t four;
        memcpy(&four, lines + (size_t)(bits == R16_INT8 ? i : i / 2) * R16_LINE + lane * 4, sizeof four);
        if (bits == R16_INT4)
            four = four >> 4 * (i % 2) & 0x0F0F0F0F;
        memcpy(out + 4 * i, &four, sizeof four);
    }
}

/* Some columns of one row; begin is a multiple of WIDEN_K, and whole ones are written. */
static inline __attribute__((always_inline)) void
widen_row(const enum qgemm_bits bits, const struct packed *p, int row, int begin, int end, float *out)
{
    int group = r16_group(bits), groups = p->cols_padded / group, lane = row % R16_ROWS;
    const uint8_t *lines = p->q + (size_t)(row / R16_ROWS) * r16_panel_bytes(bits, p->cols_padded);
    const uint16_t *scales = p->scale + (size_t)(row / R16_ROWS) * (size_t)groups * R16_ROWS;
    for (int k = begin; k < end; k += WIDEN_K, out += WIDEN_K) {
        float scale = half_widen(scales[k / group * R16_ROWS + lane]);
        uint8_t q[WIDEN_K];
        widen_take(bits, lines + (size_t)k * R16_ROWS * (size_t)bits / 8, lane, q);
        for (int i = 0; i < WIDEN_K; i++)
            out[i] = scale * (float)((int)q[i] - (bits == R16_INT8 ? 128 : 8));
    }
}

static void widen(const struct packed *p, int row, int rows, int begin, int end, float *out, int stride)
{
    for (int i = 0; i < rows; i++, out += stride) {
        if (p->bits == R16_INT8)
            widen_row(R16_INT8, p, row + i, begin, end, out);
        else
            widen_row(R16_INT4, p, row + i, begin, end, out);
    }
}

/* ---- sums: every fourth eight is a chain's ---- */

enum { SUM_CHAINS = 4, SUM_REGISTERS = SUM_CHAINS / SIMD_EIGHTS, SUM_STEP = SUM_CHAINS * 8 };

static float sum_chains(const simd sum[SUM_REGISTERS])
{
    simd_eight chain[SUM_CHAINS];
    for (int k = 0; k < SUM_CHAINS; k++)
        chain[k] = simd_part(sum[k / SIMD_EIGHTS], k % SIMD_EIGHTS);
    return simd_sum((chain[0] + chain[1]) + (chain[2] + chain[3]));
}

/* ---- the loss ---- */

/* A stretch is summed in f32, the stretches in double. */
static double exponentials_stretch(float *x, int n, simd largest, bool keep)
{
    simd sum[SUM_REGISTERS] = {0};
    int i = 0;
    for (; i + SUM_STEP <= n; i += SUM_STEP)
        for (int k = 0; k < SUM_REGISTERS; k++) {
            simd e = simd_exp(simd_load(x + i + k * SIMD_LANES) - largest);
            sum[k] += e;
            if (keep)
                simd_store(x + i + k * SIMD_LANES, e);
        }
    float tail = 0;
    for (; i < n; i++) {
        float e = simd_exp(simd_all(x[i]) - largest)[0];
        tail += e;
        if (keep)
            x[i] = e;
    }
    return (double)sum_chains(sum) + (double)tail;
}

static double exponentials(float *x, int n, float largest, bool keep)
{
    enum { STRETCH = 1024 };
    double sum = 0;
    for (int i = 0; i < n; i += STRETCH)
        sum += exponentials_stretch(x + i, n - i < STRETCH ? n - i : STRETCH, simd_all(largest), keep);
    return sum;
}

static void scale(float *x, float c, int n)
{
    for (int i = 0; i < n; i++)
        x[i] *= c;
}

/* ---- norms ---- */

static float sum_of(const float *x, int n)
{
    simd sum[SUM_REGISTERS] = {0};
    int i = 0;
    for (; i + SUM_STEP <= n; i += SUM_STEP)
        for (int k = 0; k < SUM_REGISTERS; k++)
            sum[k] += simd_load(x + i + k * SIMD_LANES);
    float tail = 0;
    for (; i < n; i++)
        tail += x[i];
    return sum_chains(sum) + tail;
}

/* Of (x - shift)^2. */
static float sum_of_squares(const float *x, float shift, int n)
{
    simd sum[SUM_REGISTERS] = {0};
    int i = 0;
    for (; i + SUM_STEP <= n; i += SUM_STEP)
        for (int k = 0; k < SUM_REGISTERS; k++) {
            simd d = simd_load(x + i + k * SIMD_LANES) - shift;
            sum[k] = simd_fma(d, d, sum[k]);
        }
    float tail = 0;
    for (; i < n; i++)
        tail += (x[i] - shift) * (x[i] - shift);
    return sum_chains(sum) + tail;
}

/* Of a * (b + plus) * (c - shift). */
static float sum_of_products(const float *a, const float *b, float plus, const float *c, float shift, int n)
{
    simd sum[SUM_REGISTERS] = {0};
    int i = 0;
    for (; i + SUM_STEP <= n; i += SUM_STEP)
        for (int k = 0; k < SUM_REGISTERS; k++) {
            int at = i + k * SIMD_LANES;
            sum[k] =
                simd_fma(simd_load(a + at) * (simd_load(b + at) + plus), simd_load(c + at) - shift, sum[k]);
        }
    float tail = 0;
    for (; i < n; i++)
        tail += a[i] * (b[i] + plus) * (c[i] - shift);
    return sum_chains(sum) + tail;
}

/* Of a * b. */
static float sum_of_pairs(const float *a, const float *b, int n)
{
    simd sum[SUM_REGISTERS] = {0};
    int i = 0;
    for (; i + SUM_STEP <= n; i += SUM_STEP)
        for (int k = 0; k < SUM_REGISTERS; k++)
            sum[k] = simd_fma(simd_load(a + i + k * SIMD_LANES), simd_load(b + i + k * SIMD_LANES), sum[k]);
    float tail = 0;
    for (; i < n; i++)
        tail += a[i] * b[i];
    return sum_chains(sum) + tail;
}

/* With u = dy * (weight + plus) and m the normalized x: dx += (u - m mean(u m)) / rms. */
static void rms_norm(float *dx, float *dweight, const float *dy, const float *x, const float *weight,
                     float plus, float eps, int n)
{
    float inverse = 1.0f / sqrtf(sum_of_squares(x, 0, n) / (float)n + eps);
    float pull = sum_of_products(dy, weight, plus, x, 0, n) / (float)n * inverse * inverse;
    for (int i = 0; i < n; i++)
        dx[i] += inverse * (dy[i] * (weight[i] + plus) - pull * x[i]);
    for (int i = 0; dweight && i < n; i++)
        dweight[i] += dy[i] * x[i] * inverse;
}

/* dx += (u - mean(u) - m mean(u m)) / deviation. */
static void layer_norm(float *dx, float *dweight, float *dbias, const float *dy, const float *x,
                       const float *weight, float eps, int n)
{
    float mean = sum_of(x, n) / (float)n;
    float inverse = 1.0f / sqrtf(sum_of_squares(x, mean, n) / (float)n + eps);
    float level = sum_of_pairs(dy, weight, n) / (float)n;
    float pull = sum_of_products(dy, weight, 0, x, mean, n) / (float)n * inverse * inverse;
    for (int i = 0; i < n; i++)
        dx[i] += inverse * (dy[i] * weight[i] - level - (x[i] - mean) * pull);
    for (int i = 0; dweight && i < n; i++)
        dweight[i] += dy[i] * (x[i] - mean) * inverse;
    for (int i = 0; dbias && i < n; i++)
        dbias[i] += dy[i];
}

/* ---- activations ---- */

static inline void silu_lanes(simd dy, simd gate, simd up, simd *dgate, simd *dup)
{
    simd s = 1.0f / (1.0f + simd_exp(-gate)), value = gate * s;
    *dgate = dy * up * (s + value * (1.0f - s));
    *dup = dy * value;
}

static void silu_gate(float *dgate, float *dup, const float *dy, const float *gate, const float *up, int n)
{
    simd of_gate, of_up;
    int i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES) {
        silu_lanes(simd_load(dy + i), simd_load(gate + i), simd_load(up + i), &of_gate, &of_up);
        simd_store(dgate + i, of_gate);
        simd_store(dup + i, of_up);
    }
    for (; i < n; i++) {
        silu_lanes(simd_all(dy[i]), simd_all(gate[i]), simd_all(up[i]), &of_gate, &of_up);
        dgate[i] = of_gate[0];
        dup[i] = of_up[0];
    }
}

/* The slope of x (1 + tanh u) / 2, u = root (x + cubic x^3). */
static inline simd gelu_slope(simd x)
{
    const float root = 0.7978845608028654f /* sqrt(2 / pi) */, cubic = 0.044715f;
    simd square = x * x, h = 1.0f - 2.0f / (1.0f + simd_exp(2.0f * root * x * (1.0f + cubic * square)));
    simd steep = root * (1.0f + 3.0f * cubic * square);
    simd bend = 1.0f - h * h; /* 0 where x is so large that the others overflow */
    simd_int flat = bend == 0.0f;
    simd rest = x * bend * steep;
    return 0.5f * (1.0f + h) + 0.5f * (simd)(~flat & (simd_int)rest);
}

static void gelu_tanh(float *dx, const float *dy, const float *x, int n)
{
    int i = 0;
    for (; i + SIMD_LANES <= n; i += SIMD_LANES)
        simd_store(dx + i, simd_load(dy + i) * gelu_slope(simd_load(x + i)));
    for (; i < n; i++)
        dx[i] = dy[i] * gelu_slope(simd_all(x[i]))[0];
}

#define BACKWARD_VECTORS                                                                                    \
    .product = product, .widen = widen, .exponentials = exponentials, .scale = scale, .rms_norm = rms_norm, \
    .layer_norm = layer_norm, .silu_gate = silu_gate, .gelu_tanh = gelu_tanh
#define BACKWARD_F32     \
    {                    \
        BACKWARD_VECTORS \
    }
