/* AMX: a tile instruction multiplies 16 tokens by the 16 rows of a panel, over 64 k (int8) or 32 k (int4), in
 * exact integers; AVX-512 adds them up as all other kernels do, so the bits are theirs.
 *
 * A group of int8 lines already is what the instruction wants on its right side, but for the sign. A stretch
 * of some panels is made signed (int4: widened) in the first-level cache, and all tokens pass it by; sums go
 * on from stretch to stretch in the order of the groups, so the stretches do not show in the result. Tiles
 * and AVX-512 work at the same time where neither waits for the other: while a group's integers are added,
 * the next group's tiles are multiplied. Fewer tokens than fill a tile are left to AVX-512. */
#include <immintrin.h>
#include <string.h>

#include "core/kernels/x86/amx.h"
#include "core/kernels/x86/qgemm_x86.h"

enum {
    TOKENS = 16,
    TOKENS_LEAST = 32, /* fewer do not pay for the signs */
    PANELS = 4,
    STRETCH_K = 512,
    STRETCH_K_FEW = 256, /* for few tokens: they are through before much is made ready */
    TOKENS_FEW = 128,
    GROUPS = STRETCH_K / R16_INT4_GROUP, /* of a stretch, at most */
    TILE = TOKENS * R16_ROWS,
    BUFFERS = 4,
    ROWS_AHEAD = TOKENS / PANELS
};

/* Tiles 0 and 1 hold integers; 2 and 3 tokens and 4 and 5 weights of int8; 6 tokens and 7 weights of int4. */

/* A stretch of some panels, made ready. */
struct stretch {
    int8_t weights[PANELS][STRETCH_K * R16_ROWS];
    float scale[PANELS][GROUPS][R16_ROWS];
    float x_scale[GROUPS][TOKENS];   /* of the tokens in hand */
    int32_t integers[BUFFERS][TILE]; /* of the groups in hand */
} __attribute__((aligned(64)));

/* `count` lines of int8, signed. */
static void sign_int8(const uint8_t *lines, int count, int8_t *out)
{
    const __m512i top = _mm512_set1_epi32((int)0x80808080);
    for (int i = 0; i < count; i++, lines += R16_LINE, out += R16_LINE)
        _mm512_store_si512(out, _mm512_xor_si512(_mm512_load_si512(lines), top));
}

/* `count` lines of int4: two of int8 each. */
static void sign_int4(const uint8_t *lines, int count, int8_t *out)
{
    const __m512i low = _mm512_set1_epi8(15), eight = _mm512_set1_epi8(8);
    for (int i = 0; i < count; i++, lines += R16_LINE, out += 2 * R16_LINE) {
        __m512i v = _mm512_load_si512(lines), high = _mm512_and_si512(_mm512_srli_epi16(v, 4), low);
        _mm512_store_si512(out, _mm512_sub_epi8(_mm512_and_si512(v, low), eight));
        _mm512_store_si512(out + R16_LINE, _mm512_sub_epi8(high, eight));
    }
}

/* The groups [first, first + count) of the panels [panel, panel + panels). */
static void make_ready(struct stretch *s, const struct packed *w, int panel, int panels, int first, int count)
{
    int group = r16_group(w->bits), lines = group * R16_ROWS * (int)w->bits / 8 / R16_LINE;
    size_t groups = (size_t)(w->cols_padded / group), bytes = r16_panel_bytes(w->bits, w->cols_padded);
    for (int i = 0; i < panels; i++) {
        const uint8_t *from = w->q + (size_t)(panel + i) * bytes + (size_t)(first * lines) * R16_LINE;
        const uint16_t *scale = w->scale + ((size_t)(panel + i) * groups + (size_t)first) * R16_ROWS;
        (w->bits == R16_INT8 ? sign_int8 : sign_int4)(from, count * lines, s->weights[i]);
        for (int g = 0; g < count; g++)
            _mm512_storeu_ps(s->scale[i][g],
                             _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(scale + g * R16_ROWS))));
    }
}

/* The weights that are made ready next, asked for while others are multiplied. */
struct ahead {
    const uint8_t *from; /* of the first panel */
    size_t panel_bytes;
    int lines, count, at; /* of a panel; of all; so many were asked for */
};

static struct ahead look_ahead(const struct packed *w, int panel, int panels, int first, int count)
{
    int lines = r16_group(w->bits) * R16_ROWS * (int)w->bits / 8 / R16_LINE;
    size_t bytes = r16_panel_bytes(w->bits, w->cols_padded);
    const uint8_t *from = w->q + (size_t)panel * bytes + (size_t)(first * lines) * R16_LINE;
    return (struct ahead){from, bytes, count * lines, count * lines * panels, 0};
}

static void ask_for_weights(struct ahead *a, int count)
{
    for (; count > 0 && a->at < a->count; count--, a->at++)
        _mm_prefetch(a->from + (size_t)(a->at / a->lines) * a->panel_bytes +
                         (size_t)(a->at % a->lines) * R16_LINE,
                     _MM_HINT_T1);
}

