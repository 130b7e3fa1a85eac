/* Packed weights, and every variant of kernels against the plain one: to the last bit, on odd sizes, with
 * guards. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/system/clock.h"
#include "core/kernels/cpu.h"
#include "core/kernels/qgemm.h"
#include "core/kernels/x86/x86.h"
#include "tests/kernels/emulated.h"

static unsigned seed = 1;

static float noise(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

struct sample {
    struct matrix matrix;
    struct packed packed;
    float *stored;
    void *memory;
};

static void make_sample(struct sample *s, enum qgemm_bits bits, int rows, int cols)
{
    size_t bytes = (qgemm_bytes(bits, rows, cols) + R16_LINE - 1) / R16_LINE * R16_LINE;
    float *scratch = malloc((size_t)cols * sizeof *scratch);
    s->stored = malloc((size_t)rows * (size_t)cols * sizeof *s->stored);
    for (long i = 0; i < (long)rows * cols; i++)
        s->stored[i] = noise() * (i % 97 == 0 ? 4.0f : 1.0f);
    s->matrix = (struct matrix){.data = s->stored, .dtype = DTYPE_F32, .rows = rows, .cols = cols};
    s->memory = aligned_alloc(R16_LINE, bytes);
    memset(s->memory, 0xAA, bytes);
    qgemm_view(&s->packed, bits, rows, cols, s->memory);
    for (int panel = 0; panel < s->packed.panels; panel++)
        qgemm_pack(&s->packed, &s->matrix, panel, panel + 1, scratch);
    free(scratch);
}

static void free_sample(struct sample *s)
{
    free(s->stored);
    free(s->memory);
}

static void make_activation(struct activation *a, const struct qgemm_kernels *k, int tokens, int cols)
{
    size_t padded = (size_t)r16_pad(cols), count = (size_t)tokens;
    float *x = malloc((size_t)cols * sizeof *x);
    a->cols_padded = (int)padded;
    a->q = aligned_alloc(R16_LINE, count * padded);
    a->scale = calloc(count * padded / R16_K, sizeof *a->scale);
    a->sum = calloc(count * padded / R16_SUM_K, sizeof *a->sum);
    a->wide = NULL;
    for (size_t t = 0; t < count; t++) {
        for (int i = 0; i < cols; i++)
            x[i] = t % 5 == 4 && i < 64 ? 0.0f : noise() * (float)(1 + i % 3);
        k->quantize(x, cols, a->q + t * padded, a->scale + t * (padded / R16_K),
                    a->sum + t * (padded / R16_SUM_K));
    }
    free(x);
}

static void free_activation(struct activation *a)
{
    free(a->q);
    free(a->scale);
    free(a->sum);
    free(a->wide);
}

/* What the variant multiplies when there are many tokens. */
static void widen(struct activation *a, const struct qgemm_kernels *k, int tokens)
{
    size_t padded = (size_t)a->cols_padded;
    if (!k->widen)
        return;
    a->wide = malloc((size_t)tokens * padded * sizeof *a->wide);
    for (size_t t = 0; t < (size_t)tokens; t++)
        k->widen(a->q + t * padded, a->cols_padded, a->wide + t * padded);
}

/* ---- packing ---- */

static void packed_weights_are_near(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {16, 64}, {17, 65}, {33, 100}, {64, 160}, {5, 896}};
    for (int bits = R16_INT4; bits <= R16_INT8; bits += 4)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            struct sample s;
            int rows = sizes[i][0], cols = sizes[i][1];
            make_sample(&s, (enum qgemm_bits)bits, rows, cols);
            float *row = malloc((size_t)cols * sizeof *row);
            for (int r = 0; r < rows; r++) {
                qgemm_unpack_row(&s.packed, r, row);
                for (int k = 0; k < cols; k++) {
                    float error = fabsf(row[k] - s.stored[r * cols + k]),
                          allowed = bits == R16_INT8 ? 0.017f : 0.6f;
                    assert_true(error <=
                                allowed); /* half a step of the largest magnitude, 4, and of fp16 scales */
                }
            }
            free(row);
            free_sample(&s);
        }
}

