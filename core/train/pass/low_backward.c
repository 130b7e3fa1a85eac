#include "core/train/pass/low_backward.h"

#include <assert.h>
#include <string.h>

#include "core/delta/delta_source.h"
#include "core/kernels/vector.h"

enum {
    TURNED_FLOATS = LOW_BACKWARD_SCRATCH / 2, /* the rest is for sums of a piece of B */
    SUM_TOKENS = LOW_BACKWARD_SCRATCH / 2 / DELTA_RANK_MAX
};
static_assert(TURNED_FLOATS >= DELTA_RANK_MAX * LINEAR_ROWS, "a block of any rank finds room");

static size_t number_size(const struct lowrank *part)
{
    return part->bf16 ? sizeof(uint16_t) : sizeof(float);
}

/* Rows [row, row + count) of B as A is stored: [rank, count]. `row` begins a block. */
static void turn_outputs(const struct lowrank *part, int row, int count, char *to)
{
    size_t size = number_size(part);
    for (int r = 0; r < part->rank; r++)
        for (int i = 0; i < count; i += LINEAR_ROWS) {
            int n = count - i < LINEAR_ROWS ? count - i : LINEAR_ROWS;
            memcpy(to + ((size_t)r * (size_t)count + (size_t)i) * size,
                   (const char *)part->b + lowrank_b_at(part->rank, row + i, r) * size, (size_t)n * size);
        }
}

/* The sums over one piece of B, added to what the pieces before it gave. */
static void add_piece(const struct lowrank *turned, int count, const float *dy, size_t dy_stride, int tokens,
                      float *u, size_t u_stride, float *sums)
{
    for (int t = 0; t < tokens; t += SUM_TOKENS) {
        int n = tokens - t < SUM_TOKENS ? tokens - t : SUM_TOKENS;
        lowrank_shrink(turned, dy + (size_t)t * dy_stride, dy_stride, n, sums, (size_t)turned->rank, count, 0,
                       turned->rank);
        for (int i = 0; i < n; i++)
            vector_add(u + (size_t)(t + i) * u_stride, sums + (size_t)i * (size_t)turned->rank, turned->rank);
    }
}

void low_backward_outputs(const struct lowrank *part, int out, const float *dy, size_t dy_stride, int tokens,
                          float *u, size_t u_stride, float *scratch)
{
    int piece = TURNED_FLOATS / part->rank / LINEAR_ROWS * LINEAR_ROWS;
    for (int row = 0; row < out; row += piece) {
        int count = out - row < piece ? out - row : piece;
        struct lowrank turned = {.rank = part->rank, .bf16 = part->bf16, .a = scratch};
        turn_outputs(part, row, count, (char *)scratch);
        if (row == 0)
            lowrank_shrink(&turned, dy, dy_stride, tokens, u, u_stride, count, 0, part->rank);
        else
            add_piece(&turned, count, dy + row, dy_stride, tokens, u, u_stride, scratch + TURNED_FLOATS);
    }
}

/* LINEAR_ROWS of them at most. */
static void add_inputs(const struct lowrank *part, int in, int first, int count, const float *u,
                       size_t u_stride, int tokens, float *y, size_t y_stride, float *scratch)
{
    size_t size = number_size(part);
    struct lowrank turned = {.rank = part->rank, .bf16 = part->bf16, .b = scratch};
    for (int r = 0; r < part->rank; r++)
        memcpy((char *)scratch + lowrank_b_at(part->rank, 0, r) * size,
               (const char *)part->a + ((size_t)r * (size_t)in + (size_t)first) * size, (size_t)count * size);
    lowrank_expand(&turned, u, u_stride, tokens, y, y_stride, 0, count);
}

void low_backward_inputs(const struct lowrank *part, int in, int first, int count, const float *u,
                         size_t u_stride, int tokens, float *y, size_t y_stride, float *scratch)
{
    for (int i = 0; i < count; i += LINEAR_ROWS)
        add_inputs(part, in, first + i, count - i < LINEAR_ROWS ? count - i : LINEAR_ROWS, u, u_stride,
                   tokens, y + i, y_stride, scratch);
}
