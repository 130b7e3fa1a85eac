/* The gate between serving and training: open it costs nothing, shut it holds everybody back, and who shuts
 * it knows whether somebody waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <pthread.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/system/gate.h"

enum { THREADS = 3, PIECES = 200 };

struct crowd {
    struct gate *gate;
    atomic_int passed;
};

static void *work(void *arg)
{
    struct crowd *c = arg;
    for (int i = 0; i < PIECES; i++) {
        gate_pass(c->gate);
        atomic_fetch_add(&c->passed, 1);
    }
    return NULL;
}

static void wait_until_wanted(const struct gate *g)
{
    while (!gate_is_wanted(g))
        usleep(100);
}

static struct gate *new_gate(void)
{
    struct gate *g;
    struct err e;
    assert_int_equal(gate_new(&g, &e), 0);
    return g;
}

static void an_open_gate_and_none_are_passed(void **state)
{
    (void)state;
    struct gate *g = new_gate();
    gate_pass(g);
    gate_pass(NULL);
    assert_false(gate_is_wanted(g));
    gate_free(g);
    gate_free(NULL);
}

static void a_shut_gate_holds_until_it_opens(void **state)
{
    (void)state;
    struct crowd c = {.gate = new_gate()};
    pthread_t threads[THREADS];
    gate_shut(c.gate);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &c), 0);
    wait_until_wanted(c.gate);
    usleep(20000);
    assert_int_equal(c.passed, 0);
    gate_open(c.gate);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(c.passed, THREADS * PIECES);
    assert_false(gate_is_wanted(c.gate));
    gate_free(c.gate);
}

/* However often it moves, nobody stays behind. */
static void nobody_is_forgotten(void **state)
{
    (void)state;
    struct crowd c = {.gate = new_gate()};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, work, &c), 0);
    for (int i = 0; i < 2000; i++) {
        gate_shut(c.gate);
        gate_open(c.gate);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(c.passed, THREADS * PIECES);
    gate_free(c.gate);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_open_gate_and_none_are_passed),
        cmocka_unit_test(a_shut_gate_holds_until_it_opens),
        cmocka_unit_test(nobody_is_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
