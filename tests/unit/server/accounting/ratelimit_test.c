/* What a tenant has under way: requests are counted, tokens flow back evenly, and the time to wait is
 * true. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "server/accounting/ratelimit.h"

#define SECOND UINT64_C(1000000)

static struct quota quota(int64_t tokens, int64_t requests)
{
    struct quota q;
    quota_fill(&q, QUOTA_UNSET);
    q.of[QUOTA_TOKENS_PER_MINUTE] = tokens;
    q.of[QUOTA_REQUESTS_IN_FLIGHT_MAX] = requests;
    return q;
}

/* NULL when it was let in. */
static const char *enter(struct ratelimit *m, struct ticket *t, uint32_t tenant, struct quota q, uint64_t now,
                         uint64_t *wait)
{
    struct err e = {0};
    *t = (struct ticket){0};
    return ratelimit_open(m, t, tenant, &q, now, wait, &e) == 0 ? NULL : e.code;
}

static const char *take(struct ratelimit *m, struct ticket *t, int64_t tokens, uint64_t now)
{
    uint64_t wait;
    struct err e = {0};
    return ratelimit_take(m, t, tokens, now, &wait, &e) == 0 ? NULL : e.code;
}

static struct ratelimit *new_ratelimit(void)
{
    struct ratelimit *m = NULL;
    struct err e;
    assert_int_equal(ratelimit_new(&m, &e), 0);
    return m;
}

static void requests_are_counted_by_tenant(void **state)
{
    (void)state;
    struct ratelimit *m = new_ratelimit();
    struct ticket a, b, c, other;
    struct quota two = quota(QUOTA_UNSET, 2);
    struct ratelimit_state s;
    uint64_t wait;
    assert_null(enter(m, &a, 1, two, 0, &wait));
    assert_null(enter(m, &b, 1, two, 0, &wait));
    assert_string_equal(enter(m, &c, 1, two, 0, &wait), "too_many_in_flight");
    assert_null(enter(m, &other, 2, two, 0, &wait));
    ratelimit_look(m, &a, 0, &s);
    assert_int_equal(s.requests_left, 0);
    assert_int_equal(s.tokens_left, QUOTA_UNSET);
    ratelimit_close(m, &a, 0, 0);
    ratelimit_close(m, &a, 0, 0); /* again: nothing */
    ratelimit_close(m, &c, 0, 0); /* was never let in */
    ratelimit_look(m, &a, 0, &s);
    assert_int_equal(s.requests_left, 1);
    assert_null(enter(m, &c, 1, two, 0, &wait));
    ratelimit_close(m, &b, 0, 0);
    ratelimit_close(m, &c, 0, 0);
    ratelimit_close(m, &other, 0, 0);
    ratelimit_free(m);
}

static void requests_on_their_way_are_counted_until_the_engine_has_them(void **state)
{
    (void)state;
    struct ratelimit *m = new_ratelimit();
    struct ticket a, b;
    struct quota none = quota(QUOTA_UNSET, QUOTA_UNSET);
    uint64_t wait;
    int of_tenant, of_all;
    assert_null(enter(m, &a, 1, none, 0, &wait));
    assert_null(enter(m, &b, 2, none, 0, &wait));
    ratelimit_coming(m, 1, &of_tenant, &of_all);
    assert_int_equal(of_tenant, 1);
    assert_int_equal(of_all, 2);
    ratelimit_submitted(m, &a);
    ratelimit_submitted(m, &a);
    ratelimit_coming(m, 1, &of_tenant, &of_all);
    assert_int_equal(of_tenant, 0);
    assert_int_equal(of_all, 1);
    ratelimit_close(m, &a, 0, 0);
    ratelimit_submitted(m, &a);
    ratelimit_close(m, &b, 0, 0);
    ratelimit_coming(m, 2, &of_tenant, &of_all);
    assert_int_equal(of_tenant + of_all, 0);
    ratelimit_free(m);
}

static void tokens_are_taken_and_what_is_not_used_comes_back(void **state)
{
    (void)state;
    struct ratelimit *m = new_ratelimit();
    struct ticket t;
    struct quota q = quota(60, QUOTA_UNSET);
    struct ratelimit_state s;
    uint64_t wait;
    assert_null(enter(m, &t, 1, q, 5 * SECOND, &wait));
    assert_null(take(m, &t, 50, 5 * SECOND));
    ratelimit_look(m, &t, 5 * SECOND, &s);
    assert_int_equal(s.tokens_left, 10);
    ratelimit_close(m, &t, 20, 5 * SECOND);
    ratelimit_look(m, &t, 5 * SECOND, &s);
    assert_int_equal(s.tokens_left, 40);
    assert_true(s.full_us >= 20 * SECOND && s.full_us <= 20 * SECOND + 1);
    ratelimit_look(m, &t, 15 * SECOND, &s);
    assert_int_equal(s.tokens_left, 50);
    ratelimit_look(m, &t, 1000 * SECOND, &s);
    assert_int_equal(s.tokens_left, 60); /* no credit beyond a minute's worth */
    ratelimit_free(m);
}

