#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "server/accounting/upload_slots.h"

static void no_tenant_takes_the_places_of_others(void **state)
{
    (void)state;
    struct upload_slots p;
    struct err e;
    int place[UPLOADS_MAX];
    upload_slots_init(&p);
    for (int i = 0; i < UPLOADS_TENANT_MAX; i++)
        assert_true((place[i] = upload_slots_take(&p, 1, &e)) > 0);
    assert_int_equal(upload_slots_take(&p, 1, &e), 0);
    assert_string_equal(e.code, "too_many_uploads");
    for (int i = UPLOADS_TENANT_MAX; i < UPLOADS_MAX; i++)
        assert_true((place[i] = upload_slots_take(&p, 2, &e)) > 0);
    assert_int_equal(upload_slots_take(&p, 3, &e), 0);
    assert_string_equal(e.code, "overloaded");
    assert_int_equal(upload_slots_used(&p), UPLOADS_MAX);
    /* What is given back is that tenant's own share again, and nobody else's. */
    upload_slots_give(&p, place[0]);
    assert_int_equal(upload_slots_take(&p, 2, &e), 0);
    assert_string_equal(e.code, "too_many_uploads");
    assert_int_equal(upload_slots_take(&p, 1, &e), place[0]);
    for (int i = 0; i < UPLOADS_MAX; i++)
        upload_slots_give(&p, place[i]);
    assert_int_equal(upload_slots_used(&p), 0);
    upload_slots_fini(&p);
}

static void an_admin_may_have_all(void **state)
{
    (void)state;
    struct upload_slots p;
    struct err e;
    upload_slots_init(&p);
    for (int i = 0; i < UPLOADS_MAX; i++)
        assert_true(upload_slots_take(&p, 0, &e) > 0);
    assert_int_equal(upload_slots_take(&p, 0, &e), 0);
    assert_string_equal(e.code, "overloaded");
    upload_slots_fini(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_tenant_takes_the_places_of_others),
        cmocka_unit_test(an_admin_may_have_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
