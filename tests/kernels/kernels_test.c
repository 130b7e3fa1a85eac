/* Every kernel against a plain loop in double on odd sizes, with guards around the outputs; and the promise
 * that a row's bits depend on that row alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format/bf16.h"
#include "core/format/dtype.h"
#include "core/format/half.h"
#include "core/kernels/linear.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/vector.h"

enum { GUARD = 16 };
static const int sizes[] = {1, 2, 3, 7, 8, 9, 31, 33, 63, 64, 65, 100, 127, 160, 1000};
enum { SIZES = sizeof sizes / sizeof *sizes };
static const float guard_value = -12345.678f;

/* ---- helpers ---- */

/* In [-1, 1), the same every time. */
static float pseudo_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 8388608.0f - 1.0f;
}

/* `count` floats between guards. */
static float *guarded(size_t count, uint32_t seed)
{
    float *memory = malloc((count + 2 * GUARD) * sizeof *memory);
    for (size_t i = 0; i < count + 2 * GUARD; i++)
        memory[i] = i < GUARD || i >= count + GUARD ? guard_value : pseudo_random(&seed);
    return memory + GUARD;
}

static void release(float *p, size_t count)
{
    for (size_t i = 0; i < GUARD; i++) {
        assert_true(p[-1 - (long)i] == guard_value);
        assert_true(p[count + i] == guard_value);
    }
    free(p - GUARD);
}

/* `magnitude`: the sum of the absolute values that were added up. */
static void assert_near(const char *what, int n, int at, float found, double expected, double magnitude)
{
    double allowed = 1e-6 * (fabs(expected) + magnitude) + 1e-12;
    if (!(fabs((double)found - expected) <= allowed))
        fail_msg("%s, size %d: element %d is %.9g, expected %.9g", what, n, at, (double)found, expected);
}

/* ---- dtype ---- */

static double half_value(uint16_t bits, int exponent_bits, int fraction_bits)
{
    int bias = (1 << (exponent_bits - 1)) - 1, top = (1 << exponent_bits) - 1;
    int exponent = bits >> fraction_bits & top, fraction = bits & ((1 << fraction_bits) - 1);
    double sign = bits >> 15 ? -1.0 : 1.0, scaled = (double)fraction / (double)(1 << fraction_bits);
    if (exponent == top)
        return fraction ? (double)NAN : sign * (double)INFINITY;
    return exponent == 0 ? sign * ldexp(scaled, 1 - bias) : sign * ldexp(1.0 + scaled, exponent - bias);
}

static void check_widening(enum dtype t, int exponent_bits, int fraction_bits)
{
    enum { ALL = 65536 };
    unsigned char *stored = malloc(2 * ALL + 1);
    float *out = guarded(ALL, 1);
    for (uint32_t i = 0; i < ALL; i++) {
        uint16_t bits = (uint16_t)i;
        memcpy(stored + 1 + 2 * i, &bits, 2); /* no alignment */
    }
    dtype_widen(t, stored + 1, out, ALL);
    for (uint32_t i = 0; i < ALL; i++) {
        double expected = half_value((uint16_t)i, exponent_bits, fraction_bits);
        if (isnan(expected) ? !isnan(out[i])
                            : (double)out[i] != expected || !signbit(out[i]) != !signbit(expected))
            fail_msg("%s 0x%04x is %g, expected %g", dtype_name(t), i, (double)out[i], expected);
    }
    release(out, ALL);
    free(stored);
}

