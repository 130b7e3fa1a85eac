/* fsck where no client can reach: rows and memory that differ; and that blobs stay as long as somebody holds
 * them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/maintenance/backup.h"
#include "adapters/maintenance/fsck.h"
#include "adapters/registry/registry_private.h"
#include "tests/unit/support/sample.h"
#include "tests/unit/support/scratch.h"

struct found {
    size_t count[FSCK_ORPHAN + 1];
    bool stop;
};

static void count_problem(void *arg, const struct fsck_problem *p)
{
    struct found *f = arg;
    assert_true(p->message[0] && p->tenant && p->name && p->version);
    f->count[p->kind]++;
}

static bool stop_asked(void *arg)
{
    return ((struct found *)arg)->stop;
}

static int check(struct registry *r, struct found *f, struct fsck_report *report, struct err *e)
{
    struct fsck_handler h = {.found = count_problem, .stop = stop_asked, .arg = f};
    return fsck_run(r, &h, report, e);
}

static struct registry *filled(char **directory)
{
    struct registry *r;
    struct err e;
    struct tenant_row tenant;
    struct key_row key;
    char text[KEY_TEXT_BYTES];
    *directory = scratch_new();
    assert_int_equal(registry_open(&r, *directory, &e), 0);
    assert_int_equal(registry_tenant_create(r, "acme", NULL, &tenant, &e), 0);
    assert_int_equal(registry_key_create(r, "acme", "a", 0, &key, text, &e), 0);
    for (unsigned i = 0; i < 3; i++) {
        const struct version *v;
        bool created;
        assert_int_equal(sample_publish(r, "acme", i == 2 ? "two" : "one", i, true, &v, &created, &e), 0);
        version_unref(v);
    }
    return r;
}

static void sound(struct registry *r, bool expected)
{
    struct found f = {0};
    struct fsck_report report;
    struct err e;
    assert_int_equal(check(r, &f, &report, &e), 0);
    assert_int_equal(report.versions, 3);
    assert_int_equal(report.problems == 0, expected);
    assert_int_equal(f.count[FSCK_MISMATCH] > 0, !expected);
}

static void memory_that_differs_from_the_rows(void **state)
{
    (void)state;
    char *directory;
    struct registry *r = filled(&directory);
    struct tenant *t = catalog_tenant(&r->catalog, "acme");
    struct adapter *a = catalog_adapter(t, "one");
    struct key *k = t->keys.items[0];
    sound(r, true);
    t->created_ms++;
    sound(r, false);
    t->created_ms--;
    t->quota.of[0]++;
    sound(r, false);
    t->quota.of[0]--;
    t->default_adapter[0] = 'x';
    sound(r, false);
    t->default_adapter[0] = '\0';
    t->bytes++;
    sound(r, false);
    t->bytes--;
    a->number++;
    sound(r, false);
    a->number--;
    k->hash[5] ^= 1;
    sound(r, false);
    k->hash[5] ^= 1;
    k->revoked = true;
    sound(r, false);
    k->revoked = false;
    r->catalog.counts.versions++;
    sound(r, false);
    r->catalog.counts.versions--;
    struct version *v = (struct version *)(uintptr_t)a->versions[0];
    v->active = !v->active;
    sound(r, false);
    v->active = !v->active;
    v->weights_bytes++;
    struct found f = {0};
    struct fsck_report report;
    struct err e;
    assert_int_equal(check(r, &f, &report, &e), 0);
    assert_int_equal(f.count[FSCK_MISMATCH], 2); /* the version, and what its tenant has in all */
    assert_int_equal(f.count[FSCK_BROKEN], 1);
    registry_close(r);
    scratch_remove(directory);
}

static void a_check_can_be_stopped(void **state)
{
    (void)state;
    char *directory;
    struct registry *r = filled(&directory);
    struct found f = {.stop = true};
    struct fsck_report report;
    struct err e;
    assert_int_equal(check(r, &f, &report, &e), -1);
    assert_string_equal(e.code, "shutting_down");
    assert_int_equal(r->holds, 0);
    sound(r, true);
    registry_close(r);
    scratch_remove(directory);
}

static size_t read_archive(struct backup *b)
{
    char block[1000];
    size_t total = 0, count;
    struct err e;
    do {
        assert_int_equal(backup_read(b, block, sizeof block, &count, &e), 0);
        total += count;
    } while (count > 0);
    assert_int_equal(total, backup_info(b)->bytes);
    return total;
}

static void blobs_stay_while_a_backup_is_open(void **state)
{
    (void)state;
    char *directory;
    struct registry *r = filled(&directory);
    struct backup *b[4], *more;
    struct err e;
    size_t before = scratch_count(directory, "blobs");
    uint32_t tenant = catalog_tenant(&r->catalog, "acme")->number;
    assert_int_equal(backup_open(&b[0], r, &e), 0);
    assert_int_equal(registry_adapter_delete(r, tenant, "one", NULL, &e), 0);
    assert_int_equal(scratch_count(directory, "blobs"), before);
    for (int i = 1; i < 4; i++)
        assert_int_equal(backup_open(&b[i], r, &e), 0);
    assert_int_equal(backup_open(&more, r, &e), -1);
    assert_string_equal(e.code, "overloaded");
    assert_int_equal(backup_info(b[0])->blobs, before);
    assert_true(read_archive(b[0]) > read_archive(b[1]));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(scratch_count(directory, "blobs"), before);
        backup_close(b[i]);
    }
    assert_true(scratch_count(directory, "blobs") < before);
    assert_int_equal(scratch_count(directory, "tmp"), 0);
    registry_close(r);
    scratch_remove(directory);
}

static void a_blob_that_goes_missing_ends_the_archive(void **state)
{
    (void)state;
    char *directory, block[4096];
    struct registry *r = filled(&directory);
    struct backup *b;
    struct err e = {.code = ""};
    size_t count = 1;
    int result = 0;
    assert_int_equal(backup_open(&b, r, &e), 0);
    blobs_remove(&r->blobs,
                 catalog_adapter(catalog_tenant(&r->catalog, "acme"), "two")->versions[0]->weights_blob);
    while (result == 0 && count > 0)
        result = backup_read(b, block, sizeof block, &count, &e);
    assert_int_equal(result, -1);
    assert_string_equal(e.code, "adapter_broken");
    backup_close(b);
    registry_close(r);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(memory_that_differs_from_the_rows),
                                       cmocka_unit_test(a_check_can_be_stopped),
                                       cmocka_unit_test(blobs_stay_while_a_backup_is_open),
                                       cmocka_unit_test(a_blob_that_goes_missing_ends_the_archive)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
