/* The products of training against plain loops in double, on odd sizes and with guards around what they
 * write; and that a token's gradient depends on that token alone. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/format/bf16.h"
#include "core/kernels/backward.h"

enum { GUARD = 16 };
static const float guard_value = -12345.678f;

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

static void assert_near(const char *what, size_t at, float found, double expected, double allowed)
{
    if (!(fabs((double)found - expected) <= allowed))
        fail_msg("%s: number %zu is %.9g, expected %.9g", what, at, (double)found, expected);
}

/* ---- dX = dY W ---- */

static const struct shape {
    int rows, cols, tokens;
} shapes[] = {{1, 1, 1},    {3, 5, 2},     {16, 64, 16},  {17, 65, 15},  {33, 100, 17},
              {64, 64, 33}, {100, 130, 1}, {130, 70, 50}, {256, 96, 31}, {300, 192, 65}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

/* One weight matrix, and what it means to the products. */
struct layer {
    struct matrix w;
    struct packed packed;
    void *data, *memory;
    double *meant; /* [rows, cols] */
};

static struct layer layer_new(struct shape s, enum dtype type, bool transposed, int bits)
{
    size_t count = (size_t)s.rows * (size_t)s.cols;
    struct layer l = {.data = malloc(count * sizeof(float)), .meant = malloc(count * sizeof(double))};
    float *row = malloc((size_t)s.cols * sizeof *row);
    uint32_t seed = 7;
    for (size_t i = 0; i < count; i++) {
        if (type == DTYPE_F32)
            ((float *)l.data)[i] = pseudo_random(&seed);
        else
            ((uint16_t *)l.data)[i] = bf16_of(pseudo_random(&seed));
    }
    l.w = (struct matrix){
        .data = l.data, .dtype = type, .rows = s.rows, .cols = s.cols, .transposed = transposed};
    if (bits) {
        l.memory = aligned_alloc(64, (qgemm_bytes((enum qgemm_bits)bits, s.rows, s.cols) + 63) / 64 * 64);
        qgemm_view(&l.packed, (enum qgemm_bits)bits, s.rows, s.cols, l.memory);
        qgemm_pack(&l.packed, &l.w, 0, l.packed.panels, row);
    }
    for (int j = 0; j < s.rows; j++) {
        bits ? qgemm_unpack_row(&l.packed, j, row) : matrix_row(&l.w, j, row);
        for (int k = 0; k < s.cols; k++)
            l.meant[(size_t)j * (size_t)s.cols + (size_t)k] = (double)row[k];
    }
    free(row);
    return l;
}

static void layer_free(struct layer *l)
{
    free(l->data);
    free(l->memory);
    free(l->meant);
}

/* dx of all tokens, prepared in shares of `share` tokens, `width` columns at a time. */
static void multiply(const struct layer *l, const float *dy, int stride, int tokens, int share, int width,
                     float *dx, int dx_stride)
{
    bool packed = l->memory != NULL;
    struct backward_input in = {.dy = dy, .stride = stride, .tokens = tokens, .rows = l->w.rows};
    size_t bytes = backward_input_bytes(tokens, l->w.rows, packed);
    in.prepared = bytes ? aligned_alloc(64, (bytes + 63) / 64 * 64) : NULL;
    for (int t = 0; t < tokens; t += share)
        backward_prepare(&in, packed, t, t + share < tokens ? t + share : tokens);
    size_t room = backward_scratch();
    float *scratch = guarded(room, 3);
    for (int k = 0; k < l->w.cols; k += width)
        for (int stretch = 0; stretch < backward_stretches(l->w.rows); stretch++)
            backward_stretch(&l->w, packed ? &l->packed : NULL, k,
                             k + width < l->w.cols ? k + width : l->w.cols, stretch, &in, dx + k, dx_stride,
                             scratch);
    release(scratch, room);
    free(in.prepared);
}

/* `rounding`: of one factor, relative. */
static void check_product(const struct layer *l, int tokens, double rounding)
{
    int rows = l->w.rows, cols = l->w.cols, stride = rows + 3, dx_stride = cols + 5;
    size_t room = (size_t)tokens * (size_t)dx_stride;
    float *dy = guarded((size_t)tokens * (size_t)stride, 5), *dx = guarded(room, 6),
          *before = guarded(room, 6);
    multiply(l, dy, stride, tokens, 16, BACKWARD_COLS, dx, dx_stride);
    for (int t = 0; t < tokens; t++)
        for (int k = 0; k < dx_stride; k++) {
            size_t at = (size_t)t * (size_t)dx_stride + (size_t)k;
            double sum = 0, magnitude = 0;
            for (int j = 0; j < rows && k < cols; j++) {
                double product = (double)dy[(size_t)t * (size_t)stride + (size_t)j] *
                                 l->meant[(size_t)j * (size_t)cols + (size_t)k];
                sum += product;
                magnitude += fabs(product);
            }
            if (k < cols)
                assert_near("dx", at, dx[at], sum, rounding * magnitude + 1e-7);
            else
                assert_true(dx[at] == before[at]); /* what stands between the rows */
        }
    release(dy, (size_t)tokens * (size_t)stride);
    release(dx, room);
    release(before, room);
}

static const struct kind {
    enum dtype type;
    bool transposed;
    int bits;
} kinds[] = {{DTYPE_F32, false, 0}, {DTYPE_F32, true, 0},  {DTYPE_BF16, false, 0},
             {DTYPE_BF16, true, 0}, {DTYPE_F32, false, 8}, {DTYPE_F32, false, 4}};
enum { KINDS = sizeof kinds / sizeof *kinds };

static void products(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPES; i++)
        for (int k = 0; k < KINDS; k++) {
            struct layer l = layer_new(shapes[i], kinds[k].type, kinds[k].transposed, kinds[k].bits);
            check_product(&l, shapes[i].tokens, kinds[k].bits ? 0x1p-7 : 1e-6);
            layer_free(&l);
        }
}

