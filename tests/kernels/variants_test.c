/* Whatever of the table runs here gives the bits of plain C, and stays inside its arrays: packing, low rank,
 * attention, vectors, training, on odd sizes. (Products of packed weights: qgemm_test.c.) */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format/bf16.h"
#include "core/kernels/attention.h"
#include "core/kernels/backward.h"
#include "core/kernels/cpu.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/qgemm.h"
#include "tests/kernels/emulated.h"

static const int sizes[] = {1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 128, 160, 161};
enum { SIZES = sizeof sizes / sizeof *sizes, LARGEST = 192, ROOM = 128 * 1024 };

/* The same numbers for the variant and for plain C; what is behind the results must stay. */
static float input[4][ROOM], expected[ROOM], found[ROOM];

static void fill(float *x, size_t count, uint32_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
}

static int fill_all(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        fill(input[i], ROOM, i);
    return 0;
}

static void begin(void)
{
    fill(expected, ROOM, 9);
    memcpy(found, expected, sizeof found);
}

/* 0: to the last bit. */
static float near;

static void compare(const char *what, int size)
{
    for (size_t i = 0; i < ROOM; i++)
        if (memcmp(&expected[i], &found[i], sizeof *found) != 0 && !(isnan(expected[i]) && isnan(found[i])) &&
            !(fabsf(expected[i] - found[i]) < near))
            fail_msg("%s of %d: number %zu is %a, plain C gives %a", what, size, i, (double)found[i],
                     (double)expected[i]);
}

/* `call` with K as plain C and y as its results, then with K as the variant. */
#define SAME(part, what, size, call)                                          \
    do {                                                                      \
        begin();                                                              \
        for (int pass_ = 0; pass_ < 2; pass_++) {                             \
            const struct part##_kernels *K = pass_ ? k->part : &part##_plain; \
            float *y = pass_ ? found : expected;                              \
            call;                                                             \
        }                                                                     \
        compare(what, size);                                                  \
    } while (0)

static void vectors(void **state)
{
    const struct kernels *k = *state;
    float *a = input[0], *b = input[1], *c = input[2];
    for (int i = 0; i < SIZES; i++) {
        int n = sizes[i];
        SAME(vector, "dot", n, y[0] = K->dot(a, b, n));
        SAME(vector, "add_scaled", n, K->add_scaled(y, a, 0.3f, n));
        SAME(vector, "add", n, K->add(y, a, n));
        SAME(vector, "multiply", n, K->multiply(y, a, n));
        SAME(vector, "rms_norm", n, K->rms_norm(y, a, b, n % 3 ? 0 : 1, 1e-5f, n));
        SAME(vector, "layer_norm", n, K->layer_norm(y, a, b, n % 5 ? c : NULL, 1e-5f, n));
        SAME(vector, "silu_gate", n, K->silu_gate(y, a, b, n));
        SAME(vector, "gelu_tanh", n, K->gelu_tanh(y, n));
        SAME(vector, "relu", n, K->relu(y, n));
        SAME(vector, "largest", n, y[0] = K->largest(a, (size_t)n));
        SAME(vector, "rotate", n, K->rotate(y, a, b, n / 2 * 2));
        SAME(vector, "argmax", n, y[0] = (float)K->argmax(a, n));
    }
}

static void odd_numbers(void **state)
{
    const struct kernels *k = *state;
    float odd[] = {0.0f,  -0.0f, INFINITY, -INFINITY, NAN,    1e-40f, -1e-40f, 3e38f, -3e38f,
                   87.0f, 88.5f, -87.5f,   1e-20f,    200.0f, 1.0f,   -1.0f,   0.5f,  2.0f};
    enum { COUNT = sizeof odd / sizeof *odd };
    SAME(vector, "silu_gate, odd", COUNT, K->silu_gate(y, odd, input[0], COUNT));
    SAME(vector, "gelu_tanh, odd", COUNT, (memcpy(y, odd, sizeof odd), K->gelu_tanh(y, COUNT)));
    SAME(vector, "relu, odd", COUNT, (memcpy(y, odd, sizeof odd), K->relu(y, COUNT)));
    SAME(vector, "largest, odd", COUNT, y[0] = K->largest(odd, COUNT));
    SAME(vector, "argmax, odd", COUNT, y[0] = (float)K->argmax(odd, COUNT));
    SAME(vector, "dot, odd", COUNT, y[0] = K->dot(odd, input[0], COUNT));
}