/* One panel's stretch by 16 tokens. */
struct job {
    const int8_t *q;       /* of the first token, at the stretch's first k */
    const int8_t *weights; /* of the panel */
    const float *scale;    /* of the panel */
    const int8_t *ahead;   /* of some later tokens, which are asked for now */
    size_t cols;
    float *y;
    size_t stride;
};

/* Asks for a line each of ROWS_AHEAD tokens of the next tile, and thus with the other panels for all of
 * it. */
static inline void ask_for_tokens(const struct job *j, int k)
{
    for (int t = 0; t < ROWS_AHEAD; t++)
        _mm_prefetch(j->ahead + (size_t)t * j->cols + k, _MM_HINT_T0);
}

/* Asks for the memory of the results, so that it is there when they are. */
static inline void ask_for_results(const struct job *j)
{
    for (int t = 0; t < TOKENS; t++)
        __builtin_prefetch(j->y + (size_t)t * j->stride, 1);
}

/* Multiplies group `g` into tile 0 or 1. */
static inline __attribute__((always_inline)) void multiply_group(const enum qgemm_bits bits,
                                                                 const struct job *j, int g, const int odd)
{
    const int8_t *q = j->q + g * r16_group(bits), *weights = j->weights + g * r16_group(bits) * R16_ROWS;
    ask_for_tokens(j, g * r16_group(bits));
    if (bits == R16_INT8 && !odd) {
        _tile_zero(0);
        _tile_loadd(2, q, j->cols);
        _tile_loadd(4, weights, R16_LINE);
        _tile_dpbssd(0, 2, 4);
    } else if (bits == R16_INT8) {
        _tile_zero(1);
        _tile_loadd(3, q, j->cols);
        _tile_loadd(5, weights, R16_LINE);
        _tile_dpbssd(1, 3, 5);
    } else if (!odd) {
        _tile_zero(0);
        _tile_loadd(6, q, j->cols);
        _tile_loadd(7, weights, R16_LINE);
        _tile_dpbssd(0, 6, 7);
    } else {
        _tile_zero(1);
        _tile_loadd(6, q, j->cols);
        _tile_loadd(7, weights, R16_LINE);
        _tile_dpbssd(1, 6, 7);
    }
}

/* Adds group `g`, whose integers were stored. */
static inline __attribute__((always_inline)) void add_group(const enum qgemm_bits bits, const struct job *j,
                                                            const struct stretch *s, int g,
                                                            __m512 total[TOKENS])
{
    const int32_t *integers = s->integers[g % BUFFERS];
    const float *x = s->x_scale[bits == R16_INT8 ? g : g / 2];
    __m512 scale = _mm512_loadu_ps(j->scale + g * R16_ROWS);
#pragma GCC unroll 16
    for (int t = 0; t < TOKENS; t++)
        total[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(integers + t * R16_ROWS)),
                                   _mm512_mul_ps(scale, _mm512_set1_ps(x[t])), total[t]);
}

/* A group is multiplied, stored, and added one step later each. */
static inline __attribute__((always_inline)) void multiply_tile(const enum qgemm_bits bits,
                                                                const struct job *j, struct stretch *s,
                                                                int groups, const bool further)
{
    __m512 total[TOKENS];
#pragma GCC unroll 16
    for (int t = 0; t < TOKENS; t++)
        total[t] = further ? _mm512_loadu_ps(j->y + (size_t)t * j->stride) : _mm512_setzero_ps();
    if (!further)
        ask_for_results(j);
    multiply_group(bits, j, 0, 0);
    int g = 0;
    for (; g + 2 < groups; g += 2) {
        multiply_group(bits, j, g + 1, 1);
        _tile_stored(0, s->integers[g % BUFFERS], R16_ROWS * sizeof(int32_t));
        if (g > 0)
            add_group(bits, j, s, g - 1, total);
        multiply_group(bits, j, g + 2, 0);
        _tile_stored(1, s->integers[(g + 1) % BUFFERS], R16_ROWS * sizeof(int32_t));
        add_group(bits, j, s, g, total);
    }
    bool two = g + 1 < groups;
    if (two)
        multiply_group(bits, j, g + 1, 1);
    _tile_stored(0, s->integers[g % BUFFERS], R16_ROWS * sizeof(int32_t));
    if (g > 0)
        add_group(bits, j, s, g - 1, total);
    if (two)
        _tile_stored(1, s->integers[(g + 1) % BUFFERS], R16_ROWS * sizeof(int32_t));
    add_group(bits, j, s, g, total);
    if (two)
        add_group(bits, j, s, g + 1, total);
#pragma GCC unroll 16
    for (int t = 0; t < TOKENS; t++)
        _mm512_storeu_ps(j->y + (size_t)t * j->stride, total[t]);
}