static void widening_is_exact(void **state)
{
    (void)state;
    check_widening(DTYPE_F16, 5, 10);
    check_widening(DTYPE_BF16, 8, 7);
    for (int s = 0; s < SIZES; s++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++) { /* every count, and no element more */
            size_t n = (size_t)sizes[s];
            unsigned char *stored = calloc(n * dtype_size(t) + 1, 1);
            for (size_t i = 0; i < n; i++)
                memcpy(stored + 1 + i * dtype_size(t), &"\0\0\200\77"[4 - dtype_size(t)], dtype_size(t));
            float *out = guarded(n, 1);
            dtype_widen(t, stored + 1, out, n);
            for (size_t i = 0; i < n; i++)
                assert_true(out[i] == (t == DTYPE_F16 ? 1.875f : 1.0f)); /* 0x3f80 */
            release(out, n);
            free(stored);
        }
    assert_string_equal(dtype_name(DTYPE_F32), "F32");
    assert_string_equal(dtype_name(DTYPE_F16), "F16");
    assert_string_equal(dtype_name(DTYPE_BF16), "BF16");
}

static double value_of_half(uint32_t half)
{
    int exponent = (int)(half >> 10 & 0x1F);
    double fraction = half & 0x3FF;
    double magnitude = exponent == 31 ? INFINITY
                       : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                      : ldexp(fraction, -24);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* All finite f16, and what lies between them, by the format's definition. */
static void halves_widen_exactly_and_round_to_the_nearest(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7C00; half++) {
        uint16_t next = (uint16_t)(half + 1), even = (uint16_t)(half + (half & 1));
        float x = (float)value_of_half(half),
              above = half + 1 == 0x7C00 ? 65536.0f : (float)value_of_half(next);
        float middle = x + (above - x) / 2;
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            float s = sign ? -1.0f : 1.0f;
            assert_true(half_widen((uint16_t)(half | sign)) == s * x);
            assert_int_equal(half_of(s * x), half | sign);
            assert_int_equal(half_of(s * middle), even | sign);
            assert_int_equal(half_of(s * nextafterf(middle, 0)), half | sign);
            assert_int_equal(half_of(s * nextafterf(middle, INFINITY)), next | sign);
        }
    }
    assert_true(signbit(half_widen(0x8000)) && half_widen(0x7C00) == INFINITY && isnan(half_widen(0x7C01)));
    assert_true(half_of(-INFINITY) == 0xFC00 && half_of(1e30f) == 0x7C00 && (half_of(NAN) & 0x7FFF) > 0x7C00);
}

/* All 65536 bf16, and what lies between them: the nearest, the even one of two equally near. */
static void narrowing_rounds_to_the_nearest(void **state)
{
    (void)state;
    for (uint32_t half = 0; half < 0x7F80; half++) {
        uint32_t low = half << 16, bits[] = {low, low | 0x7FFF, low | 0x8000, low | 0x8001, low | 0xFFFF};
        float x[5];
        uint16_t out[5], next = (uint16_t)(half + 1), even = (uint16_t)(half + (half & 1)),
                         expected[] = {(uint16_t)half, (uint16_t)half, even, next, next};
        memcpy(x, bits, sizeof x);
        assert_int_equal(dtype_narrow_bf16(x, out, 5), half + 1 < 0x7F80);
        assert_memory_equal(out, expected, sizeof out);
        for (int i = 0; i < 5; i++)
            x[i] = -x[i];
        dtype_narrow_bf16(x, out, 5);
        for (int i = 0; i < 5; i++)
            assert_int_equal(out[i], expected[i] | 0x8000);
    }
    const float odd[] = {1, NAN, 1, -INFINITY, INFINITY};
    uint16_t out[5];
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(dtype_narrow_bf16(&odd[i], &out[i], 1), odd[i] == 1.0f);
    assert_true((out[1] & 0x7F80) == 0x7F80 && (out[1] & 0x7F) != 0);
    assert_int_equal(out[3], 0xFF80);
}

static void the_largest_is_found_anywhere(void **state)
{
    (void)state;
    assert_true(vector_largest(NULL, 0) == 0);
    for (int s = 0; s < SIZES; s++) {
        int n = sizes[s];
        float *x = guarded((size_t)n, 5);
        for (int i = 0; i < n; i++) {
            float kept = x[i];
            x[i] = -3;
            assert_true(vector_largest(x, (size_t)n) == 3);
            x[i] = i % 2 ? INFINITY : -INFINITY;
            assert_true(isinf(vector_largest(x, (size_t)n)));
            x[i] = NAN;
            assert_true(isnan(vector_largest(x, (size_t)n)));
            x[i] = kept;
        }
        release(x, (size_t)n);
    }
}