/* A token alone, and at another place among others: the same bits. */
static void a_token_stands_alone(void **state)
{
    (void)state;
    enum { TOKENS = 37 };
    for (int k = 0; k < KINDS; k++) {
        struct shape s = {150, 130, TOKENS};
        struct layer l = layer_new(s, kinds[k].type, kinds[k].transposed, kinds[k].bits);
        float *dy = guarded((size_t)(TOKENS * s.rows), 5), *all = guarded((size_t)(TOKENS * s.cols), 6),
              *one = guarded((size_t)s.cols, 6), *parts = guarded((size_t)(TOKENS * s.cols), 6);
        multiply(&l, dy, s.rows, TOKENS, TOKENS, BACKWARD_COLS, all, s.cols);
        multiply(&l, dy, s.rows, TOKENS, 1, LINEAR_ROWS, parts, s.cols);
        assert_memory_equal(all, parts, (size_t)(TOKENS * s.cols) * sizeof *all);
        for (int t = 0; t < TOKENS; t++) {
            multiply(&l, dy + t * s.rows, s.rows, 1, 1, LINEAR_ROWS, one, s.cols);
            assert_memory_equal(one, all + t * s.cols, (size_t)s.cols * sizeof *one);
        }
        release(dy, (size_t)(TOKENS * s.rows));
        release(all, (size_t)(TOKENS * s.cols));
        release(parts, (size_t)(TOKENS * s.cols));
        release(one, (size_t)s.cols);
        layer_free(&l);
    }
}

/* ---- sums over tokens ---- */