static void low_rank(void **state)
{
    const struct kernels *k = *state;
    static const int ranks[] = {1, 3, 8, 17};
    static uint16_t half[2][ROOM];
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < ROOM; j++)
            half[i][j] = bf16_of(input[i][j]);
    for (int i = 0; i < SIZES; i++)
        for (int tokens = 1; tokens <= 6; tokens++)
            for (int v = 0; v < 8; v++) {
                int n = sizes[i], rank = ranks[v / 2];
                struct lowrank l = {.rank = rank, .bf16 = v % 2, .a = input[0], .b = input[1]};
                if (l.bf16) {
                    l.a = half[0];
                    l.b = half[1];
                }
                const float *x = input[2], *t = input[3];
                SAME(lowrank, "shrink", n, K->shrink(&l, x, LARGEST, tokens, y, 20, n, 0, rank));
                SAME(lowrank, "expand", n,
                     for (int row = 0; row < n; row += LINEAR_ROWS)
                         K->expand(&l, t, 20, tokens, y + row, LARGEST, row,
                                   n - row < LINEAR_ROWS ? n - row : LINEAR_ROWS));
            }
}

static void check_attention(const struct kernels *k, enum kv_type type, int dim)
{
    enum { PAGES = 3 };
    size_t bytes = attention_page_bytes(type, dim);
    char *keys = malloc(bytes * PAGES), *values = malloc(bytes * PAGES);
    float *scratch = malloc(attention_scratch(dim) * sizeof *scratch);
    for (int j = 0; j < PAGES * ATTENTION_KEYS; j++)
        attention_put(type, keys + bytes * (size_t)(j / ATTENTION_KEYS),
                      values + bytes * (size_t)(j / ATTENTION_KEYS), j % ATTENTION_KEYS, input[0] + j * dim,
                      input[1] + j * dim, dim);
    for (int queries = 1; queries <= ATTENTION_QUERIES; queries += queries < 14 ? 1 : 17) {
        struct attention_tile tile;
        near = k->attention->own_order ? 1e-5f : 0;
        SAME(attention, "attention", dim, {
            attention_begin(&tile, type, dim, scratch);
            for (int i = 0; i < queries; i++)
                attention_query(&tile, i, input[2] + i * dim);
            for (int i = 0; i < queries; i++) /* as this variant lays them */
                K->query(&tile, i, input[2] + i * dim);
            for (size_t p = 0; p < PAGES; p++) {
                K->page(&tile, keys + bytes * p, values + bytes * p);
                K->add(&tile, 0, queries,
                       (struct attention_span){p == 0 ? 3 : 0, p + 1 < PAGES ? ATTENTION_KEYS : 5});
            }
            for (int i = 0; i < queries; i++)
                attention_result(&tile, i, y + i * dim);
        });
    }
    near = 0;
    free(keys);
    free(values);
    free(scratch);
}

static void attention(void **state)
{
    static const int dims[] = {1, 5, 8, 16, 31, 64, 80, 128};
    for (enum kv_type type = KV_F32; type <= KV_INT8; type++)
        for (size_t i = 0; i < sizeof dims / sizeof *dims; i++)
            check_attention(*state, type, dims[i]);
}

static void packing(void **state)
{
    const struct kernels *k = *state;
    for (int bits = R16_INT4; bits <= R16_INT8; bits += 4)
        for (int i = 0; i < SIZES; i++)
            SAME(qgemm, "pack_row", sizes[i], {
                struct packed p;
                qgemm_view(&p, (enum qgemm_bits)bits, 3, sizes[i], y);
                for (int row = 0; row < R16_ROWS; row++)
                    K->pack_row(&p, row, row < 3 ? input[row] : NULL);
            });
}

/* The product of training: shapes around the tiles', left factors in rows and in columns. */
static void products_of_training(void **state)
{
    const struct kernels *k = *state;
    static const int counts[] = {1, 3, 6, 7, 13, 30};
    for (int i = 0; i < 6 * 6 * 6 * 2; i++) {
        int rows = counts[i % 6], cols = sizes[i / 6 % 6 * 3], sum = counts[i / 36 % 6] * 9;
        bool in_rows = i / 216;
        struct backward_product p = {.left = input[0],
                                     .right = input[1],
                                     .left_row = in_rows ? 300 : 1,
                                     .left_sum = in_rows ? 1 : 33,
                                     .right_stride = LARGEST,
                                     .out_stride = LARGEST,
                                     .rows = rows,
                                     .sum = sum,
                                     .cols = cols,
                                     .further = i % 2};
        SAME(backward, "product", rows * cols, (p.out = y, K->product(&p)));
    }
}

