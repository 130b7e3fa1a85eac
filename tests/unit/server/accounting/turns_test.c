/* Threads that work for many tenants: whose turn it is, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <semaphore.h>
#include <time.h>

#include "server/accounting/turns.h"

enum { WAITING_MAX = 400, TENANT_MAX = 100 };

/* Jobs say whose they are in `order` as they begin. */
struct world {
    struct turns *turns;
    sem_t gate, begun, ended;
    pthread_mutex_t lock;
    int order[WAITING_MAX + 8], count;
};

struct task {
    struct world *world;
    int tenant;
    double spin_us; /* of this thread's time; 0: wait for the gate */
};

static double thread_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return 1e6 * (double)time.tv_sec + (double)time.tv_nsec / 1e3;
}

static void run(void *arg)
{
    struct task task = *(struct task *)arg;
    struct world *w = task.world;
    free(arg);
    pthread_mutex_lock(&w->lock);
    w->order[w->count++] = task.tenant;
    pthread_mutex_unlock(&w->lock);
    sem_post(&w->begun);
    double began = thread_us();
    while (thread_us() - began < task.spin_us)
        continue;
    if (task.spin_us == 0)
        sem_wait(&w->gate);
    sem_post(&w->ended);
}

static int submit(struct world *w, int tenant, int weight, double spin_us, struct err *e)
{
    struct task *task = malloc(sizeof *task);
    assert_non_null(task);
    *task = (struct task){w, tenant, spin_us};
    int result = turns_submit(w->turns, (uint32_t)tenant, weight, run, task, e);
    if (result != 0)
        free(task);
    return result;
}

static void begin(struct world *w, int threads)
{
    struct err e;
    struct turns_options options = {"test", threads, WAITING_MAX, TENANT_MAX};
    *w = (struct world){0};
    pthread_mutex_init(&w->lock, NULL);
    sem_init(&w->gate, 0, 0);
    sem_init(&w->begun, 0, 0);
    sem_init(&w->ended, 0, 0);
    assert_int_equal(turns_new(&w->turns, &options, &e), 0);
}

static void wait_for(sem_t *s, int times)
{
    while (times--)
        sem_wait(s);
}

static void open_gate(struct world *w, int times)
{
    while (times--)
        sem_post(&w->gate);
}

static void end(struct world *w)
{
    turns_free(w->turns);
    pthread_mutex_destroy(&w->lock);
    sem_destroy(&w->gate);
    sem_destroy(&w->begun);
    sem_destroy(&w->ended);
}

static void a_flood_of_long_jobs_leaves_a_thread_to_others(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    begin(&w, 3);
    for (int i = 0; i < 50; i++)
        assert_int_equal(submit(&w, 1, 100, 0, &e), 0);
    wait_for(&w.begun, 2);
    assert_int_equal(submit(&w, 2, 100, 1, &e), 0); /* while the gate is closed */
    wait_for(&w.begun, 1);
    wait_for(&w.ended, 1);
    struct turns_stats stats;
    turns_look(w.turns, &stats);
    assert_int_equal(stats.waiting, 48);
    assert_int_equal(stats.waiting_max, WAITING_MAX);
    open_gate(&w, 50);
    wait_for(&w.ended, 50);
    end(&w);
}

/* How many of the first jobs to begin were a tenant's, behind those of before all were there. */
static int share(const struct world *w, int tenant, int first, int count)
{
    int found = 0;
    for (int i = first; i < first + count; i++)
        found += w->order[i] == tenant;
    return found;
}

static void time_is_shared_by_weight(void **state)
{
    (void)state;
    for (int threads = 2; threads <= 4; threads++) {
        struct world w;
        struct err e;
        begin(&w, threads);
        for (int i = 0; i < threads; i++) /* all threads are held until everything waits */
            assert_int_equal(submit(&w, 3 + i, 100, 0, &e), 0);
        wait_for(&w.begun, threads);
        for (int i = 0; i < 90; i++)
            assert_int_equal(submit(&w, 1, 100, 500, &e), 0);
        for (int i = 0; i < 90; i++)
            assert_int_equal(submit(&w, 2, 300, 500, &e), 0);
        open_gate(&w, threads);
        wait_for(&w.ended, threads + 180);
        int heavy = share(&w, 2, threads, 80); /* 60 of them, but for those that are at work together */
        if (heavy < 52 || heavy > 68)
            fail_msg("%d threads: %d of 80", threads, heavy);
        end(&w);
    }
}

static void who_comes_does_not_wait_for_who_was_there(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    begin(&w, 2);
    for (int i = 0; i < 100; i++)
        assert_int_equal(submit(&w, 1, 100, 500, &e), 0);
    wait_for(&w.begun, 20); /* it has used a lot */
    for (int i = 0; i < 5; i++)
        assert_int_equal(submit(&w, 2, 100, 500, &e), 0);
    wait_for(&w.ended, 105);
    int last = 0;
    for (int i = 0; i < 105; i++)
        if (w.order[i] == 2)
            last = i;
    assert_in_range(last, 20, 60);
    end(&w);
}

static void what_waits_is_bounded(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    begin(&w, 2);
    for (int tenant = 8; tenant < 10; tenant++)
        assert_int_equal(submit(&w, tenant, 100, 0, &e), 0);
    wait_for(&w.begun, 2);
    for (int tenant = 1; tenant <= WAITING_MAX / TENANT_MAX; tenant++) {
        for (int i = 0; i < TENANT_MAX - (tenant == 4); i++)
            assert_int_equal(submit(&w, tenant, 100, 1, &e), 0);
        if (tenant < 4) {
            assert_int_equal(submit(&w, tenant, 100, 1, &e), -1);
            assert_string_equal(e.code, "tenant_queue_full");
        }
    }
    assert_int_equal(submit(&w, 5, 100, 1, &e), 0);
    assert_int_equal(submit(&w, 6, 100, 1, &e), -1);
    assert_string_equal(e.code, "queue_full");
    open_gate(&w, 2);
    wait_for(&w.ended, WAITING_MAX + 2);
    end(&w);
}

static void what_waits_at_the_end_is_done(void **state)
{
    (void)state;
    struct world w;
    struct err e;
    begin(&w, 2);
    for (int i = 0; i < 80; i++)
        assert_int_equal(submit(&w, i % 3, 100, 1, &e), 0);
    end(&w);
    assert_int_equal(w.count, 80);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_of_long_jobs_leaves_a_thread_to_others),
        cmocka_unit_test(time_is_shared_by_weight),
        cmocka_unit_test(who_comes_does_not_wait_for_who_was_there),
        cmocka_unit_test(what_waits_is_bounded),
        cmocka_unit_test(what_waits_at_the_end_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