static void sums_over_tokens(void **state)
{
    (void)state;
    static const int counts[] = {1, 2, 3, 8, 9, 17, 33, 64, 100};
    enum { COUNTS = sizeof counts / sizeof *counts };
    for (int i = 0; i < COUNTS * COUNTS; i++) {
        int rows = counts[i / COUNTS], cols = counts[i % COUNTS], tokens = 1 + i * 7 % 70;
        int g_stride = cols + 2, s_stride = rows + 1, x_stride = cols + 3;
        size_t room = (size_t)rows * (size_t)g_stride;
        float *s = guarded((size_t)(tokens * s_stride), 1), *x = guarded((size_t)(tokens * x_stride), 2);
        float *g = guarded(room, 3), *before = guarded(room, 3), *parts = guarded(room, 3);
        backward_outer(g, g_stride, s, s_stride, rows, x, x_stride, cols, tokens);
        for (int r = 0; r < rows; r++)
            for (int k = 0; k < g_stride; k++) {
                size_t at = (size_t)(r * g_stride + k);
                double sum = (double)before[at];
                for (int t = 0; t < tokens && k < cols; t++)
                    sum += (double)s[t * s_stride + r] * (double)x[t * x_stride + k];
                assert_near("sum", at, g[at], sum, k < cols ? 1e-6 * (tokens + 1) : 0);
            }
        /* The chain goes on where another call left it. */
        int half = tokens / 2;
        backward_outer(parts, g_stride, s, s_stride, rows, x, x_stride, cols, half);
        backward_outer(parts, g_stride, s + half * s_stride, s_stride, rows, x + half * x_stride, x_stride,
                       cols, tokens - half);
        assert_memory_equal(g, parts, room * sizeof *g);
        release(s, (size_t)(tokens * s_stride));
        release(x, (size_t)(tokens * x_stride));
        release(g, room);
        release(before, room);
        release(parts, room);
    }
}

/* ---- the loss ---- */

static void check_loss(int vocab, int target, float weight)
{
    float *logits = guarded((size_t)vocab, 4), *before = guarded((size_t)vocab, 4);
    for (int i = 0; i < vocab; i++)
        before[i] = logits[i] *= 20;
    double largest = -INFINITY, sum = 0;
    int top = 0;
    for (int i = 0; i < vocab; i++)
        if ((double)before[i] > largest) {
            largest = (double)before[i];
            top = i;
        }
    for (int i = 0; i < vocab; i++)
        sum += exp((double)before[i] - largest);
    bool correct = !(top == target);
    double loss = backward_cross_entropy(logits, vocab, target, weight, &correct);
    double expected = log(sum) + largest - (double)before[target];
    assert_near("loss", 0, (float)loss, expected, 1e-6 * (fabs(expected) + 1));
    assert_int_equal(correct, top == target);
    for (int i = 0; i < vocab; i++) {
        double p = exp((double)before[i] - largest) / sum;
        if (weight == 0)
            assert_true(logits[i] == before[i]);
        else
            assert_near("gradient", (size_t)i, logits[i], (double)weight * (p - (i == target)), 1e-6);
    }
    release(logits, (size_t)vocab);
    release(before, (size_t)vocab);
}

static void losses(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 7, 8, 9, 16, 31, 33, 100, 4096, 5003};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int target = 0; target < sizes[i]; target += sizes[i] / 3 + 1) {
            check_loss(sizes[i], target, 0);
            check_loss(sizes[i], target, 0.25f);
        }
}

/* ---- attention ---- */

/* What query t of head h scores for key j, scaled and capped. */
static double score_of(const struct backward_attention *a, int h, int t, int j)
{
    double score = 0, cap = (double)a->cap;
    for (int d = 0; d < a->dim; d++)
        score += (double)a->q[t * a->qkv_stride + h * a->dim + d] * (double)a->k[j * a->qkv_stride + d];
    score *= (double)a->scale;
    return cap > 0 ? cap * tanh(score / cap) : score;
}

/* Attention of one sequence in double; p: [heads, tokens, tokens]. */
static void reference_attention(const struct backward_attention *a, double *p, double *out)
{
    for (int h = 0; h < a->count; h++)
        for (int t = 0; t < a->tokens; t++) {
            double *row = p + (size_t)(h * a->tokens + t) * (size_t)a->tokens, sum = 0;
            for (int j = 0; j < a->tokens; j++) {
                bool seen = j <= t && (a->window == 0 || j > t - a->window);
                row[j] = seen ? exp(score_of(a, h, t, j)) : 0;
                sum += row[j];
            }
            for (int j = 0; j < a->tokens; j++)
                row[j] /= sum;
            for (int d = 0; d < a->dim; d++) {
                double *to = out + (size_t)t * (size_t)(a->count * a->dim) + h * a->dim + d;
                *to = 0;
                for (int j = 0; j < a->tokens; j++)
                    *to += row[j] * (double)a->v[j * a->qkv_stride + d];
            }
        }
}

