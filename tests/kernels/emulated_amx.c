#include "tests/kernels/emulated.h"
#include "tests/kernels/emulated_instructions.h"

/* Tiles as they were configured; what nobody configured has no rows, and a test would see nothing but zeros.
 */
static struct {
    uint8_t row[16][64];
} tiles[8];
static uint16_t tile_bytes[8];
static uint8_t tile_rows[8];

struct tile_config;
static void configure_tiles(const struct tile_config *c)
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
static void tile_dot(int c, int a, int b)
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

#undef _tile_zero
#undef _tile_loadd
#undef _tile_stored
#undef _tile_dpbssd
#define _tile_zero tile_zero
#define _tile_loadd tile_load
#define _tile_stored tile_store
#define _tile_dpbssd tile_dot
#define CONFIGURE(c) configure_tiles(&(c))
#define qgemm_avx512 emulated_avx512
#define qgemm_amx emulated_amx
#include "core/kernels/x86/qgemm_amx.c"