static void odd_groups(void **state)
{
    (void)state;
    /* Zeros, one value, the largest float that fp16 scales hold, tiny values: nothing becomes NaN or
     * infinite. */
    static const float values[] = {0.0f, 1.0f, -1.0f, 1e4f, -1e4f, 1e-6f, 1e-30f};
    for (int bits = R16_INT4; bits <= R16_INT8; bits += 4)
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            float stored[64] = {[5] = values[i]}, back[64], scratch[64];
            struct matrix m = {.data = stored, .dtype = DTYPE_F32, .rows = 1, .cols = 64};
            void *memory =
                aligned_alloc(R16_LINE, (qgemm_bytes((enum qgemm_bits)bits, 1, 64) + 63) / 64 * 64);
            struct packed p;
            qgemm_view(&p, (enum qgemm_bits)bits, 1, 64, memory);
            qgemm_pack(&p, &m, 0, 1, scratch);
            qgemm_unpack_row(&p, 0, back);
            for (int k = 0; k < 64; k++)
                assert_true(fabsf(back[k] - stored[k]) <= 0.01f * fabsf(values[i]) + 1e-5f);
            free(memory);
        }
}

/* ---- kernels ---- */

static void multiply(const struct qgemm_kernels *k, const struct sample *s, const struct activation *x,
                     int tokens, float *y, int stride)
{
    const struct packed *p = &s->packed;
    (p->bits == R16_INT8 ? k->multiply_int8 : k->multiply_int4)(p, 0, p->panels, x, tokens, y, stride);
}

/* The plain kernel against the definition in double. */
static void plain_is_right(void **state)
{
    (void)state;
    for (int bits = R16_INT4; bits <= R16_INT8; bits += 4) {
        enum { ROWS = 20, COLS = 150, TOKENS = 5, STRIDE = 32 };
        struct sample s;
        struct activation x;
        float y[TOKENS * STRIDE], row[COLS];
        make_sample(&s, (enum qgemm_bits)bits, ROWS, COLS);
        make_activation(&x, &qgemm_plain, TOKENS, COLS);
        multiply(&qgemm_plain, &s, &x, TOKENS, y, STRIDE);
        for (int r = 0; r < ROWS; r++)
            for (int t = 0; t < TOKENS; t++) {
                double sum = 0;
                qgemm_unpack_row(&s.packed, r, row);
                for (int k = 0; k < COLS; k++)
                    sum += (double)row[k] * x.q[t * x.cols_padded + k] *
                           (double)x.scale[t * (x.cols_padded / R16_K) + k / R16_K];
                assert_true(fabs(sum - (double)y[t * STRIDE + r]) < 1e-3);
            }
        free_activation(&x);
        free_sample(&s);
    }
}

static void check_quantize(const struct qgemm_kernels *k)
{
    static const int sizes[] = {1, 2, 31, 32, 33, 63, 64, 65, 100, 128, 160, 896};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct activation a, b;
        unsigned start = seed;
        make_activation(&a, &qgemm_plain, 6, sizes[i]);
        seed = start;
        make_activation(&b, k, 6, sizes[i]);
        size_t padded = (size_t)r16_pad(sizes[i]);
        assert_memory_equal(a.q, b.q, 6 * padded);
        assert_memory_equal(a.scale, b.scale, 6 * padded / R16_K * sizeof(float));
        assert_memory_equal(a.sum, b.sum, 6 * padded / R16_SUM_K * sizeof(int32_t));
        free_activation(&a);
        free_activation(&b);
    }
}

static void check_size(const struct qgemm_kernels *k, enum qgemm_bits bits, int rows, int cols, int tokens)
{
    struct sample s;
    struct activation x;
    make_sample(&s, bits, rows, cols);
    make_activation(&x, &qgemm_plain, tokens, cols);
    widen(&x, k, tokens);
    int width = s.packed.panels * R16_ROWS, stride = width + 5;
    size_t floats = (size_t)tokens * (size_t)stride;
    float *expected = malloc(floats * sizeof *expected), *found = malloc(floats * sizeof *found);
    memset(expected, 0x55, floats * sizeof *expected);
    memset(found, 0x55, floats * sizeof *found);
    multiply(&qgemm_plain, &s, &x, tokens, expected, stride);
    multiply(k, &s, &x, tokens, found, stride);
    if (memcmp(expected, found, floats * sizeof *found) != 0)
        fail_msg("int%d %d x %d, %d tokens: not what the plain kernel gives", bits, rows, cols, tokens);
    free(expected);
    free(found);
    free_activation(&x);
    free_sample(&s);
}

