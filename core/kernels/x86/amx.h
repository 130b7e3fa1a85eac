/* What the kernels of AMX share: how a thread's tiles are configured. */
#pragma once
#include <immintrin.h>
#include <stdbool.h>
#include <stdint.h>

/* Tiles 0 to 5 are whole: 16 rows of 64 bytes. 6 and 7 are the operands of 32 k of int8: 16 rows of 32 bytes,
 * 8 rows of 64. */
struct amx_config {
    uint8_t palette, start, reserved[14];
    uint16_t bytes[16]; /* of a row */
    uint8_t rows[16];
};

#ifndef CONFIGURE
/* (Written out: GCC 12's _tile_loadconfig does not say that it reads memory.) */
#define CONFIGURE(c) __asm__ volatile("ldtilecfg %0" : : "m"(c) : "memory")
#endif

/* What was stored is in memory before tiles are loaded from there: compilers' tile loads do not say that they
 * read. */
#define AMX_STORED() __asm__ volatile("" : : : "memory")

/* All tiles whole, or as said above. */
static inline void amx_configure_as(bool whole)
{
    struct amx_config c = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        c.bytes[i] = 64;
        c.rows[i] = 16;
    }
    if (!whole) {
        c.bytes[6] = 32;
        c.rows[7] = 8;
    }
    CONFIGURE(c);
}

/* Once a thread; its tiles stay what they are. (Who wants eight whole ones sets them back.) */
static inline void amx_configure(void)
{
    static _Thread_local bool configured;
    if (configured)
        return;
    amx_configure_as(false);
    configured = true;
}
