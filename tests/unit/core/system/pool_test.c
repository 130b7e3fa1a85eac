/* The compute pool: who runs, how often, and that nobody burns CPU time while there is nothing to do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/system/pool.h"

enum { WORKERS_MAX = 8, ROUNDS = 1000, PHASES = 100 };

static struct pool *open_pool(int threads)
{
    struct pool *p = NULL;
    struct err e;
    if (pool_new(&p, threads, &e) != 0)
        fail_msg("%s", e.message);
    return p;
}

struct tally {
    int calls[WORKERS_MAX]; /* each written by its own worker alone: what follows needs no lock */
    int expected_workers;
    atomic_int wrong;
};

static void count_call(void *arg, int worker, int workers)
{
    struct tally *t = arg;
    if (workers != t->expected_workers || worker < 0 || worker >= workers)
        atomic_fetch_add(&t->wrong, 1);
    else
        t->calls[worker]++;
}

static void every_worker_runs_once_per_round(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct pool *p = open_pool(threads);
        struct tally t = {.expected_workers = threads};
        assert_int_equal(pool_threads(p), threads);
        for (int round = 1; round <= ROUNDS; round++) {
            pool_run(p, count_call, &t);
            for (int i = 0; i < WORKERS_MAX; i++)
                assert_int_equal(t.calls[i], i < threads ? round : 0);
        }
        assert_int_equal(t.wrong, 0);
        pool_free(p);
    }
}

struct baton {
    struct pool *pool;
    int stage[WORKERS_MAX];
    atomic_int wrong;
};

/* Behind a barrier every worker sees what all others wrote before it; the second barrier keeps the fast ones
 * from writing the next stage while slow ones still look. */
static void pass_barriers(void *arg, int worker, int workers)
{
    struct baton *b = arg;
    for (int phase = 1; phase <= PHASES; phase++) {
        b->stage[worker] = phase;
        pool_barrier(b->pool);
        for (int i = 0; i < workers; i++)
            if (b->stage[i] != phase)
                atomic_fetch_add(&b->wrong, 1);
        pool_barrier(b->pool);
    }
}

static void barriers_hold_everybody(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        struct baton b = {.pool = open_pool(threads)};
        for (int round = 0; round < 10; round++) {
            memset(b.stage, 0, sizeof b.stage);
            pool_run(b.pool, pass_barriers, &b);
        }
        assert_int_equal(b.wrong, 0);
        pool_free(b.pool);
    }
}

static void stay_late(void *arg, int worker, int workers)
{
    struct tally *t = arg;
    if (worker == workers - 1)
        usleep(20000);
    t->calls[worker]++;
}

/* The caller waits, also for one that takes long enough for all others to fall asleep. */
static void run_waits_for_the_slowest(void **state)
{
    (void)state;
    struct pool *p = open_pool(3);
    struct tally t = {0};
    for (int round = 1; round <= 5; round++) {
        pool_run(p, stay_late, &t);
        for (int i = 0; i < 3; i++)
            assert_int_equal(t.calls[i], round);
    }
    pool_free(p);
}

static void the_caller_can_work_alone(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        struct baton b = {.pool = open_pool(threads)};
        struct tally one = {.expected_workers = 1}, all = {.expected_workers = threads};
        for (int round = 1; round <= 100; round++) {
            pool_run_alone(b.pool, count_call, &one);
            pool_run_alone(b.pool, pass_barriers, &b); /* and barriers do not wait for anybody */
            pool_run(b.pool, count_call, &all);
            pool_run(b.pool, pass_barriers, &b);
            assert_int_equal(one.calls[0], round);
            assert_int_equal(all.calls[threads - 1], round);
        }
        assert_int_equal(one.wrong + all.wrong + b.wrong, 0);
        pool_free(b.pool);
    }
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void idle_workers_sleep(void **state)
{
    (void)state;
    struct pool *p = open_pool(4);
    struct tally t = {.expected_workers = 4};
    pool_run(p, count_call, &t);
    usleep(50000); /* the spinning ends */
    double before = cpu_ms();
    usleep(300000);
    double used = cpu_ms() - before; /* of all threads; three that spin would take hundreds */
    if (used > 30)
        fail_msg("an idle pool used %.1f ms of CPU time in 300 ms", used);
    pool_run(p, count_call, &t); /* and they wake up */
    for (int i = 0; i < 4; i++)
        assert_int_equal(t.calls[i], 2);
    pool_free(p);
}

static void opens_and_closes(void **state)
{
    (void)state;
    pool_free(NULL);
    for (int i = 0; i < 100; i++)
        pool_free(open_pool(1 + i % 4)); /* never used */
    struct pool *p = open_pool(0);
    assert_in_range(pool_threads(p), 1, sysconf(_SC_NPROCESSORS_ONLN));
    pool_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_worker_runs_once_per_round),
        cmocka_unit_test(barriers_hold_everybody),
        cmocka_unit_test(run_waits_for_the_slowest),
        cmocka_unit_test(the_caller_can_work_alone),
        cmocka_unit_test(idle_workers_sleep),
        cmocka_unit_test(opens_and_closes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