static void gradients(void **state)
{
    const struct kernels *k = *state;
    float *a = input[0], *b = input[1], *c = input[2];
    for (int i = 0; i < SIZES; i++) {
        int n = sizes[i];
        float *y2;
        SAME(backward, "exponentials", n,
             (memcpy(y, a, (size_t)n * sizeof *y), y[n] = (float)K->exponentials(y, n, 0.9f, n % 2)));
        SAME(backward, "scale", n, K->scale(y, 0.3f, n));
        SAME(backward, "rms_norm", n,
             (y2 = y + 1000, K->rms_norm(y, n % 2 ? y2 : NULL, a, b, c, n % 3 ? 0 : 1, 1e-5f, n)));
        SAME(backward, "layer_norm", n,
             (y2 = y + 1000, K->layer_norm(y, y2, n % 2 ? y2 + 1000 : NULL, a, b, c, 1e-5f, n)));
        SAME(backward, "silu_gate", n, (y2 = y + 1000, K->silu_gate(y, y2, a, b, c, n)));
        SAME(backward, "gelu_tanh", n, K->gelu_tanh(y, a, b, n));
    }
}

/* A packed matrix of these rows and columns, of one input. */
static struct packed packed_of(int bits, int rows, int cols)
{
    static _Alignas(64) uint8_t memory[ROOM];
    struct packed p;
    assert_true(qgemm_bytes((enum qgemm_bits)bits, rows, cols) <= sizeof memory);
    qgemm_view(&p, (enum qgemm_bits)bits, rows, cols, memory);
    for (int row = 0; row < p.panels * R16_ROWS; row++)
        qgemm_plain.pack_row(&p, row, row < rows ? input[0] + row * cols : NULL);
    return p;
}

static void widening(void **state)
{
    const struct kernels *k = *state;
    for (int i = 0; i < SIZES * 2; i++) {
        int cols = sizes[i / 2];
        struct packed p = packed_of(i % 2 ? R16_INT8 : R16_INT4, 37, cols);
        SAME(backward, "widen", cols, K->widen(&p, 0, 37, 0, cols, y, LARGEST));
        SAME(backward, "widen", cols, K->widen(&p, 5, 20, cols / 32 * 16, cols, y, LARGEST));
    }
}

/* dX of all columns: [tokens, LARGEST]. */
static void multiply_half(const struct kernels *k, const struct packed *p, const struct backward_input *in,
                          float *dx, float *scratch)
{
    for (int begin = 0; begin < p->cols; begin += BACKWARD_COLS)
        for (int stretch = 0; stretch < backward_stretches(in->rows); stretch++)
            k->backward_half->multiply(p, begin,
                                       begin + BACKWARD_COLS < p->cols ? begin + BACKWARD_COLS : p->cols,
                                       stretch, in, dx + begin, LARGEST, scratch);
}

/* dX in bf16 beside the same in f32, and of a token alone; other numbers stay as they are. */
static void halves(void **state)
{
    const struct kernels *k = *state;
    static const struct {
        int rows, cols, tokens;
    } shapes[] = {{1, 1, 1}, {16, 16, 16}, {17, 33, 33}, {40, 130, 17}, {130, 161, 32}, {700, 40, 34}};
    static _Alignas(64) uint16_t prepared[ROOM];
    static _Alignas(64) float scratch[ROOM + 1024];
    for (size_t i = 0; i < 2 * sizeof shapes / sizeof *shapes && k->backward_half; i++) {
        int rows = shapes[i / 2].rows, cols = shapes[i / 2].cols, tokens = shapes[i / 2].tokens;
        struct packed p = packed_of(i % 2 ? R16_INT8 : R16_INT4, rows, cols);
        struct backward_input in = {input[1], rows + 1, tokens, rows, prepared};
        begin();
        k->backward_half->prepare(&in, 0, tokens / 2);
        k->backward_half->prepare(&in, tokens / 2, tokens);
        multiply_half(k, &p, &in, found, scratch);
        struct backward_product exact = {.left = input[1],
                                         .left_row = (size_t)rows + 1,
                                         .left_sum = 1,
                                         .right_stride = LARGEST,
                                         .out = expected,
                                         .out_stride = LARGEST,
                                         .rows = tokens,
                                         .sum = rows,
                                         .cols = cols};
        static float whole[700 * LARGEST];
        backward_plain.widen(&p, 0, rows, 0, cols, whole, LARGEST);
        exact.right = whole;
        backward_plain.product(&exact);
        near = 0.004f * sqrtf((float)rows);
        compare("dX in bf16", cols);
        near = 0;
        for (int t = 0; t < tokens; t++) {
            struct backward_input one = {input[1] + t * (rows + 1), 1, 1, rows, prepared};
            k->backward_half->prepare(&one, 0, 1);
            multiply_half(k, &p, &one, expected, scratch);
            assert_memory_equal(expected, found + t * LARGEST, (size_t)cols * sizeof *found);
        }
    }
}

