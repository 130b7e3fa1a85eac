/* What training gets of the time between steps, and what those who wait for tokens notice of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "core/engine/lending.h"

enum { STEPS = 10000 };

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

struct result {
    double share;    /* of the time that training got */
    uint64_t p99_us; /* from the start of one step to the start of the next */
};

/* Steps of one length, one behind the other, while training waits. */
static struct result run(double share, uint64_t step_us)
{
    static uint64_t between[STEPS];
    struct lending l = {.share = share};
    uint64_t now = 1000, lent = 0;
    for (int i = 0; i < STEPS; i++) {
        uint64_t left = lending_left(&l, now);
        lent += left;
        now += left + step_us;
        between[i] = left + step_us;
        lending_note(&l, now, step_us, true);
    }
    qsort(between, STEPS, sizeof *between, ascending);
    return (struct result){(double)lent / (double)now, between[STEPS * 99 / 100]};
}

static void long_steps_lend_the_share(void **state)
{
    (void)state;
    static const uint64_t steps_us[] = {4000, 25000, 100000, 300000};
    for (size_t i = 0; i < sizeof steps_us / sizeof *steps_us; i++) {
        struct result r = run(0.2, steps_us[i]);
        assert_true(r.share > 0.19 && r.share < 0.21);
        assert_true((double)r.p99_us <= 1.3 * (double)steps_us[i]);
    }
}

/* Too short for a loan each: training goes on, and 99 of 100 tokens come as before. */
static void short_steps_are_not_disturbed(void **state)
{
    (void)state;
    static const uint64_t steps_us[] = {50, 300, 2000};
    for (size_t i = 0; i < sizeof steps_us / sizeof *steps_us; i++) {
        struct result r = run(0.2, steps_us[i]);
        assert_true(r.share > 0);
        assert_int_equal(r.p99_us, steps_us[i]);
    }
}

static void nothing_is_lent_where_nobody_waits(void **state)
{
    (void)state;
    struct lending l = {.share = 0.5};
    lending_note(&l, 1000, 50000, false);
    assert_int_equal(lending_left(&l, 1000), 0);
    l.share = 0;
    lending_note(&l, 1000, 50000, true);
    assert_int_equal(lending_left(&l, 1000), 0);
}

/* Time in which nothing was to be done counts: a request that comes later does not wait. */
static void an_idle_engine_has_paid(void **state)
{
    (void)state;
    struct lending l = {.share = 0.2};
    lending_note(&l, 1000000, 40000, true);
    assert_int_equal(lending_left(&l, 1000000), 10000);
    assert_int_equal(lending_left(&l, 1004000), 6000);
    assert_int_equal(lending_left(&l, 1010000), 0);
    assert_int_equal(lending_left(&l, 9000000), 0);
}

static void one_loan_has_a_limit(void **state)
{
    (void)state;
    struct lending l = {.share = 0.9};
    lending_note(&l, 0, 10000000, true);
    assert_int_equal(lending_left(&l, 0), LENDING_US_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_steps_lend_the_share),
        cmocka_unit_test(short_steps_are_not_disturbed),
        cmocka_unit_test(nothing_is_lent_where_nobody_waits),
        cmocka_unit_test(an_idle_engine_has_paid),
        cmocka_unit_test(one_loan_has_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