/* Its gradients in double: dq [tokens, count, dim], dk and dv [tokens, dim]. */
static void reference_gradients(const struct backward_attention *a, const double *p, const double *out,
                                double *dq, double *dk, double *dv)
{
    int width = a->count * a->dim;
    memset(dq, 0, (size_t)(a->tokens * width) * sizeof *dq);
    memset(dk, 0, (size_t)(a->tokens * a->dim) * sizeof *dk);
    memset(dv, 0, (size_t)(a->tokens * a->dim) * sizeof *dv);
    for (int h = 0; h < a->count; h++)
        for (int t = 0; t < a->tokens; t++)
            for (int j = 0; j <= t; j++) {
                double weight = p[(size_t)(h * a->tokens + t) * (size_t)a->tokens + (size_t)j], ds = 0;
                for (int d = 0; d < a->dim; d++)
                    ds += (double)a->dout[t * a->dout_stride + h * a->dim + d] *
                          ((double)a->v[j * a->qkv_stride + d] - out[t * width + h * a->dim + d]);
                ds *= weight * (double)a->scale;
                double share = a->cap > 0 ? score_of(a, h, t, j) / (double)a->cap : 0;
                ds *= 1 - share * share;
                for (int d = 0; d < a->dim; d++) {
                    dq[t * width + h * a->dim + d] += ds * (double)a->k[j * a->qkv_stride + d];
                    dk[j * a->dim + d] += ds * (double)a->q[t * a->qkv_stride + h * a->dim + d];
                    dv[j * a->dim + d] += weight * (double)a->dout[t * a->dout_stride + h * a->dim + d];
                }
            }
}

static void check_attention(int tokens, int count, int dim, int window, float cap)
{
    int width = count * dim, qkv = width + 2 * dim + 3, gradients = qkv + 2;
    struct backward_attention a = {.qkv_stride = qkv,
                                   .out_stride = width + 1,
                                   .dqkv_stride = gradients,
                                   .dout_stride = width + 2,
                                   .tokens = tokens,
                                   .count = count,
                                   .dim = dim,
                                   .window = window,
                                   .scale = 1.0f / sqrtf((float)dim),
                                   .cap = cap};
    size_t room = (size_t)(tokens * qkv), n = (size_t)(tokens * width), d_room = (size_t)(tokens * gradients);
    float *x = guarded(room, 1), *out = guarded(n + (size_t)tokens, 2), *dx = guarded(d_room, 3),
          *dout = guarded(n + 2 * (size_t)tokens, 4);
    double *p = calloc((size_t)(count * tokens) * (size_t)tokens, sizeof *p),
           *exact = malloc(n * sizeof *exact), *dq = malloc(n * sizeof *dq),
           *dk = malloc((size_t)(tokens * dim) * sizeof *dk),
           *dv = malloc((size_t)(tokens * dim) * sizeof *dv);
    a.q = x;
    a.k = x + width;
    a.v = x + width + dim;
    a.dq = dx;
    a.dk = dx + width;
    a.dv = dx + width + dim;
    a.out = out;
    a.dout = dout;
    reference_attention(&a, p, exact);
    for (int t = 0; t < tokens; t++)
        for (int i = 0; i < width; i++)
            out[t * a.out_stride + i] = (float)exact[t * width + i];
    reference_gradients(&a, p, exact, dq, dk, dv);
    size_t scratch_room = backward_attention_scratch(tokens, dim, cap > 0);
    float *scratch = guarded(scratch_room, 5);
    backward_attention_run(&a, scratch);
    double allowed = 2e-6 * sqrt(tokens) * count;
    for (int t = 0; t < tokens; t++) {
        for (int i = 0; i < width; i++)
            assert_near("dq", (size_t)(t * width + i), a.dq[t * gradients + i], dq[t * width + i], allowed);
        for (int i = 0; i < dim; i++) {
            assert_near("dk", (size_t)(t * dim + i), a.dk[t * gradients + i], dk[t * dim + i], allowed);
            assert_near("dv", (size_t)(t * dim + i), a.dv[t * gradients + i], dv[t * dim + i], allowed);
        }
    }
    release(scratch, scratch_room);
    release(x, room);
    release(out, n + (size_t)tokens);
    release(dx, d_room);
    release(dout, n + 2 * (size_t)tokens);
    free(p);
    free(exact);
    free(dq);
    free(dk);
    free(dv);
}

