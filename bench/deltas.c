#include "bench/deltas.h"

#include <math.h>
#include <stdlib.h>

#include "bench/noise.h"

struct delta *deltas_random(const struct model *m, int rank, uint64_t seed)
{
    size_t site_count, elements = 0, at = 0;
    const struct site *sites = model_sites(m, &site_count);
    for (size_t i = 0; i < site_count; i++)
        elements += (size_t)rank * ((size_t)sites[i].in + (size_t)sites[i].out);
    struct delta_part *parts = calloc(site_count, sizeof *parts);
    float *memory = malloc(elements * sizeof *memory);
    struct delta_source source = {.parts = parts};
    struct noise *n = noise_new(seed, 1);
    if (!parts || !memory)
        bench_fail("out of memory");
    noise_f32(n, 0.02f, memory, elements);
    for (size_t i = 0; i < site_count; i++) {
        if (sites[i].layer < 0)
            continue;
        float *a = memory + at, *b = a + (size_t)rank * (size_t)sites[i].in;
        parts[source.count++] = (struct delta_part){.site = (int)i, .rank = rank, .scale = 2, .a = a, .b = b};
        at += (size_t)rank * ((size_t)sites[i].in + (size_t)sites[i].out);
    }
    struct delta *d = NULL;
    struct err e;
    bench_check(delta_new(&d, m, &source, &e), &e);
    noise_free(n);
    free(memory);
    free(parts);
    return d;
}
