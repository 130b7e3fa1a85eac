/* Ranges of code points as ranges of bytes in UTF-8. Owns nothing; any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct utf8_bytes { /* one byte of each range, one after the other */
    uint8_t low[4], high[4];
    int length;
};
enum { UTF8_RANGES_MAX = 24 }; /* what one range of code points takes at most */

/* Surrogates between the ends are left out. Returns how many. */
size_t utf8_ranges(uint32_t low, uint32_t high, struct utf8_bytes out[UTF8_RANGES_MAX]);