/* ---- vector ---- */

static void sums(void **state)
{
    (void)state;
    for (int s = 0; s < SIZES; s++) {
        int n = sizes[s];
        float *a = guarded((size_t)n, 1), *b = guarded((size_t)n, 2), *y = guarded((size_t)n, 3),
              *z = guarded((size_t)n, 3);
        double sum = 0, magnitude = 0;
        for (int i = 0; i < n; i++) {
            sum += (double)a[i] * (double)b[i];
            magnitude += fabs((double)a[i] * (double)b[i]);
        }
        assert_near("dot", n, 0, vector_dot(a, b, n), sum, magnitude);
        vector_add_scaled(y, a, 0.75f, n);
        for (int i = 0; i < n; i++)
            assert_near("add_scaled", n, i, y[i], (double)z[i] + 0.75 * (double)a[i], 1);
        vector_add(z, b, n);
        float *old = guarded((size_t)n, 3);
        for (int i = 0; i < n; i++)
            assert_true(z[i] == old[i] + b[i]);
        release(old, (size_t)n);
        release(a, (size_t)n);
        release(b, (size_t)n);
        release(y, (size_t)n);
        release(z, (size_t)n);
    }
}

/* Values around 3 * scale: small ones feel eps. */
static void check_norms(int n, float scale)
{
    float *x = guarded((size_t)n, 4), *w = guarded((size_t)n, 5), *bias = guarded((size_t)n, 6),
          *y = guarded((size_t)n, 7), *same = guarded((size_t)n, 8);
    double squares = 0, mean = 0, variance = 0, eps = (double)1e-5f;
    for (int i = 0; i < n; i++) {
        x[i] = (x[i] + 3.0f) * scale; /* a mean that matters */
        squares += (double)x[i] * (double)x[i];
        mean += (double)x[i] / n;
    }
    for (int i = 0; i < n; i++)
        variance += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
    vector_rms_norm(y, x, w, 0, 1e-5f, n);
    for (int i = 0; i < n; i++)
        assert_near("rms_norm", n, i, y[i], (double)x[i] / sqrt(squares / n + eps) * (double)w[i], 0);
    memcpy(same, x, (size_t)n * sizeof *x); /* in place gives the same bits */
    vector_rms_norm(same, same, w, 0, 1e-5f, n);
    assert_memory_equal(same, y, (size_t)n * sizeof *y);
    vector_layer_norm(y, x, w, bias, 1e-5f, n);
    double deviation = sqrt(variance + eps);
    for (int i = 0; i < n; i++) /* the mean is rounded once: up to 2^-23 of 4 before the division */
        assert_near("layer_norm", n, i, y[i],
                    ((double)x[i] - mean) / deviation * (double)w[i] + (double)bias[i],
                    2 + 0.5 * (double)scale / deviation);
    release(same, (size_t)n);
    release(x, (size_t)n);
    release(w, (size_t)n);
    release(bias, (size_t)n);
    release(y, (size_t)n);
}

