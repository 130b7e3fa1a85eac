#include "core/forward/dropout.h"

#include <string.h>

/* Bits of one number, of two words and its place: two rounds of a mixer of 32 bits (lowbias32, Wellons). */
static uint32_t bits_of(uint32_t first, uint32_t second, uint32_t place)
{
    uint32_t x = place ^ first;
    for (int round = 0; round < 2; round++) {
        x ^= x >> 16;
        x *= 0x7feb352d;
        x ^= x >> 15;
        x *= 0x846ca68b;
        x ^= x >> 16;
        x += second;
    }
    return x;
}

/* The site into the key (splitmix64). */
static uint64_t site_key(uint64_t key, int site)
{
    key += ((uint64_t)site + 1) * 0x9e3779b97f4a7c15;
    key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9;
    key = (key ^ (key >> 27)) * 0x94d049bb133111eb;
    return key ^ (key >> 31);
}

void dropout_row(const struct dropout *d, int site, int first, int count, const float *x, float *out)
{
    if (d->share <= 0) {
        memmove(out, x, (size_t)count * sizeof *out);
        return;
    }
    uint64_t key = site_key(d->key, site);
    uint32_t dropped = (uint32_t)((double)d->share * 4294967296.0);
    float scale = 1.0f / (1.0f - d->share);
    for (int i = 0; i < count; i++)
        out[i] =
            bits_of((uint32_t)key, (uint32_t)(key >> 32), (uint32_t)(first + i)) < dropped ? 0 : x[i] * scale;
}