/* The list begins with plain C, and every part of every row is there. */
static void the_table_is_complete(void **state)
{
    (void)state;
    size_t count;
    const struct kernels *all = cpu_variants(&count);
    assert_string_equal(all[0].name, "plain");
    for (size_t i = 0; i < count; i++) {
        assert_non_null(all[i].runs);
        assert_non_null(all[i].qgemm->pack_row);
        assert_non_null(all[i].qgemm->quantize);
        assert_non_null(all[i].qgemm->multiply_int8);
        assert_non_null(all[i].qgemm->multiply_int4);
        assert_non_null(all[i].lowrank->shrink);
        assert_non_null(all[i].attention->page);
        assert_non_null(all[i].vector->argmax);
        assert_non_null(all[i].backward->gelu_tanh);
    }
}

/* ADAPTERD_KERNELS, asked anew each time: cpu_check does not remember. */
static void names_are_checked(void **state)
{
    (void)state;
    struct err e;
    static const char *const wrong[] = {"", "AVX2", "avx2 ", "none", "plain,avx2"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        setenv("ADAPTERD_KERNELS", wrong[i], 1);
        assert_int_equal(cpu_check(&e), -1);
        assert_string_equal(e.code, "cpu_unsupported");
    }
    size_t count;
    const struct kernels *all = cpu_variants(&count);
    bool enough = count == 1 || all[1].runs(); /* the second is the least that a CPU must have */
    for (size_t i = 0; i < count; i++) {
        setenv("ADAPTERD_KERNELS", all[i].name, 1);
        assert_int_equal(cpu_check(&e), enough && all[i].runs() ? 0 : -1);
    }
    unsetenv("ADAPTERD_KERNELS");
    assert_int_equal(cpu_check(&e), enough ? 0 : -1);
}

int main(void)
{
    static const struct {
        const char *name;
        void (*test)(void **state);
    } each[] = {{"vectors", vectors},     {"odd numbers", odd_numbers},
                {"low rank", low_rank},   {"attention", attention},
                {"packing", packing},     {"products of training", products_of_training},
                {"gradients", gradients}, {"widening", widening},
                {"halves", halves}};
    enum { EACH = sizeof each / sizeof *each, TESTS_MAX = 96, NAME = 64 };
    static struct CMUnitTest tests[TESTS_MAX];
    static char names[TESTS_MAX][NAME];
    size_t count, filled = 0;
    const struct kernels *all = cpu_variants(&count);
    tests[filled++] = (struct CMUnitTest)cmocka_unit_test(the_table_is_complete);
    tests[filled++] = (struct CMUnitTest)cmocka_unit_test(names_are_checked);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < EACH && all[i].runs() && filled < TESTS_MAX - 1; j++) {
            snprintf(names[filled], NAME, "%s: %s", all[i].name, each[j].name);
            tests[filled] =
                (struct CMUnitTest){names[filled], each[j].test, NULL, NULL, (void *)(uintptr_t)&all[i]};
            filled++;
        }
    static const struct kernels emulated = {.name = "emulated amx", .attention = &emulated_attention_amx};
    tests[filled++] =
        (struct CMUnitTest){"emulated amx: attention", attention, NULL, NULL, (void *)(uintptr_t)&emulated};
    return _cmocka_run_group_tests("variants", tests, filled, fill_all, NULL);
}
