#include "core/base/histogram.h"

const struct histogram_scale histogram_times = {.count = 17,
                                                .bound = {1000, 2500, 5000, 10000, 25000, 50000, 100000,
                                                          250000, 500000, 1000000, 2500000, 5000000, 10000000,
                                                          30000000, 60000000, 120000000, 300000000}};

const struct histogram_scale histogram_counts = {
    .count = 13, .bound = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096}};

int histogram_place(const struct histogram_scale *scale, uint64_t value)
{
    int i = 0;
    while (i < scale->count && value > scale->bound[i])
        i++;
    return i;
}

double histogram_quantile(const uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1],
                          const struct histogram_scale *scale, double q)
{
    uint64_t all = 0;
    for (int i = 0; i <= scale->count; i++)
        all += counts[i];
    double wanted = q * (double)all;
    for (int i = 0; i < scale->count && all > 0; i++) {
        double low = i ? (double)scale->bound[i - 1] : 0, high = (double)scale->bound[i];
        if (counts[i] && wanted <= (double)counts[i])
            return low + (high - low) * wanted / (double)counts[i];
        wanted -= (double)counts[i];
    }
    return all ? (double)scale->bound[scale->count - 1] : 0;
}

void histogram_add(struct histogram *h, const struct histogram_scale *scale, uint64_t value)
{
    int i = histogram_place(scale, value);
    atomic_fetch_add_explicit(&h->bucket[i], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->sum, value, memory_order_relaxed);
}
