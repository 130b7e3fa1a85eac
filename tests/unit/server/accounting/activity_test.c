/* Requests by tenant, adapter and version: what runs, what a minute had, and that it is forgotten. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "server/accounting/activity.h"

static struct activity *open_activity(void)
{
    struct activity *a;
    struct err e;
    assert_int_equal(activity_new(&a, &e), 0);
    return a;
}

static struct activity_name named(uint32_t tenant, const char *adapter)
{
    struct activity_name name = {.tenant = tenant};
    snprintf(name.tenant_id, sizeof name.tenant_id, "t%u", tenant);
    snprintf(name.adapter, sizeof name.adapter, "%s", adapter);
    return name;
}

static struct activity_entry *begin(struct activity *a, uint32_t tenant, const char *adapter)
{
    const struct activity_name name = named(tenant, adapter);
    return activity_begin(a, &name);
}

static void what_runs_is_listed_by_whose_it_is(void **state)
{
    (void)state;
    struct activity *a = open_activity();
    struct activity_row rows[2];
    size_t more;
    struct activity_entry *one = begin(a, 1, "x"), *again = begin(a, 1, "x"), *base = begin(a, 1, ""),
                          *other = begin(a, 2, "x");
    assert_ptr_equal(one, again);
    assert_ptr_not_equal(one, other);
    assert_int_equal(activity_running(a, 0, rows, 2, &more), 2);
    assert_int_equal(more, 1);
    assert_string_equal(rows[0].name.adapter, "x");
    assert_int_equal(rows[0].running, 2);
    assert_int_equal(activity_running(a, 2, rows, 2, &more), 1);
    assert_string_equal(rows[0].name.tenant_id, "t2");
    assert_int_equal(more, 0);
    activity_end(one, false);
    activity_end(again, true);
    activity_end(base, false);
    assert_int_equal(activity_running(a, 1, rows, 2, &more), 0);
    activity_end(other, false);
    activity_free(a);
}

static void the_busiest_come_first(void **state)
{
    (void)state;
    struct activity *a = open_activity();
    struct activity_entry *all[15];
    struct activity_row rows[3];
    size_t more;
    int count = 0;
    for (int i = 0; i < 5; i++) /* a once, b twice, ... */
        for (int k = 0; k <= i; k++)
            all[count++] = begin(a, 1, (char[2]){(char)('a' + i)});
    assert_int_equal(activity_running(a, 0, rows, 3, &more), 3);
    assert_int_equal(more, 2);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(rows[i].running, 5 - i);
        assert_int_equal(rows[i].name.adapter[0], 'e' - i);
    }
    while (count > 0)
        activity_end(all[--count], false);
    activity_free(a);
}

static void a_minute_is_counted_and_then_forgotten(void **state)
{
    (void)state;
    struct activity *a = open_activity();
    struct activity_sums sums;
    struct activity_entry *one = begin(a, 1, "x"), *other = begin(a, 2, "y");
    activity_first_token(one, 900);
    activity_next_token(one, 3000);
    activity_next_token(one, 3000);
    activity_end(one, true);
    activity_end(other, false);
    activity_sum(a, 1, &sums);
    assert_int_equal(sums.tokens, 3);
    assert_int_equal(sums.requests, 1);
    assert_int_equal(sums.errors, 1);
    assert_int_equal(sums.first_us[0], 1);
    assert_int_equal(sums.next_us[2], 2);
    activity_sum(a, 0, &sums);
    assert_int_equal(sums.requests, 2);
    for (int i = 0; i < ACTIVITY_SLOTS - 1; i++) {
        activity_turn(a);
        activity_sum(a, 1, &sums);
        assert_int_equal(sums.tokens, 3);
    }
    activity_turn(a);
    activity_sum(a, 0, &sums);
    assert_int_equal(sums.tokens + sums.requests, 0);
    activity_free(a);
}

static void what_runs_outlives_the_minute(void **state)
{
    (void)state;
    struct activity *a = open_activity();
    struct activity_row row;
    size_t more;
    struct activity_entry *one = begin(a, 1, "x");
    for (int i = 0; i < 3 * ACTIVITY_SLOTS; i++)
        activity_turn(a);
    assert_int_equal(activity_running(a, 1, &row, 1, &more), 1);
    activity_next_token(one, 10);
    activity_end(one, false);
    activity_free(a);
}

static void there_is_an_end_to_entries(void **state)
{
    (void)state;
    struct activity *a = open_activity();
    char adapter[16];
    for (int i = 0; i < ACTIVITY_ENTRIES_MAX; i++) {
        snprintf(adapter, sizeof adapter, "a%d", i);
        struct activity_entry *t = begin(a, 1, adapter);
        assert_non_null(t);
        activity_end(t, false);
    }
    assert_null(begin(a, 1, "one-more"));
    activity_first_token(NULL, 1);
    activity_next_token(NULL, 1);
    activity_end(NULL, false);
    for (int i = 0; i < ACTIVITY_SLOTS; i++)
        activity_turn(a);
    struct activity_entry *t = begin(a, 1, "one-more");
    assert_non_null(t);
    activity_end(t, false);
    activity_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_runs_is_listed_by_whose_it_is), cmocka_unit_test(the_busiest_come_first),
        cmocka_unit_test(a_minute_is_counted_and_then_forgotten),
        cmocka_unit_test(what_runs_outlives_the_minute), cmocka_unit_test(there_is_an_end_to_entries)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
