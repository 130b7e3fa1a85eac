#include "core/train/train_random.h"

#include <math.h>
#include <string.h>

#include "core/base/sha256.h"

/* SplitMix64 (Steele, Lea, Flood 2014): a bijection of 64 bits in which each bit depends on every other. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
    x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
    return x ^ (x >> 31);
}

/* Of a hash, so that neighbouring seeds and names give streams that have nothing in common. */
uint64_t train_random_key(uint64_t seed, const char *name, uint64_t kind)
{
    struct sha256 hash;
    uint8_t digest[SHA256_BYTES];
    uint64_t key = 0;
    const uint64_t numbers[] = {seed, kind};
    sha256_init(&hash);
    for (int i = 0; i < 2; i++)
        for (int b = 0; b < 8; b++)
            sha256_update(&hash, &(uint8_t){(uint8_t)(numbers[i] >> (8 * b))}, 1);
    sha256_update(&hash, name, strlen(name));
    sha256_final(&hash, digest);
    for (int b = 0; b < 8; b++)
        key |= (uint64_t)digest[b] << (8 * b);
    return key;
}

uint64_t train_random_bits(uint64_t key, uint64_t place)
{
    return mix(key + (place + 1) * 0x9e3779b97f4a7c15);
}

double train_random_uniform(uint64_t key, uint64_t place)
{
    return (double)(train_random_bits(key, place) >> 11) * 0x1p-53;
}

/* Box and Muller (1958), each of two numbers once. */
double train_random_normal(uint64_t key, uint64_t place)
{
    double radius = 1 - train_random_uniform(key, 2 * place); /* (0, 1] */
    return sqrt(-2 * log(radius)) * cos(2 * M_PI * train_random_uniform(key, 2 * place + 1));
}

uint64_t train_random_below(uint64_t key, uint64_t place, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)train_random_bits(key, place) * bound) >> 64);
}