static void equals_plain(void **state)
{
    const struct qgemm_kernels *k = *state;
    static const int shapes[][2] = {{16, 64}, {1, 1}, {17, 65}, {48, 160}, {33, 448}, {16, 1100}};
    check_quantize(k);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        for (int tokens = 1; tokens <= R16_WIDE_TOKENS + 6;
             tokens += tokens < 14 || tokens >= R16_WIDE_TOKENS ? 1 : 6) {
            check_size(k, R16_INT8, shapes[i][0], shapes[i][1], tokens);
            check_size(k, R16_INT4, shapes[i][0], shapes[i][1], tokens);
        }
}

/* As many tokens as fill tiles, and some more, by weights that are taken in several parts. */
static void equals_plain_in_tiles(void **state)
{
    const struct qgemm_kernels *k = *state;
    static const int tokens[] = {31, 32, 33, 47, 48, 79}, cols[] = {64, 512, 576, 1100, 1472};
    for (size_t i = 0; i < sizeof tokens / sizeof *tokens; i++)
        for (size_t j = 0; j < sizeof cols / sizeof *cols; j++) {
            check_size(k, R16_INT8, 80, cols[j], tokens[i]);
            check_size(k, R16_INT4, 80, cols[j], tokens[i]);
        }
}

/* A token's result is the same alone and at every place of a larger call. */
static void tokens_do_not_depend_on_each_other(void **state)
{
    const struct qgemm_kernels *k = *state;
    enum { ROWS = 32, COLS = 320, TOKENS = 50 };
    for (int bits = R16_INT4; bits <= R16_INT8; bits += 4) {
        struct sample s;
        struct activation all;
        float together[TOKENS * ROWS], alone[ROWS];
        make_sample(&s, (enum qgemm_bits)bits, ROWS, COLS);
        make_activation(&all, k, TOKENS, COLS);
        widen(&all, k, TOKENS);
        multiply(k, &s, &all, TOKENS, together, ROWS);
        for (int t = 0; t < TOKENS; t++) {
            struct activation one = all;
            one.q += (size_t)t * COLS;
            one.scale += t * (COLS / R16_K);
            one.sum += t * (COLS / R16_SUM_K);
            multiply(k, &s, &one, 1, alone, ROWS);
            assert_memory_equal(alone, together + t * ROWS, sizeof alone);
        }
        free_activation(&all);
        free_sample(&s);
    }
}

/* Not a test of speed: says what each variant reaches here, beside its correctness. */
static void print_speed(const char *name, const struct qgemm_kernels *k, enum qgemm_bits bits)
{
    enum { ROWS = 256, COLS = 1536, TOKENS = 32, ROUNDS = 8 };
    struct sample s;
    struct activation x;
    float *y = malloc(sizeof *y * TOKENS * ROWS);
    make_sample(&s, bits, ROWS, COLS);
    make_activation(&x, k, TOKENS, COLS);
    widen(&x, k, TOKENS);
    double start = clock_ms();
    for (int i = 0; i < ROUNDS; i++)
        multiply(k, &s, &x, TOKENS, y, ROWS);
    double ms = clock_ms() - start;
    printf("%s int%d: %.1f GOP/s on one thread\n", name, bits, 2e-6 * ROWS * COLS * TOKENS * ROUNDS / ms);
    free(y);
    free_activation(&x);
    free_sample(&s);
}

#define VARIANT(K)                                                                                 \
    {"equals plain: " #K, equals_plain, NULL, NULL, (void *)&K},                                   \
        {"equals plain in tiles: " #K, equals_plain_in_tiles, NULL, NULL, (void *)&K},             \
    {                                                                                              \
        "tokens do not depend on each other: " #K, tokens_do_not_depend_on_each_other, NULL, NULL, \
            (void *)&K                                                                             \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_weights_are_near),
        cmocka_unit_test(odd_groups),
        cmocka_unit_test(plain_is_right),
        VARIANT(qgemm_avx2),
        VARIANT(emulated_avxvnni),
        VARIANT(emulated_avx512),
        VARIANT(emulated_amx),
        {"equals plain: the one in use", equals_plain, NULL, NULL, (void *)cpu_kernels()->qgemm},
        {"equals plain in tiles: the one in use", equals_plain_in_tiles, NULL, NULL,
         (void *)cpu_kernels()->qgemm},
    };
    print_speed("plain", &qgemm_plain, R16_INT8);
    print_speed(cpu_kernels()->name, cpu_kernels()->qgemm, R16_INT8);
    print_speed(cpu_kernels()->name, cpu_kernels()->qgemm, R16_INT4);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