static void norms(void **state)
{
    (void)state;
    for (int s = 0; s < SIZES; s++) {
        check_norms(sizes[s], 1);
        check_norms(sizes[s], 1e-3f);
        check_norms(sizes[s], 0);
    }
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

static void activations(void **state)
{
    (void)state;
    for (int s = 0; s < SIZES; s++) {
        int n = sizes[s];
        float *gate = guarded((size_t)n, 9), *up = guarded((size_t)n, 10), *y = guarded((size_t)n, 11);
        for (int i = 0; i < n; i++)
            gate[i] *= 20.0f;
        vector_silu_gate(y, gate, up, n);
        for (int i = 0; i < n; i++)
            assert_near("silu_gate", n, i, y[i],
                        (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i], 0);
        memcpy(y, gate, (size_t)n * sizeof *y);
        vector_gelu_tanh(y, n);
        for (int i = 0; i < n; i++) /* 1 + tanh cancels for negative x */
            assert_near("gelu", n, i, y[i], gelu((double)gate[i]), fabs((double)gate[i]));
        memcpy(y, gate, (size_t)n * sizeof *y);
        vector_relu(y, n);
        for (int i = 0; i < n; i++)
            assert_true(y[i] == (gate[i] > 0 ? gate[i] : 0));
        release(gate, (size_t)n);
        release(up, (size_t)n);
        release(y, (size_t)n);
    }
    float special[4] = {NAN, -INFINITY, INFINITY, -0.0f}; /* not a number stays visible */
    vector_relu(special, 4);
    assert_true(isnan(special[0]) && special[1] == 0 && special[2] == INFINITY && special[3] == 0);
}

static void rotation(void **state)
{
    (void)state;
    for (int s = 0; s < SIZES; s++) {
        int half = sizes[s], n = 2 * half;
        float *x = guarded((size_t)n, 14), *y = guarded((size_t)n, 14), *cosine = guarded((size_t)half, 15),
              *sine = guarded((size_t)half, 16);
        for (int i = 0; i < half; i++) {
            cosine[i] = cosf((float)i);
            sine[i] = sinf((float)i);
        }
        vector_rotate(y, cosine, sine, n);
        for (int i = 0; i < half; i++) {
            double c = (double)cosine[i], d = (double)sine[i], a = (double)x[i], b = (double)x[i + half];
            assert_near("rotate", n, i, y[i], a * c - b * d, 1);
            assert_near("rotate", n, i + half, y[i + half], b * c + a * d, 1);
        }
        memcpy(y, x, (size_t)n * sizeof *y);
        vector_rotate_neighbours(y, cosine, sine, n);
        for (int i = 0; i < half; i++) {
            double c = (double)cosine[i], d = (double)sine[i], a = (double)x[2 * i], b = (double)x[2 * i + 1];
            assert_near("rotate neighbours", n, 2 * i, y[2 * i], a * c - b * d, 1);
            assert_near("rotate neighbours", n, 2 * i + 1, y[2 * i + 1], b * c + a * d, 1);
        }
        memcpy(y, x, (size_t)n * sizeof *y);
        vector_cap(y, 0.7f, n);
        for (int i = 0; i < n; i++)
            assert_near("cap", n, i, y[i], 0.7 * tanh((double)x[i] / 0.7), 1);
        release(x, (size_t)n);
        release(y, (size_t)n);
        release(cosine, (size_t)half);
        release(sine, (size_t)half);
    }
}

/* ---- low rank ---- */

enum { LOW_TOKENS = 7 };

static float numbers_get(bool bf16, const void *p, size_t at)
{
    return bf16 ? bf16_widen(((const uint16_t *)p)[at]) : ((const float *)p)[at];
}

/* f32 numbers as they are, or rounded; to be freed. */
static void *numbers_new(bool bf16, const float *from, size_t count)
{
    void *p = malloc(count * (bf16 ? sizeof(uint16_t) : sizeof(float))); /* exactly */
    for (size_t i = 0; i < count; i++)
        if (bf16)
            ((uint16_t *)p)[i] = bf16_of(from[i]);
        else
            ((float *)p)[i] = from[i];
    return p;
}

static void check_shrink(const struct lowrank *l, const float *x, const float *t, size_t stride, int in)
{
    for (int i = 0; i < LOW_TOKENS; i++)
        for (int r = 0; r < l->rank; r++) {
            double sum = 0, magnitude = 0;
            for (int k = 0; k < in; k++) {
                double product =
                    (double)numbers_get(l->bf16, l->a, (size_t)(r * in + k)) * (double)x[i * in + k];
                sum += product;
                magnitude += fabs(product);
            }
            assert_near("shrink", in, r, t[(size_t)i * stride + (size_t)r], sum, magnitude);
        }
}

static void check_expand(const struct lowrank *l, const float *t, size_t stride, const float *before,
                         const float *y, int out)
{
    for (int i = 0; i < LOW_TOKENS; i++)
        for (int j = 0; j < out; j++) {
            double sum = (double)before[i * out + j], magnitude = fabs(sum);
            for (int r = 0; r < l->rank; r++) {
                double product = (double)numbers_get(l->bf16, l->b, lowrank_b_at(l->rank, j, r)) *
                                 (double)t[(size_t)i * stride + (size_t)r];
                sum += product;
                magnitude += fabs(product);
            }
            assert_near("expand", out, j, y[i * out + j], sum, magnitude);
        }
}

static void expand_blocks(const struct lowrank *l, const float *t, size_t stride, int tokens, float *y,
                          int out)
{
    for (int row = 0; row < out; row += LINEAR_ROWS)
        lowrank_expand(l, t, stride, tokens, y + row, (size_t)out, row,
                       out - row < LINEAR_ROWS ? out - row : LINEAR_ROWS);
}

/* Several tokens against plain loops; and the same bits token by token, and divided over workers. */
static void check_lowrank(bool bf16, int rank, int in, int out)
{
    size_t stride = (size_t)rank + 3, lows = LOW_TOKENS * stride, ins = LOW_TOKENS * (size_t)in,
           outs = LOW_TOKENS * (size_t)out;
    float *a = guarded((size_t)rank * (size_t)in, 20), *b = guarded(lowrank_b_elements(rank, out), 21),
          *x = guarded(ins, 22), *t = guarded(lows, 23), *split = guarded(lows, 23), *y = guarded(outs, 25),
          *alone = guarded(outs, 25), *before = guarded(outs, 25);
    void *stored_a = numbers_new(bf16, a, (size_t)rank * (size_t)in),
         *stored_b = numbers_new(bf16, b, lowrank_b_elements(rank, out));
    struct lowrank l = {.rank = rank, .bf16 = bf16, .a = stored_a, .b = stored_b};
    lowrank_shrink(&l, x, (size_t)in, LOW_TOKENS, t, stride, in, 0, rank);
    check_shrink(&l, x, t, stride, in);
    for (int i = 0; i < LOW_TOKENS; i++) { /* also: only its own rows are written */
        lowrank_shrink(&l, x + i * in, 1, 1, split + (size_t)i * stride, 1, in, 0, rank / 2);
        lowrank_shrink(&l, x + i * in, 1, 1, split + (size_t)i * stride, 1, in, rank / 2, rank);
    }
    assert_memory_equal(split, t, lows * sizeof *t);
    expand_blocks(&l, t, stride, LOW_TOKENS, y, out);
    check_expand(&l, t, stride, before, y, out);
    for (int i = 0; i < LOW_TOKENS; i++)
        expand_blocks(&l, t + (size_t)i * stride, 1, 1, alone + i * out, out);
    assert_memory_equal(alone, y, outs * sizeof *y);
    free(stored_a);
    free(stored_b);
    release(a, (size_t)rank * (size_t)in);
    release(b, lowrank_b_elements(rank, out));
    release(x, ins);
    release(t, lows);
    release(split, lows);
    release(y, outs);
    release(alone, outs);
    release(before, outs);
}

static void low_rank_products(void **state)
{
    (void)state;
    static const int ranks[] = {1, 2, 3, 8, 24, 65};
    for (int i = 0; i < SIZES; i++)
        for (size_t r = 0; r < sizeof ranks / sizeof *ranks; r++)
            for (int bf16 = 0; bf16 < 2; bf16++)
                check_lowrank(bf16, ranks[r], sizes[i], sizes[(i * 7 + 3) % SIZES]);
}

/* ---- linear ---- */

/* A matrix of random numbers that its dtype holds exactly. */
struct sample {
    struct matrix w;
    void *stored;
    float *wide; /* [rows, cols] whatever the layout */
};

static void store(enum dtype t, void *stored, size_t at, float value)
{
    uint32_t bits;
    uint16_t half = half_of(value);
    memcpy(&bits, &value, 4);
    uint16_t high = (uint16_t)(bits >> 16);
    if (t == DTYPE_F32)
        memcpy((char *)stored + 4 * at, &value, 4);
    else
        memcpy((char *)stored + 2 * at, t == DTYPE_F16 ? (const void *)&half : (const void *)&high, 2);
}

static struct sample sample_new(enum dtype t, int rows, int cols, bool transposed)
{
    struct sample s = {.w = {.dtype = t, .rows = rows, .cols = cols, .transposed = transposed}};
    size_t count = (size_t)rows * (size_t)cols;
    uint32_t seed = 30;
    s.stored = malloc(count * dtype_size(t)); /* exactly: a read beyond is an error to the sanitizer */
    s.wide = malloc(count * sizeof *s.wide);
    for (int row = 0; row < rows; row++)
        for (int k = 0; k < cols; k++) {
            size_t at =
                transposed ? (size_t)k * (size_t)rows + (size_t)row : (size_t)row * (size_t)cols + (size_t)k;
            float value = floorf(pseudo_random(&seed) * 64) / 64; /* exact in all dtypes */
            store(t, s.stored, at, value);
            s.wide[(size_t)row * (size_t)cols + (size_t)k] = value;
        }
    s.w.data = s.stored;
    return s;
}

static void sample_free(struct sample *s)
{
    free(s->stored);
    free(s->wide);
}

static void multiply(const struct sample *s, const float *x, int tokens, float *y, int stride)
{
    size_t count = linear_scratch(&s->w);
    float *scratch = guarded(count, 40);
    for (int block = linear_blocks(&s->w) - 1; block >= 0; block--) /* in any order */
        linear_block(&s->w, block, x, tokens, y + linear_block_row(block), stride, scratch);
    release(scratch, count);
}

static void check_linear(enum dtype type, int rows, int cols, bool transposed, int tokens)
{
    struct sample s = sample_new(type, rows, cols, transposed);
    int stride = rows + 5;
    size_t inputs = (size_t)linear_pad(tokens) * (size_t)cols, outputs = (size_t)tokens * (size_t)stride;
    float *x = guarded(inputs, 31), *y = guarded(outputs, 32), *before = guarded(outputs, 32);
    multiply(&s, x, tokens, y, stride);
    for (int t = 0; t < tokens; t++) {
        for (int row = 0; row < rows; row++) {
            double sum = 0, magnitude = 0;
            for (int k = 0; k < cols; k++) {
                double product = (double)s.wide[row * cols + k] * (double)x[t * cols + k];
                sum += product;
                magnitude += fabs(product);
            }
            assert_near("linear", rows, row, y[t * stride + row], sum, magnitude);
        }
        for (int row = rows; row < stride; row++) /* what lies between the rows is not touched */
            assert_true(y[t * stride + row] == before[t * stride + row]);
    }
    release(x, inputs);
    release(y, outputs);
    release(before, outputs);
    sample_free(&s);
}

static void linear_layers(void **state)
{
    (void)state;
    static const int tokens[] = {1, 2, 15, 16, 17, 33};
    linear_init();
    for (int i = 0; i < SIZES; i++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++)
            for (int transposed = 0; transposed < 2; transposed++)
                check_linear(t, sizes[i], sizes[(i * 4 + 2) % SIZES], transposed,
                             tokens[(i + (int)t + 3 * transposed) % 6]);
}

/* One token among 1..50, at every place, its neighbours ordinary, infinite or not a number. */
static void check_places(enum dtype type, int rows, int cols, bool transposed)
{
    enum { TOKENS = 50 };
    struct sample s = sample_new(type, rows, cols, transposed);
    float *x = guarded((size_t)linear_pad(TOKENS) * (size_t)cols, 33),
          *y = guarded((size_t)TOKENS * (size_t)rows, 34), *alone = guarded((size_t)rows, 35),
          *watched = guarded((size_t)cols, 36);
    float *first = calloc((size_t)LINEAR_TOKENS * (size_t)cols, sizeof *first);
    memcpy(first, watched, (size_t)cols * sizeof *first);
    multiply(&s, first, 1, alone, rows);
    for (int place = 0; place < TOKENS; place++) {
        float *at = x + (size_t)place * (size_t)cols;
        for (int k = 0; k < cols && place > 0; k++)
            at[k - cols] = place % 7 == 3 ? NAN : place % 7 == 5 ? INFINITY : at[k];
        memcpy(at, watched, (size_t)cols * sizeof *at);
        int tokens = place + 1 + (place * 13) % (TOKENS - place);
        multiply(&s, x, tokens, y, rows);
        if (memcmp(y + (size_t)place * (size_t)rows, alone, (size_t)rows * sizeof *alone) != 0)
            fail_msg("%s %d x %d: other bits at place %d of %d", dtype_name(type), rows, cols, place, tokens);
    }
    release(x, (size_t)linear_pad(TOKENS) * (size_t)cols);
    release(y, (size_t)TOKENS * (size_t)rows);
    release(alone, (size_t)rows);
    release(watched, (size_t)cols);
    free(first);
    sample_free(&s);
}

static void a_row_has_the_same_bits_everywhere(void **state)
{
    (void)state;
    linear_init();
    for (int i = 0; i < SIZES; i++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++)
            for (int transposed = 0; transposed < 2; transposed++)
                check_places(t, sizes[i] > 200 ? 200 : sizes[i], sizes[(i * 2 + 5) % SIZES], transposed);
}

static void blocks_cover_all_rows(void **state)
{
    (void)state;
    for (int i = 0; i < SIZES; i++) {
        struct matrix w = {.dtype = DTYPE_F16, .rows = sizes[i], .cols = 3};
        int next = 0;
        for (int block = 0; block < linear_blocks(&w); block++) {
            assert_int_equal(linear_block_row(block), next);
            assert_in_range(linear_block_rows(&w, block), 1, LINEAR_ROWS);
            next += linear_block_rows(&w, block);
        }
        assert_int_equal(next, sizes[i]);
        assert_int_equal(linear_pad(sizes[i]) % LINEAR_TOKENS, 0);
        assert_in_range(linear_pad(sizes[i]) - sizes[i], 0, LINEAR_TOKENS - 1);
    }
    assert_int_equal(linear_pad(0), 0);
}

static void rows_and_check(void **state)
{
    (void)state;
    linear_init();
    for (int i = 0; i < SIZES; i++)
        for (enum dtype t = DTYPE_F32; t <= DTYPE_BF16; t++)
            for (int transposed = 0; transposed < 2; transposed++) {
                struct sample s = sample_new(t, sizes[i], sizes[SIZES - 1 - i], transposed);
                size_t cols = (size_t)s.w.cols;
                float *row = guarded(cols, 37);
                struct err e = {.code = "untouched"};
                for (int r = 0; r < s.w.rows; r += 1 + s.w.rows / 3) {
                    matrix_row(&s.w, r, row);
                    assert_memory_equal(row, s.wide + (size_t)r * cols, cols * sizeof *row);
                }
                if (linear_check(&s.w, &e) != 0)
                    fail_msg("%s %d x %d: %s", dtype_name(t), s.w.rows, s.w.cols, e.message);
                assert_string_equal(e.code, "untouched");
                release(row, cols);
                sample_free(&s);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(widening_is_exact),
        cmocka_unit_test(halves_widen_exactly_and_round_to_the_nearest),
        cmocka_unit_test(narrowing_rounds_to_the_nearest),
        cmocka_unit_test(the_largest_is_found_anywhere),
        cmocka_unit_test(sums),
        cmocka_unit_test(norms),
        cmocka_unit_test(activations),
        cmocka_unit_test(rotation),
        cmocka_unit_test(low_rank_products),
        cmocka_unit_test(linear_layers),
        cmocka_unit_test(a_row_has_the_same_bits_everywhere),
        cmocka_unit_test(blocks_cover_all_rows),
        cmocka_unit_test(rows_and_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
