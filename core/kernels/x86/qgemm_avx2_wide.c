/* AVX2, many tokens by int8: both sides as int16. Multiplying pairs of int16 needs no sign to be moved from
 * one side to the other, so it takes four instructions where bytes take five and a half; a stretch of weights
 * is widened once for all tokens. */
#include <immintrin.h>
#include <string.h>

#include "core/kernels/x86/qgemm_x86.h"

enum {
    TOKENS = 4,
    PANELS = 4,
    STRETCH = 8, /* groups of 64 k: 16 KiB of int16 */
    LINES = R16_INT8_GROUP / 4,
    GROUP = LINES * R16_LINE /* numbers of a panel's group */
};

/* Here the compiler must keep v in a register and the order of additions: else GCC 12 adds the products up
 * first and has no registers left for the sums. */
#define KEEP(v) __asm__("" : "+x"(v))

/* Of four k each, the even ones first: [0, 2, 1, 3]. */
void qgemm_widen_avx2(const int8_t *q, int cols_padded, int16_t *wide)
{
    const __m256i order = _mm256_setr_epi8(0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15, 0, 1, 4, 5,
                                           2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15);
    for (int k = 0; k < cols_padded; k += 16) {
        __m256i v = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(q + k)));
        _mm256_storeu_si256((__m256i *)(wide + k), _mm256_shuffle_epi8(v, order));
    }
}

/* One line becomes four vectors: even and odd k of the first eight rows, then of the others. */
static void widen_lines(const uint8_t *lines, int count, int16_t *out)
{
    const __m256i top = _mm256_set1_epi8((char)0x80);
    for (int i = 0; i < count * 2; i++) {
        __m256i w = _mm256_xor_si256(_mm256_load_si256((const __m256i *)lines + i), top);
        __m256i *to = (__m256i *)out + 2 * i;
        _mm256_store_si256(to, _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8));
        _mm256_store_si256(to + 1, _mm256_srai_epi16(w, 8));
    }
}

static inline __m256i broadcast2(const int16_t *p)
{
    int32_t pair;
    memcpy(&pair, p, sizeof pair);
    return _mm256_set1_epi32(pair);
}

/* A stretch of one panel, widened, for all tokens. */
struct stretch {
    const int16_t *weights; /* of the groups [first, last) */
    const uint16_t *scale;  /* of the panel */
    const uint8_t *next;    /* what is widened next, as long as this; NULL: nothing near */
    int groups, first, last;
    const struct activation *x;
    float *y; /* where the panel's first row goes; holds the sums of the groups before `first` */
    int stride;
};

/* The integers of group g of `count` tokens (a constant where this is inlined). */
static inline __attribute__((always_inline)) void multiply_group(const struct stretch *s, int token, int g,
                                                                 const int count, __m256i sum[TOKENS][2])
{
    const int16_t *weights = s->weights + (size_t)(g - s->first) * GROUP,
                  *x = s->x->wide + (size_t)token * (size_t)s->x->cols_padded + (size_t)g * R16_INT8_GROUP;
    for (int t = 0; t < count; t++)
        sum[t][0] = sum[t][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (int j = 0; j < LINES; j++) {
        const __m256i *line = (const __m256i *)(weights + j * R16_LINE);
        __m256i even0 = _mm256_load_si256(line), odd0 = _mm256_load_si256(line + 1),
                even1 = _mm256_load_si256(line + 2), odd1 = _mm256_load_si256(line + 3);
#pragma GCC unroll 4
        for (int t = 0; t < count; t++) {
            const int16_t *at = x + (size_t)t * (size_t)s->x->cols_padded + 4 * j;
            __m256i even = broadcast2(at), odd = broadcast2(at + 2);
            sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(even, even0));
            KEEP(sum[t][0]);
            sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(even, even1));
            KEEP(sum[t][1]);
            sum[t][0] = _mm256_add_epi32(sum[t][0], _mm256_madd_epi16(odd, odd0));
            KEEP(sum[t][0]);
            sum[t][1] = _mm256_add_epi32(sum[t][1], _mm256_madd_epi16(odd, odd1));
            KEEP(sum[t][1]);
        }
    }
}

/* Sums stay in y from group to group: registers are for the integers. */
static inline __attribute__((always_inline)) void tile(const struct stretch *s, int token, const int count)
{
    for (int g = s->first; g < s->last; g++) {
        __m256i sum[TOKENS][2];
        multiply_group(s, token, g, count, sum);
        for (int t = 0; t < count; t++) {
            float *y = s->y + (size_t)(token + t) * (size_t)s->stride;
            float x_scale = s->x->scale[(size_t)(token + t) * (size_t)s->groups + (size_t)g];
            for (int half = 0; half < 2; half++) {
                __m256 scale = qgemm_half_to_float(s->scale + g * R16_ROWS + 8 * half),
                       before = g ? _mm256_loadu_ps(y + 8 * half) : _mm256_setzero_ps();
                _mm256_storeu_ps(y + 8 * half, qgemm_add_group(before, sum[t][half], scale, x_scale));
            }
        }
    }
}

/* While the tokens pass, the next weights come from memory: widening alone would wait for them. */
static void all_tokens(const struct stretch *s, int tokens)
{
    int tiles = tokens / TOKENS, lines = (s->last - s->first) * LINES, t = 0;
    for (int i = 0; i < tiles; i++, t += TOKENS) {
        for (int k = lines * i / tiles; s->next && k < lines * (i + 1) / tiles; k++)
            _mm_prefetch((const char *)s->next + (size_t)k * R16_LINE, _MM_HINT_T1);
        tile(s, t, TOKENS);
    }
    for (; t < tokens; t++)
        tile(s, t, 1);
}

/* Some panels, stretch by stretch: the tokens' numbers of a stretch, and the sums, stay in the second-level
 * cache. */
static void multiply_panels(const struct packed *w, int begin, int end, const struct activation *x,
                            int tokens, float *y, int stride)
{
    _Alignas(R16_LINE) int16_t weights[STRETCH * GROUP];
    struct stretch s = {
        .weights = weights, .groups = w->cols_padded / R16_INT8_GROUP, .x = x, .stride = stride};
    for (; s.first < s.groups; s.first = s.last) {
        s.last = s.first + STRETCH < s.groups ? s.first + STRETCH : s.groups;
        for (int i = begin; i < end; i++) {
            const uint8_t *lines = w->q + ((size_t)i * (size_t)s.groups + (size_t)s.first) * GROUP;
            widen_lines(lines, (s.last - s.first) * LINES, weights);
            s.next = i + 1 < w->panels ? lines + (size_t)s.groups * GROUP : NULL;
            s.scale = w->scale + (size_t)i * (size_t)s.groups * R16_ROWS;
            s.y = y + (i - begin) * R16_ROWS;
            all_tokens(&s, tokens);
        }
    }
}

void qgemm_multiply_wide_avx2(const struct packed *w, int begin, int end, const struct activation *x,
                              int tokens, float *y, int stride)
{
    for (int i = begin; i < end; i += PANELS)
        multiply_panels(w, i, i + PANELS < end ? i + PANELS : end, x, tokens, y + (i - begin) * R16_ROWS,
                        stride);
}
