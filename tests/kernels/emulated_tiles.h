/* The instructions of AMX, in C. Whoever includes this includes the kernels' source next. */
#pragma once
#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "core/format/bf16.h"

/* Tiles as they were configured; what nobody configured has no rows, and a test would see nothing but
 * zeros. */
static struct {
    uint8_t row[16][64];
} tiles[8];
static uint16_t tile_bytes[8];
static uint8_t tile_rows[8];

struct amx_config;
static void configure_tiles(const struct amx_config *c)
{
    memcpy(tile_bytes, (const char *)c + 16, sizeof tile_bytes);
    memcpy(tile_rows, (const char *)c + 48, sizeof tile_rows);
}

static void tile_zero(int t)
{
    memset(&tiles[t], 0, sizeof tiles[t]);
}

static void tile_load(int t, const void *from, size_t stride)
{
    tile_zero(t);
    for (size_t r = 0; r < tile_rows[t]; r++)
        memcpy(tiles[t].row[r], (const char *)from + r * stride, tile_bytes[t]);
}

static void tile_store(int t, void *to, size_t stride)
{
    for (size_t r = 0; r < tile_rows[t]; r++)
        memcpy((char *)to + r * stride, tiles[t].row[r], tile_bytes[t]);
}

/* c[m][n] += the sum over 4 bytes of a[m][k] times b[k][n], all signed. */
static inline void tile_dot(int c, int a, int b)
{
    for (int m = 0; m < tile_rows[c]; m++)
        for (int n = 0; n < tile_bytes[c] / 4; n++) {
            int32_t sum;
            memcpy(&sum, &tiles[c].row[m][4 * n], sizeof sum);
            for (int k = 0; k < tile_bytes[a] && k / 4 < tile_rows[b]; k++)
                sum += (int8_t)tiles[a].row[m][k] * (int8_t)tiles[b].row[k / 4][4 * n + k % 4];
            memcpy(&tiles[c].row[m][4 * n], &sum, sizeof sum);
        }
}

static float tile_float(const uint8_t *p)
{
    float x;
    memcpy(&x, p, sizeof x);
    return x;
}

static float tile_half(const uint8_t *p)
{
    uint16_t half;
    memcpy(&half, p, sizeof half);
    return bf16_widen(half);
}

/* c[m][n] += the sum over pairs k of a[m][2k] b[k][2n] + a[m][2k + 1] b[k][2n + 1], of bf16 in f32. */
static inline void tile_dot_bf16(int c, int a, int b)
{
    for (int m = 0; m < tile_rows[c]; m++)
        for (int n = 0; n < tile_bytes[c] / 4; n++) {
            float even = 0, odd = 0, sum = tile_float(&tiles[c].row[m][4 * n]);
            for (int k = 0; k < tile_bytes[a] / 4 && k < tile_rows[b]; k++) {
                even += tile_half(&tiles[a].row[m][4 * k]) * tile_half(&tiles[b].row[k][4 * n]);
                odd += tile_half(&tiles[a].row[m][4 * k + 2]) * tile_half(&tiles[b].row[k][4 * n + 2]);
            }
            sum += even + odd;
            memcpy(&tiles[c].row[m][4 * n], &sum, sizeof sum);
        }
}

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#undef _tile_dpbf16ps
#define _tile_zero tile_zero
#define _tile_loadd tile_load
#define _tile_stored tile_store
#define _tile_dpbssd tile_dot
#define _tile_dpbf16ps tile_dot_bf16
#define CONFIGURE(c) configure_tiles(&(c))
