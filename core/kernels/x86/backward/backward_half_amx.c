/* dX = dY W with AMX: tiles of 16 tokens by 32 rows of the gradients, and of these rows by 16 columns of the
 * weights, in bf16 with f32 sums.
 *
 * A stretch of rows of some columns is widened into the second-level cache, and all tokens pass it by;
 * sums go on from stretch to stretch. Two by two tiles of sums stand in registers, so that each tile that is
 * loaded is used twice. A tile instruction treats each row and column by itself: a token's bits do not depend
 * on its neighbours. */
#include "core/kernels/x86/amx.h"
#include "core/kernels/x86/backward/backward_half.h"
#include "core/kernels/x86/x86.h"

/* Two tiles of tokens by two tiles of columns. */
struct square {
    const uint16_t *tokens[2]; /* [steps, HALF_TILE] */
    const uint16_t *weights;   /* [steps, 2, HALF_TILE] */
    const uint16_t *ahead;     /* some tiles of later tokens, which are asked for now */
    float *out;
    size_t stride;
    int steps;
    bool further; /* sums go on from `out` */
};

/* So many lines of later tokens are asked for with each step: over the most columns, all of them. */
enum { PARTS = BACKWARD_COLS / HALF_PAIR, LINES_AHEAD = 2 * HALF_TILE / 32 / PARTS };

static inline void begin_sums(const struct square *s)
{
    size_t row = s->stride * sizeof(float);
    if (s->further) {
        _tile_loadd(0, s->out, row);
        _tile_loadd(1, s->out + 16, row);
        _tile_loadd(2, s->out + 16 * s->stride, row);
        _tile_loadd(3, s->out + 16 * s->stride + 16, row);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
}

static void multiply_square(const struct square *s)
{
    size_t row = s->stride * sizeof(float);
    AMX_STORED();
    begin_sums(s);
    for (int i = 0; i < s->steps; i++) {
        _tile_loadd(4, s->tokens[0] + i * HALF_TILE, 64);
        _tile_loadd(6, s->weights + 2 * i * HALF_TILE, 64);
        _tile_dpbf16ps(0, 4, 6);
        _tile_loadd(7, s->weights + (2 * i + 1) * HALF_TILE, 64);
        _tile_dpbf16ps(1, 4, 7);
        _tile_loadd(5, s->tokens[1] + i * HALF_TILE, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
        for (int l = 0; l < LINES_AHEAD; l++)
            __builtin_prefetch(s->ahead + (i * LINES_AHEAD + l) * 32, 0, 2);
    }
    _tile_stored(0, s->out, row);
    _tile_stored(1, s->out + 16, row);
    _tile_stored(2, s->out + 16 * s->stride, row);
    _tile_stored(3, s->out + 16 * s->stride + 16, row);
}

/* Fewer tokens or columns than the square has: in a copy. */
static void multiply_edge(struct square s, int tokens, int cols)
{
    float copy[HALF_PAIR * HALF_PAIR], *out = s.out;
    size_t stride = s.stride;
    s.out = copy;
    s.stride = HALF_PAIR;
    for (int t = 0; t < tokens && s.further; t++)
        memcpy(copy + t * HALF_PAIR, out + (size_t)t * stride, (size_t)cols * sizeof *out);
    multiply_square(&s);
    for (int t = 0; t < tokens; t++)
        memcpy(out + (size_t)t * stride, copy + t * HALF_PAIR, (size_t)cols * sizeof *out);
}

/* All tokens by the tiles of rows [first, first + steps). */
static void pass_by(const struct backward_input *in, const uint16_t *weights, int first, int steps, float *dx,
                    size_t dx_stride, int cols)
{
    for (int t = 0; t < in->tokens; t += HALF_PAIR) {
        int tokens = in->tokens - t < HALF_PAIR ? in->tokens - t : HALF_PAIR;
        int next = t + HALF_PAIR < in->tokens ? t + HALF_PAIR : 0;
        for (int c = 0; c < cols; c += HALF_PAIR) {
            int part = c / HALF_PAIR, width = cols - c < HALF_PAIR ? cols - c : HALF_PAIR;
            struct square s = {.tokens = {half_tile(in, t, first), half_tile(in, t + HALF_TOKENS, first)},
                               .weights = weights + (size_t)(part * steps) * 2 * HALF_TILE,
                               .ahead = half_tile(in, next + part * 2 / PARTS * HALF_TOKENS, first) +
                                        (size_t)(part * 2 % PARTS * steps) * HALF_TILE / PARTS,
                               .out = dx + (size_t)t * dx_stride + c,
                               .stride = dx_stride,
                               .steps = steps,
                               .further = first > 0};
            if (tokens == HALF_PAIR && width == HALF_PAIR)
                multiply_square(&s);
            else
                multiply_edge(s, tokens, width);
        }
    }
}

static void multiply(const struct packed *p, int begin, int end, int stretch, const struct backward_input *in,
                     float *dx, int dx_stride, float *scratch)
{
    int all = half_steps(in->rows), stretches = backward_stretches(in->rows),
        first = all * stretch / stretches, steps = all * (stretch + 1) / stretches - first;
    uint16_t *weights = (uint16_t *)(void *)scratch;
    half_widen_weights(p, first, steps, begin, end - begin, weights);
    amx_configure();
    amx_configure_as(true);
    pass_by(in, weights, first, steps, dx, (size_t)dx_stride, end - begin);
    amx_configure_as(false);
}

const struct backward_half_kernels backward_half_amx = {.prepare = half_prepare, .multiply = multiply};