static void attention(void **state)
{
    (void)state;
    static const struct {
        int tokens, count, dim, window;
    } cases[] = {{1, 1, 8, 0},    {2, 1, 16, 0},   {31, 2, 32, 0},  {32, 1, 64, 0},
                 {33, 7, 64, 0},  {50, 3, 24, 0},  {70, 1, 96, 20}, {100, 2, 64, 1},
                 {65, 4, 10, 33}, {40, 2, 64, 40}, {97, 7, 64, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_attention(cases[i].tokens, cases[i].count, cases[i].dim, cases[i].window, 0);
        check_attention(cases[i].tokens, cases[i].count, cases[i].dim, cases[i].window, 0.5f);
    }
}

/* ---- vectors: by central differences in double ---- */

static double rms_norm(const double *x, const double *weight, const double *dy, double eps, int n)
{
    double squares = 0, sum = 0;
    for (int i = 0; i < n; i++)
        squares += x[i] * x[i];
    for (int i = 0; i < n; i++)
        sum += dy[i] * x[i] * weight[i] / sqrt(squares / n + eps);
    return sum;
}

static double layer_norm(const double *x, const double *weight, const double *dy, double eps, int n)
{
    double mean = 0, squares = 0, sum = 0;
    for (int i = 0; i < n; i++)
        mean += x[i] / n;
    for (int i = 0; i < n; i++)
        squares += (x[i] - mean) * (x[i] - mean);
    for (int i = 0; i < n; i++)
        sum += dy[i] * (x[i] - mean) * weight[i] / sqrt(squares / n + eps);
    return sum;
}

typedef double scalar(const double *x, const double *weight, const double *dy, double eps, int n);

/* The slope of f in argument `which` (0: x, 1: weight) at its number i. */
static double slope(scalar *f, double *x, double *weight, const double *dy, double eps, int n, double *at)
{
    const double step = 1e-5, kept = *at;
    *at = kept + step;
    double above = f(x, weight, dy, eps, n);
    *at = kept - step;
    double below = f(x, weight, dy, eps, n);
    *at = kept;
    return (above - below) / (2 * step);
}

/* plus: of an RMS norm whose weights are stored around 0. */
static void check_norm(int n, bool centered, float plus)
{
    float *x = guarded((size_t)n, 1), *weight = guarded((size_t)n, 2), *dy = guarded((size_t)n, 3),
          *dx = guarded((size_t)n, 4), *dweight = guarded((size_t)n, 5), *dbias = guarded((size_t)n, 6);
    float *before = guarded((size_t)n, 4), *weight_before = guarded((size_t)n, 5),
          *bias_before = guarded((size_t)n, 6), *again = guarded((size_t)n, 4);
    double wide[3][1000];
    for (int i = 0; i < n; i++) {
        wide[0][i] = (double)x[i];
        wide[1][i] = (double)weight[i] + (double)plus;
        wide[2][i] = (double)dy[i];
    }
    const float eps = 1e-2f;
    if (centered) {
        backward_layer_norm(dx, dweight, dbias, dy, x, weight, eps, n);
        backward_layer_norm(again, NULL, NULL, dy, x, weight, eps, n);
    } else {
        backward_rms_norm(dx, dweight, dy, x, weight, plus, eps, n);
        backward_rms_norm(again, NULL, dy, x, weight, plus, eps, n);
    }
    assert_memory_equal(dx, again, (size_t)n * sizeof *dx);
    scalar *f = centered ? layer_norm : rms_norm;
    for (int i = 0; i < n; i++) {
        double by_x = slope(f, wide[0], wide[1], wide[2], (double)eps, n, &wide[0][i]);
        double by_weight = slope(f, wide[0], wide[1], wide[2], (double)eps, n, &wide[1][i]);
        assert_near("dx of a norm", (size_t)i, dx[i], (double)before[i] + by_x, 1e-5);
        assert_near("dweight of a norm", (size_t)i, dweight[i], (double)weight_before[i] + by_weight, 1e-5);
        if (centered)
            assert_near("dbias of a norm", (size_t)i, dbias[i], (double)bias_before[i] + wide[2][i], 1e-6);
    }
    float *all[] = {x, weight, dy, dx, dweight, dbias, before, weight_before, bias_before, again};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i], (size_t)n);
}

