/* Keys in time: they expire, are rotated, and remember the minute of their last use. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "adapters/types/usage.h"
#include "core/system/clock.h"
#include "tests/unit/support/place.h"

enum { HOUR_MS = 3600000 };

static int setup(void **state)
{
    int result = place_setup(state);
    place_tenant(((struct place *)*state)->registry, "acme");
    return result;
}

static struct key_row create(struct registry *r, int64_t expires_ms, char key[KEY_TEXT_BYTES])
{
    struct key_row row;
    struct err e = {0};
    if (registry_key_create(r, "acme", "web", expires_ms, &row, key, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return row;
}

static bool opens(struct registry *r, const char *key)
{
    struct caller caller;
    registry_key_check(r, key, &caller);
    return caller.role == ROLE_TENANT && strcmp(caller.tenant_id, "acme") == 0;
}

static struct key_row look(struct registry *r, const char *kid)
{
    static struct key_row rows[TENANT_KEYS_MAX];
    size_t count = 0;
    bool more;
    struct err e;
    assert_int_equal(registry_key_list(r, "acme", NULL, TENANT_KEYS_MAX, rows, &count, &more, &e), 0);
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].kid, kid) == 0)
            return rows[i];
    fail_msg("no key %s", kid);
    return rows[0];
}

static void wait_until(int64_t unix_ms)
{
    while (clock_unix_ms() < unix_ms)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
}

static void a_key_ends_when_it_expires(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char soon[KEY_TEXT_BYTES], later[KEY_TEXT_BYTES], never[KEY_TEXT_BYTES];
    int64_t end = clock_unix_ms() + 300;
    struct key_row row = create(r, end, soon);
    create(r, clock_unix_ms() + HOUR_MS, later);
    create(r, 0, never);
    assert_int_equal(row.expires_ms, end);
    wait_until(end);
    for (int pass = 0; pass < 2; pass++) {
        assert_false(opens(r, soon));
        assert_true(opens(r, later));
        assert_true(opens(r, never));
        assert_int_equal(look(r, row.kid).expires_ms, end);
        assert_false(look(r, row.kid).revoked);
        r = place_reopen(p);
    }
}

static void expired_keys_make_room(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char key[KEY_TEXT_BYTES], first[KEY_TEXT_BYTES];
    struct key_row row;
    struct err e = {0};
    int64_t end = clock_unix_ms() + 1;
    struct key_row past = create(r, end, first);
    for (int i = 1; i < TENANT_KEYS_MAX; i++)
        create(r, 0, key);
    wait_until(end);
    create(r, 0, key);
    assert_true(opens(r, key));
    assert_int_equal(registry_key_revoke(r, "acme", past.kid, &e), -1);
    assert_string_equal(e.code, "key_not_found");
    assert_int_equal(registry_key_create(r, "acme", "x", 0, &row, key, &e), -1);
    assert_string_equal(e.code, "limit_reached");
}

static void rotation_gives_a_new_key_and_time(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char before[KEY_TEXT_BYTES], after[KEY_TEXT_BYTES];
    struct key_row first = create(r, 0, before), old, row;
    struct err e = {0};
    assert_int_equal(registry_key_rotate(r, "acme", first.kid, HOUR_MS, 0, &old, &row, after, &e), 0);
    assert_string_equal(old.kid, first.kid);
    assert_true(old.expires_ms > clock_unix_ms() && old.expires_ms <= clock_unix_ms() + HOUR_MS);
    assert_string_equal(row.label, "web");
    assert_int_equal(row.expires_ms, 0);
    for (int pass = 0; pass < 2; pass++) {
        assert_true(opens(r, before));
        assert_true(opens(r, after));
        r = place_reopen(p);
    }
    assert_int_equal(registry_key_revoke(r, "acme", first.kid, &e), 0); /* the grace can be cut short */
    assert_false(opens(r, before));
    assert_true(opens(r, after));
}

static void without_grace_the_old_key_ends_at_once(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char before[KEY_TEXT_BYTES], after[KEY_TEXT_BYTES];
    struct key_row first = create(r, 0, before), old, row;
    struct err e = {0};
    assert_int_equal(registry_key_rotate(r, "acme", first.kid, 0, 0, &old, &row, after, &e), 0);
    assert_false(opens(r, before));
    assert_true(opens(r, after));
    assert_int_equal(registry_key_rotate(r, "acme", first.kid, 0, 0, &old, &row, before, &e), -1);
    assert_string_equal(e.code, "key_not_in_force");
    assert_int_equal(registry_key_rotate(r, "acme", "k_none", 0, 0, &old, &row, before, &e), -1);
    assert_string_equal(e.code, "key_not_found");
    assert_int_equal(registry_key_rotate(r, "nobody", first.kid, 0, 0, &old, &row, before, &e), -1);
    assert_string_equal(e.code, "tenant_not_found");
}

