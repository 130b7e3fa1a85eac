/* Where values fall, and that none is lost when many threads add while one reads. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/base/histogram.h"

enum { THREADS = 4, EACH = 20000 };

static uint64_t count(struct histogram *h)
{
    uint64_t sum = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
        sum += atomic_load(&h->bucket[i]);
    return sum;
}

static void scales_ascend(void **state)
{
    (void)state;
    const struct histogram_scale *scales[] = {&histogram_times, &histogram_counts};
    for (int s = 0; s < 2; s++) {
        assert_in_range(scales[s]->count, 2, HISTOGRAM_BOUNDS_MAX);
        for (int i = 1; i < scales[s]->count; i++)
            assert_true(scales[s]->bound[i] > scales[s]->bound[i - 1]);
    }
}

static void a_value_falls_under_the_first_bound_that_holds_it(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        int bucket;
    } cases[] = {{0, 0}, {1, 0}, {2, 1}, {3, 2}, {4, 2}, {5, 3}, {4096, 12}, {4097, 13}, {UINT32_MAX, 13}};
    struct histogram h = {0};
    uint64_t sum = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t before = atomic_load(&h.bucket[cases[i].bucket]);
        histogram_add(&h, &histogram_counts, cases[i].value);
        assert_int_equal(atomic_load(&h.bucket[cases[i].bucket]), before + 1);
        sum += cases[i].value;
        assert_int_equal(count(&h), i + 1);
        assert_int_equal(atomic_load(&h.sum), sum);
    }
}

static void *add_many(void *h)
{
    for (uint64_t i = 0; i < EACH; i++)
        histogram_add(h, &histogram_times, i * 100);
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    struct histogram h = {0};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, &h), 0);
    for (uint64_t before = 0, now; before < THREADS * EACH; before = now) {
        now = count(&h);
        assert_true(now >= before);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(count(&h), THREADS * EACH);
    assert_int_equal(atomic_load(&h.sum), (uint64_t)THREADS * 100 * EACH * (EACH - 1) / 2);
}

static void shares_lie_evenly_in_their_range(void **state)
{
    (void)state;
    uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1] = {0};
    assert_true(histogram_quantile(counts, &histogram_times, 0.5) == 0);
    counts[1] = 10; /* above 1000, up to 2500 */
    assert_true(histogram_quantile(counts, &histogram_times, 0.5) == 1750);
    assert_true(histogram_quantile(counts, &histogram_times, 1) == 2500);
    counts[2] = 90; /* up to 5000 */
    assert_true(histogram_quantile(counts, &histogram_times, 0.1) == 2500);
    assert_true(histogram_quantile(counts, &histogram_times, 0.55) == 3750);
    counts[histogram_times.count] = 900; /* above all bounds */
    assert_true(histogram_quantile(counts, &histogram_times, 0.99) ==
                (double)histogram_times.bound[histogram_times.count - 1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shares_lie_evenly_in_their_range),
        cmocka_unit_test(scales_ascend),
        cmocka_unit_test(a_value_falls_under_the_first_bound_that_holds_it),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
