/* Normal numbers, fast: a table of 65536 of them, drawn from at random. One thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "bench/bench.h"

enum { NOISE_TABLE = 65536 };
struct noise {
    struct bench_random random;
    float table[NOISE_TABLE];
    uint16_t half[NOISE_TABLE]; /* bf16 or f16 of the same, see noise_scale */
    float deviation;
};
enum noise_format { NOISE_BF16, NOISE_F16 };

struct noise *noise_new(uint64_t seed, uint64_t index);
void noise_free(struct noise *n);
void noise_f32(struct noise *n, float deviation, float *out, size_t count);
void noise_half(struct noise *n, enum noise_format format, float deviation, uint16_t *out, size_t count);