/* Scales of 16 tokens, where one group's stand side by side. */
static inline void take_scales(struct stretch *s, const float *scale, size_t stride, int groups)
{
    int32_t token[TOKENS] __attribute__((aligned(64)));
    for (int t = 0; t < TOKENS; t++)
        token[t] = t * (int32_t)stride;
    for (int g = 0; g < groups; g++)
        _mm512_storeu_ps(s->x_scale[g],
                         _mm512_i32gather_ps(_mm512_load_si512(token), scale + g, sizeof *scale));
}

/* All tokens, whole tiles of them, by the groups [first, first + count) of some panels. */
static inline __attribute__((always_inline)) void pass_by(const enum qgemm_bits bits, struct stretch *s,
                                                          int panels, int first, int count,
                                                          const struct activation *x, int tokens, float *y,
                                                          int stride, struct ahead *ahead)
{
    size_t cols = (size_t)x->cols_padded, x_groups = cols / R16_K;
    const int8_t *q = x->q + first * r16_group(bits);
    int share = ahead->count * TOKENS / (tokens * panels) + 1;
    AMX_STORED();
    for (int t = 0; t < tokens; t += TOKENS) {
        take_scales(s, x->scale + (size_t)t * x_groups + first * r16_group(bits) / R16_K, x_groups,
                    (count * r16_group(bits) + R16_K - 1) / R16_K);
        for (int i = 0; i < panels; i++) {
            int next = t + TOKENS < tokens ? t + TOKENS : 0;
            struct job j = {.q = q + (size_t)t * cols,
                            .ahead = q + (size_t)(next + i * ROWS_AHEAD) * cols,
                            .weights = s->weights[i],
                            .scale = s->scale[i][0],
                            .cols = cols,
                            .y = y + (size_t)t * (size_t)stride + i * R16_ROWS,
                            .stride = (size_t)stride};
            if (first > 0)
                multiply_tile(bits, &j, s, count, true);
            else
                multiply_tile(bits, &j, s, count, false);
            ask_for_weights(ahead, share);
        }
    }
}

static inline __attribute__((always_inline)) void multiply_tiles(const enum qgemm_bits bits,
                                                                 const struct packed *w, int begin, int end,
                                                                 const struct activation *x, int tokens,
                                                                 float *y, int stride)
{
    struct stretch s __attribute__((uninitialized));
    /* Stretches of about the same length; each begins where a scale of the tokens begins. */
    const int unit = R16_K / r16_group(bits), units = w->cols_padded / R16_K;
    const int stretch_k = tokens <= TOKENS_FEW ? STRETCH_K_FEW : STRETCH_K;
    const int stretches = (w->cols_padded + stretch_k - 1) / stretch_k;
    amx_configure();
    for (int panel = begin; panel < end; panel += PANELS) {
        int panels = end - panel < PANELS ? end - panel : PANELS, after = w->panels - panel - panels;
        for (int i = 0, first = 0, last; i < stretches; i++, first = last) {
            last = units * (i + 1) / stretches * unit;
            struct ahead ahead =
                i + 1 < stretches
                    ? look_ahead(w, panel, panels, last, last - first)
                    : look_ahead(w, panel + panels, after < PANELS ? after : PANELS, 0, last - first);
            make_ready(&s, w, panel, panels, first, last - first);
            pass_by(bits, &s, panels, first, last - first, x, tokens, y + (panel - begin) * R16_ROWS, stride,
                    &ahead);
        }
    }
}

/* The tokens that fill no tile. */
static void multiply_rest(const struct packed *w, int begin, int end, const struct activation *x, int done,
                          int tokens, float *y, int stride)
{
    struct activation rest = *x;
    size_t cols = (size_t)x->cols_padded, skipped = (size_t)done * cols;
    rest.q += skipped;
    rest.scale += skipped / R16_K;
    rest.sum += skipped / R16_SUM_K;
    (w->bits == R16_INT8 ? qgemm_avx512.multiply_int8 : qgemm_avx512.multiply_int4)(
        w, begin, end, &rest, tokens - done, y + (size_t)done * (size_t)stride, stride);
}

static void multiply_int8(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    int done = tokens < TOKENS_LEAST ? 0 : tokens / TOKENS * TOKENS;
    if (done > 0)
        multiply_tiles(R16_INT8, w, begin, end, x, done, y, stride);
    if (done < tokens)
        multiply_rest(w, begin, end, x, done, tokens, y, stride);
}

static void multiply_int4(const struct packed *w, int begin, int end, const struct activation *x, int tokens,
                          float *y, int stride)
{
    int done = tokens < TOKENS_LEAST ? 0 : tokens / TOKENS * TOKENS;
    if (done > 0)
        multiply_tiles(R16_INT4, w, begin, end, x, done, y, stride);
    if (done < tokens)
        multiply_rest(w, begin, end, x, done, tokens, y, stride);
}

const struct qgemm_kernels qgemm_amx = {.pack_row = qgemm_pack_row_avx2,
                                        .quantize = qgemm_quantize_avx512,
                                        .multiply_int8 = multiply_int8,
                                        .multiply_int4 = multiply_int4};
