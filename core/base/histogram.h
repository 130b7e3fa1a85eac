/* How often values of one kind fell into which range. A few counters; zero-initialized is empty. Any thread
 * may add and any may read, without a lock: each counter is exact and never goes down, and between two of
 * them a reader may miss what is being added. */
#pragma once
#include <stdatomic.h>
#include <stdint.h>

enum { HISTOGRAM_BOUNDS_MAX = 18 };

/* What the values are. */
struct histogram_scale {
    int count;
    uint64_t bound[HISTOGRAM_BOUNDS_MAX]; /* [count] ascending; a value falls under the first that it is not
                                             above */
};
extern const struct histogram_scale histogram_times;  /* microseconds: 1 ms to 5 minutes */
extern const struct histogram_scale histogram_counts; /* powers of two: 1 to 4096 */

struct histogram {
    atomic_uint_least64_t bucket[HISTOGRAM_BOUNDS_MAX + 1]; /* the last: above all bounds */
    atomic_uint_least64_t sum;
};

/* Where a value falls: 0..count. */
int histogram_place(const struct histogram_scale *scale, uint64_t value);
/* The value that a share `q` (0..1) of the counted ones is not above, as if they lay evenly in each range;
 * the largest bound for those above it. 0 when nothing was counted. */
double histogram_quantile(const uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1],
                          const struct histogram_scale *scale, double q);
void histogram_add(struct histogram *h, const struct histogram_scale *scale, uint64_t value);
