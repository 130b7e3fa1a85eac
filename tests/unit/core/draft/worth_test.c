/* How many guessed tokens pay. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/draft/worth.h"

/* Steps of a machine on which one takes `fixed` us and each token `each` more. */
static struct worth_cost learned(double fixed, double each)
{
    struct worth_cost c = {0};
    for (int i = 0; i < 200; i++)
        worth_note(&c, 1 + i % 16, fixed + each * (1 + i % 16));
    return c;
}

static struct worth_trust trust_of(double share)
{
    struct worth_trust t;
    worth_trust_init(&t);
    t.share[DRAFT_LONG] = share;
    return t;
}

static int taken(const struct worth_cost *c, int sequences, bool shared, double share)
{
    struct worth_step s;
    struct worth_trust t = trust_of(share);
    assert_true(worth_begin(&s, c, sequences, shared));
    return worth_take(&s, &t, DRAFT_LONG, 15);
}

static void nothing_is_taken_before_a_step_was_seen(void **state)
{
    (void)state;
    struct worth_cost c = {0};
    struct worth_step s;
    assert_false(worth_begin(&s, &c, 1, false));
}

static void the_line_is_found(void **state)
{
    (void)state;
    struct worth_cost c = learned(1000, 50);
    struct worth_step s;
    assert_true(worth_begin(&s, &c, 4, false));
    assert_true(s.us > 1190 && s.us < 1210);
    assert_true(s.each > 49 && s.each < 51);
}

/* A step of one token that is cut off by the machine for a while changes little. */
static void an_interrupted_step_changes_little(void **state)
{
    (void)state;
    struct worth_cost c = learned(1000, 50);
    struct worth_step s;
    worth_note(&c, 16, 1e9);
    assert_true(worth_begin(&s, &c, 1, false));
    assert_true(s.us < 1500 && s.each < 120);
}

static void as_many_as_pay_are_taken(void **state)
{
    (void)state;
    struct worth_cost memory = learned(1000, 50), compute = learned(0, 100);
    assert_int_equal(taken(&memory, 1, false, 1), 15);
    assert_in_range(taken(&memory, 1, false, 0.5), 2, 6);
    assert_int_equal(taken(&memory, 1, false, 0.02), 0);
    assert_int_equal(taken(&compute, 1, false, 0.9), 0); /* each token costs a whole one */
    assert_in_range(taken(&memory, 64, false, 0.9), 0, 3);
}

/* Others, who copy nothing, wait half as long again at most. */
static void others_are_not_held_up(void **state)
{
    (void)state;
    struct worth_cost c = learned(1000, 50);
    assert_in_range(taken(&c, 2, true, 1), 10, 11); /* (1000 + 2 * 50) / 2 / 50 */
    assert_int_equal(taken(&c, 2, false, 1), 15);
}

static void trust_follows_what_came(void **state)
{
    (void)state;
    struct worth_cost c = learned(1000, 50);
    struct worth_trust t = trust_of(0.8);
    for (int i = 0; i < 40; i++)
        worth_learn(&t, DRAFT_LONG, 0, true);
    assert_true(t.share[DRAFT_LONG] < 0.01);
    int tries = 0;
    for (int i = 0; i < 200; i++) { /* from time to time it is tried again */
        struct worth_step s;
        assert_true(worth_begin(&s, &c, 1, false));
        if (worth_take(&s, &t, DRAFT_LONG, 15) > 0) {
            tries++;
            worth_learn(&t, DRAFT_LONG, 0, true);
        }
    }
    assert_in_range(tries, 10, 80);
    for (int i = 0; i < 10; i++)
        worth_learn(&t, DRAFT_LONG, 15, false);
    assert_true(t.share[DRAFT_LONG] > 0.95);
    assert_true(t.share[DRAFT_SHORT] == 0.7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_is_taken_before_a_step_was_seen),
                                       cmocka_unit_test(the_line_is_found),
                                       cmocka_unit_test(an_interrupted_step_changes_little),
                                       cmocka_unit_test(as_many_as_pay_are_taken),
                                       cmocka_unit_test(others_are_not_held_up),
                                       cmocka_unit_test(trust_follows_what_came)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