static double silu(double x)
{
    return x / (1 + exp(-x));
}

static double gelu(double x)
{
    return 0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)));
}

static void check_activations(int n)
{
    float *gate = guarded((size_t)n, 1), *up = guarded((size_t)n, 2), *dy = guarded((size_t)n, 3),
          *dgate = guarded((size_t)n, 4), *dup = guarded((size_t)n, 5), *dx = guarded((size_t)n, 6);
    const double step = 1e-5;
    for (int i = 0; i < n; i++)
        gate[i] *= 8;
    backward_silu_gate(dgate, dup, dy, gate, up, n);
    backward_gelu_tanh(dx, dy, gate, n);
    for (int i = 0; i < n; i++) {
        double x = (double)gate[i], d = (double)dy[i];
        double of_silu = (silu(x + step) - silu(x - step)) / (2 * step);
        assert_near("dgate", (size_t)i, dgate[i], d * (double)up[i] * of_silu, 2e-6);
        assert_near("dup", (size_t)i, dup[i], d * silu(x), 2e-6);
        assert_near("dx of gelu", (size_t)i, dx[i], d * (gelu(x + step) - gelu(x - step)) / (2 * step), 2e-6);
    }
    for (int first = 0; first < n; first += BACKWARD_COLS)
        backward_gelu_gate(dgate + first, dup + first, dy + first, gate + first, up + first,
                           n - first < BACKWARD_COLS ? n - first : BACKWARD_COLS);
    for (int i = 0; i < n; i++) {
        double x = (double)gate[i], d = (double)dy[i];
        double slope_of_gelu = (gelu(x + step) - gelu(x - step)) / (2 * step);
        assert_near("dgate of gelu", (size_t)i, dgate[i], d * (double)up[i] * slope_of_gelu, 2e-6);
        assert_near("dup of gelu", (size_t)i, dup[i], d * gelu(x), 2e-6);
    }
    float *all[] = {gate, up, dy, dgate, dup, dx};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        release(all[i], (size_t)n);
}

static void vectors(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 7, 8, 9, 15, 16, 33, 100, 257, 1000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        check_norm(sizes[i], false, 0);
        check_norm(sizes[i], false, 1);
        check_norm(sizes[i], true, 0);
        check_activations(sizes[i]);
    }
}

/* What cannot be answered is not a number, and large numbers do not overflow. */
static void extremes(void **state)
{
    (void)state;
    float gate[] = {200, -200, 0}, up[] = {1, 1, 1}, dy[] = {1, 1, 1}, dgate[3], dup[3];
    backward_silu_gate(dgate, dup, dy, gate, up, 3);
    assert_true(dgate[0] == 1 && dgate[1] == 0 && dgate[2] == 0.5f);
    assert_true(dup[0] == 200 && dup[1] == 0 && dup[2] == 0);
    float logits[] = {1e30f, -1e30f, 0};
    bool correct;
    assert_true(backward_cross_entropy(logits, 3, 0, 1, &correct) == 0 && correct);
    float missing[] = {NAN, 1, 2};
    assert_true(isnan(backward_cross_entropy(missing, 3, 1, 1, &correct)));
}

int main(void)
{
    linear_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products),         cmocka_unit_test(a_token_stands_alone),
        cmocka_unit_test(sums_over_tokens), cmocka_unit_test(losses),
        cmocka_unit_test(attention),        cmocka_unit_test(vectors),
        cmocka_unit_test(extremes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
