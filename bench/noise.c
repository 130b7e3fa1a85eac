#include "bench/noise.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/bf16.h"
#include "core/format/half.h"

/* Box and Muller 1958. */
static void fill_table(struct noise *n)
{
    for (int i = 0; i < NOISE_TABLE; i += 2) {
        double u = (double)((bench_random(&n->random) >> 11) + 1) / 9007199254740993.0;
        double angle = (double)(bench_random(&n->random) >> 11) / 9007199254740992.0 * 2 * M_PI;
        double radius = sqrt(-2 * log(u));
        n->table[i] = (float)(radius * cos(angle));
        n->table[i + 1] = (float)(radius * sin(angle));
    }
}

struct noise *noise_new(uint64_t seed, uint64_t index)
{
    struct noise *n = calloc(1, sizeof *n);
    if (!n)
        bench_fail("out of memory");
    n->random = bench_seeded(seed, index);
    fill_table(n);
    return n;
}

void noise_free(struct noise *n)
{
    free(n);
}

void noise_f32(struct noise *n, float deviation, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = deviation * n->table[bench_random(&n->random) >> 48];
}

void noise_half(struct noise *n, enum noise_format format, float deviation, uint16_t *out, size_t count)
{
    for (int i = 0; n->deviation != deviation && i < NOISE_TABLE; i++)
        n->half[i] = (format == NOISE_BF16 ? bf16_of : half_of)(deviation * n->table[i]);
    n->deviation = deviation; /* one format in the life of a generator */
    for (size_t i = 0; i < count; i += 4) {
        uint64_t bits = bench_random(&n->random);
        for (size_t k = i; k < count && k < i + 4; k++, bits >>= 16)
            out[k] = n->half[bits & 0xFFFF];
    }
}