static void a_grace_does_not_outlive_an_expiry(void **state)
{
    struct place *p = *state;
    char before[KEY_TEXT_BYTES], after[KEY_TEXT_BYTES];
    int64_t end = clock_unix_ms() + HOUR_MS;
    struct key_row first = create(p->registry, end, before), old, row;
    struct err e = {0};
    assert_int_equal(
        registry_key_rotate(p->registry, "acme", first.kid, 2 * HOUR_MS, end + 5, &old, &row, after, &e), 0);
    assert_int_equal(old.expires_ms, end);
    assert_int_equal(row.expires_ms, end + 5);
}

static void the_last_use_is_kept_to_the_minute(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char key[KEY_TEXT_BYTES], other[KEY_TEXT_BYTES];
    struct key_row row = create(r, 0, key), unused = create(r, 0, other);
    struct err e = {0};
    assert_int_equal(look(r, row.kid).used_ms, 0);
    int64_t before = clock_unix_ms();
    for (int i = 0; i < 100; i++)
        assert_true(opens(r, key));
    int64_t used = look(r, row.kid).used_ms;
    assert_int_equal(used % 60000, 0);
    assert_true(used > before - 60000 && used <= clock_unix_ms());
    assert_int_equal(registry_usage_add(r, NULL, 0, &e), 0); /* as the server does every few seconds */
    r = place_reopen(p);
    assert_true(look(r, row.kid).used_ms >= used);
    assert_int_equal(look(r, unused.kid).used_ms, 0);
    /* A key that is gone when its use is written is no error. */
    assert_true(opens(r, other));
    assert_int_equal(registry_tenant_delete(r, "acme", &e), 0);
    assert_int_equal(registry_usage_add(r, NULL, 0, &e), 0);
}

/* What could not be written comes with the next write. */
static void a_failed_write_keeps_the_uses(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char key[KEY_TEXT_BYTES];
    struct key_row row = create(r, 0, key);
    struct usage_row bad = {.tenant = 1, .day = "short"};
    struct err e = {0};
    assert_true(opens(r, key));
    assert_int_equal(registry_usage_add(r, &bad, 1, &e), -1);
    assert_int_equal(registry_usage_add(r, NULL, 0, &e), 0);
    r = place_reopen(p);
    assert_true(look(r, row.kid).used_ms > 0);
}

static void times_are_read_strictly(void **state)
{
    (void)state;
    int64_t ms;
    char text[32];
    assert_true(clock_parse("2026-01-31T12:00:00.123Z", &ms));
    clock_format(ms, text, sizeof text);
    assert_string_equal(text, "2026-01-31T12:00:00.123Z");
    assert_true(clock_parse("2024-02-29T23:59:59Z", &ms));
    assert_int_equal(ms, INT64_C(1709251199000));
    const char *bad[] = {"",
                         "2026-01-31",
                         "2026-01-31T12:00:00",
                         "2026-01-31T12:00:00+01:00",
                         "2026-01-31 12:00:00Z",
                         "2026-02-29T12:00:00Z",
                         "2026-13-01T12:00:00Z",
                         "2026-00-01T12:00:00Z",
                         "2026-01-31T24:00:00Z",
                         "2026-01-31T12:60:00Z",
                         "2026-01-31T12:00:61Z",
                         "2026-01-31T12:00:00.1Z",
                         "2026-01-31T12:00:00Zx",
                         "-026-01-31T12:00:00Z"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(clock_parse(bad[i], &ms));
}

int main(void)
{
#define WITH_TENANT(test) cmocka_unit_test_setup_teardown(test, setup, place_teardown)
    const struct CMUnitTest tests[] = {
        WITH_TENANT(a_key_ends_when_it_expires),         WITH_TENANT(expired_keys_make_room),
        WITH_TENANT(rotation_gives_a_new_key_and_time),  WITH_TENANT(without_grace_the_old_key_ends_at_once),
        WITH_TENANT(a_grace_does_not_outlive_an_expiry), WITH_TENANT(the_last_use_is_kept_to_the_minute),
        WITH_TENANT(a_failed_write_keeps_the_uses),      cmocka_unit_test(times_are_read_strictly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