/* Whatever the numbers: before the time is over it is refused, and then it is let in. */
static void the_time_to_wait_is_true(void **state)
{
    (void)state;
    static const int64_t limits[] = {1, 7, 60, 601, 1000000000};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (int64_t used = 1; used < 4 * limits[i]; used += 1 + limits[i] / 3) {
            struct ratelimit *m = new_ratelimit();
            struct ticket t;
            struct quota q = quota(limits[i], QUOTA_UNSET);
            uint64_t wait, ignored, now = 77 * SECOND;
            assert_null(enter(m, &t, 1, q, now, &wait));
            assert_null(take(m, &t, used, now)); /* also more than there is */
            ratelimit_close(m, &t, used, now);
            const char *refused = enter(m, &t, 1, q, now, &wait);
            if (refused) {
                assert_string_equal(refused, "rate_limited");
                assert_true(wait > 0);
                if (wait > 2)
                    assert_string_equal(enter(m, &t, 1, q, now + wait - 2, &ignored), "rate_limited");
                assert_null(enter(m, &t, 1, q, now + wait, &ignored));
            }
            ratelimit_close(m, &t, 0, now + wait);
            ratelimit_free(m);
        }
}

static void of_two_that_came_together_one_is_refused_when_the_other_took_all(void **state)
{
    (void)state;
    struct ratelimit *m = new_ratelimit();
    struct ticket a, b;
    struct quota q = quota(60, QUOTA_UNSET);
    uint64_t wait;
    assert_null(enter(m, &a, 1, q, 0, &wait));
    assert_null(enter(m, &b, 1, q, 0, &wait));
    assert_null(take(m, &a, 100, 0));
    assert_string_equal(take(m, &b, 1, 0), "rate_limited");
    ratelimit_close(m, &a, 10, 0);
    assert_null(take(m, &b, 1, 0));
    ratelimit_close(m, &b, 1, 0);
    ratelimit_free(m);
}

static void a_changed_quota_holds_at_once(void **state)
{
    (void)state;
    struct ratelimit *m = new_ratelimit();
    struct ticket t;
    struct ratelimit_state s;
    uint64_t wait;
    assert_null(enter(m, &t, 1, quota(60, QUOTA_UNSET), 0, &wait));
    assert_null(take(m, &t, 60, 0));
    ratelimit_close(m, &t, 60, 0);
    assert_string_equal(enter(m, &t, 1, quota(60, QUOTA_UNSET), 0, &wait), "rate_limited");
    assert_null(enter(m, &t, 1, quota(100, QUOTA_UNSET), 0, &wait));
    ratelimit_look(m, &t, 0, &s);
    assert_int_equal(s.tokens_left, 40); /* what was used stays used */
    ratelimit_close(m, &t, 0, 0);
    assert_string_equal(enter(m, &t, 1, quota(50, QUOTA_UNSET), 0, &wait), "rate_limited");
    assert_null(enter(m, &t, 1, quota(QUOTA_UNSET, QUOTA_UNSET), 0, &wait));
    assert_null(take(m, &t, 1000, 0));
    ratelimit_close(m, &t, 1000, 0);
    assert_null(enter(m, &t, 1, quota(60, QUOTA_UNSET), 0, &wait));
    ratelimit_close(m, &t, 0, 0);
    ratelimit_free(m);
}

static void many_tenants_are_told_apart(void **state)
{
    (void)state;
    struct ratelimit *m = new_ratelimit();
    struct ticket first, t;
    struct quota q = quota(60, 1);
    uint64_t wait;
    assert_null(enter(m, &first, 1, q, 0, &wait));
    for (uint32_t tenant = 2; tenant < 5000; tenant++) { /* entries that say nothing any more are swept */
        assert_null(enter(m, &t, tenant, q, tenant * SECOND, &wait));
        assert_null(take(m, &t, 60, tenant * SECOND));
        ratelimit_close(m, &t, 60, tenant * SECOND);
        assert_string_equal(enter(m, &t, tenant, q, tenant * SECOND, &wait), "rate_limited");
    }
    assert_string_equal(enter(m, &t, 1, q, 5000 * SECOND, &wait), "too_many_in_flight");
    ratelimit_close(m, &first, 0, 5000 * SECOND);
    ratelimit_free(m);
}

static void bodies_of_one_tenant_have_a_limit_of_their_own(void **state)
{
    (void)state;
    struct ratelimit *m;
    struct err e;
    assert_int_equal(ratelimit_new(&m, &e), 0);
    assert_int_equal(ratelimit_add_body(m, 1, 60, 100, 0, &e), 0);
    assert_int_equal(ratelimit_add_body(m, 1, 41, 100, 0, &e), -1);
    assert_string_equal(e.code, "tenant_queue_full");
    assert_int_equal(ratelimit_add_body(m, 1, 40, 100, 0, &e), 0);
    /* Others have theirs, and what says something is not swept away by many others. */
    for (uint32_t tenant = 2; tenant < 1000; tenant++) {
        assert_int_equal(ratelimit_add_body(m, tenant, 100, 100, 0, &e), 0);
        ratelimit_remove_body(m, tenant, 100);
    }
    assert_int_equal(ratelimit_add_body(m, 1, 1, 100, 0, &e), -1);
    ratelimit_remove_body(m, 1, 60);
    assert_int_equal(ratelimit_add_body(m, 1, 60, 100, 0, &e), 0);
    ratelimit_remove_body(m, 1, 100);
    ratelimit_free(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_counted_by_tenant),
        cmocka_unit_test(requests_on_their_way_are_counted_until_the_engine_has_them),
        cmocka_unit_test(tokens_are_taken_and_what_is_not_used_comes_back),
        cmocka_unit_test(the_time_to_wait_is_true),
        cmocka_unit_test(of_two_that_came_together_one_is_refused_when_the_other_took_all),
        cmocka_unit_test(a_changed_quota_holds_at_once),
        cmocka_unit_test(many_tenants_are_told_apart),
        cmocka_unit_test(bodies_of_one_tenant_have_a_limit_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
