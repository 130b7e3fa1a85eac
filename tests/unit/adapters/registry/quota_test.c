/* What a tenant may take: kept, merged, and enforced where it counts, inside the publishing transaction. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "adapters/store/sqlite/migrations.h"
#include "adapters/registry/registry.h"
#include "core/system/file.h"
#include "tests/unit/support/place.h"

static struct tenant_change unchanged(void)
{
    struct tenant_change c = {0};
    quota_fill(&c.quota, QUOTA_UNCHANGED);
    return c;
}

static struct tenant_row change_ok(struct registry *r, const char *tenant, const struct tenant_change *c)
{
    struct tenant_row row;
    struct err e = {0};
    if (registry_tenant_change(r, tenant, c, &row, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return row;
}

static struct tenant_row set(struct registry *r, const char *tenant, enum quota_kind kind, int64_t value)
{
    struct tenant_change c = unchanged();
    c.quota.of[kind] = value;
    return change_ok(r, tenant, &c);
}

static struct tenant_row find(struct registry *r, const char *tenant)
{
    struct tenant_row row;
    struct err e = {0};
    assert_int_equal(registry_tenant_find(r, tenant, &row, &e), 0);
    return row;
}

static void create(struct registry *r, const char *tenant, const struct tenant_change *c)
{
    struct tenant_row row;
    struct err e = {0};
    assert_int_equal(registry_tenant_create(r, tenant, c, &row, &e), 0);
}

/* NULL when it was published, otherwise the code of the refusal. */
static const char *publish(struct registry *r, const char *tenant, const char *name, unsigned content)
{
    const struct version *v;
    bool created;
    struct err e = {0};
    if (sample_publish(r, tenant, name, content, true, &v, &created, &e) != 0)
        return e.code;
    version_unref(v);
    return NULL;
}

static void assert_refused(const char *code)
{
    assert_non_null(code);
    assert_string_equal(code, "quota_exceeded");
}

/* ---- what is kept ---- */

static void a_new_tenant_has_no_limits(void **state)
{
    struct place *p = *state;
    create(p->registry, "acme", NULL);
    struct tenant_row row = find(p->registry, "acme");
    for (int i = 0; i < QUOTAS; i++)
        assert_int_equal(row.quota.of[i], QUOTA_UNSET);
    assert_string_equal(row.default_adapter, "");
    assert_int_equal(row.adapter_bytes, 0);
}

static void changes_are_merged_and_survive(void **state)
{
    struct place *p = *state;
    struct tenant_change c = unchanged();
    c.quota.of[QUOTA_ADAPTERS_MAX] = 0;
    c.quota.of[QUOTA_WEIGHT] = 7;
    c.set_default_adapter = true;
    strcpy(c.default_adapter, "support");
    create(p->registry, "acme", &c);
    set(p->registry, "acme", QUOTA_TOKENS_PER_MINUTE, 1000);
    set(p->registry, "acme", QUOTA_WEIGHT, QUOTA_UNSET);
    for (int pass = 0; pass < 2; pass++) {
        struct tenant_row row = find(p->registry, "acme");
        assert_int_equal(row.quota.of[QUOTA_ADAPTERS_MAX], 0);
        assert_int_equal(row.quota.of[QUOTA_ADAPTER_BYTES_MAX], QUOTA_UNSET);
        assert_int_equal(row.quota.of[QUOTA_TOKENS_PER_MINUTE], 1000);
        assert_int_equal(row.quota.of[QUOTA_REQUESTS_IN_FLIGHT_MAX], QUOTA_UNSET);
        assert_int_equal(row.quota.of[QUOTA_WEIGHT], QUOTA_UNSET);
        assert_string_equal(row.default_adapter, "support");
        registry_close(p->registry);
        p->registry = place_open(p->directory);
    }
    c = unchanged();
    c.set_default_adapter = true;
    assert_string_equal(change_ok(p->registry, "acme", &c).default_adapter, "");
}

static void a_tenant_that_is_not_there_cannot_be_changed(void **state)
{
    struct place *p = *state;
    struct tenant_row row;
    struct err e = {0};
    struct tenant_change c = unchanged();
    assert_int_equal(registry_tenant_change(p->registry, "nobody", &c, &row, &e), -1);
    assert_string_equal(e.code, "tenant_not_found");
}

static void each_change_is_described(void **state)
{
    (void)state;
    char text[256];
    struct quota q;
    quota_fill(&q, QUOTA_UNCHANGED);
    quota_describe(&q, text, sizeof text);
    assert_string_equal(text, "");
    q.of[QUOTA_ADAPTERS_MAX] = 3;
    q.of[QUOTA_TOKENS_PER_MINUTE] = q.of[QUOTA_WEIGHT] = QUOTA_UNSET;
    quota_describe(&q, text, sizeof text);
    assert_string_equal(text, "adapters_max=3, tokens_per_minute=none, weight=default");
    for (int i = 0; i < QUOTAS; i++)
        q.of[i] = quota_bounds[i].high;
    char small[20];
    quota_describe(&q, small, sizeof small); /* cut, not overrun */
    assert_int_equal(strlen(small), sizeof small - 1);
}

/* The tenants of a database that had no quotas yet. */
static void an_older_database_is_taken_over(void **state)
{
    struct place *p = *state;
    char *path = file_join(p->directory, "registry.db");
    sqlite3 *db;
    registry_close(p->registry);
    assert_int_equal(remove(path), 0);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    int version = 0;
    for (; !strstr(migrations[version].name, "_quota"); version++)
        assert_int_equal(sqlite3_exec(db, migrations[version].sql, NULL, NULL, NULL), SQLITE_OK);
    char rows[160];
    snprintf(rows, sizeof rows,
             "PRAGMA application_id = 0x61647064; PRAGMA user_version = %d;"
             "INSERT INTO tenants (id, created_ms) VALUES ('old', 5)",
             version);
    assert_int_equal(sqlite3_exec(db, rows, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    free(path);
    p->registry = place_open(p->directory);
    struct tenant_row row = find(p->registry, "old");
    assert_int_equal(row.created_ms, 5);
    assert_int_equal(row.quota.of[QUOTA_ADAPTERS_MAX], QUOTA_UNSET);
    assert_int_equal(set(p->registry, "old", QUOTA_ADAPTERS_MAX, 2).quota.of[QUOTA_ADAPTERS_MAX], 2);
}

/* ---- what is enforced ---- */

static void adapters_are_limited_and_versions_are_not(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    create(r, "acme", NULL);
    create(r, "other", NULL);
    set(r, "acme", QUOTA_ADAPTERS_MAX, 2);
    assert_null(publish(r, "acme", "a", 1));
    assert_null(publish(r, "acme", "b", 1));
    assert_refused(publish(r, "acme", "c", 1));
    assert_null(publish(r, "acme", "a", 2)); /* another version */
    assert_null(publish(r, "acme", "b", 1)); /* the same again */
    assert_null(publish(r, "other", "c", 1));
    struct err e = {0};
    assert_int_equal(registry_adapter_delete(r, find(r, "acme").number, "a", NULL, &e), 0);
    assert_null(publish(r, "acme", "c", 1));
    set(r, "acme", QUOTA_ADAPTERS_MAX, 1); /* below what is there: nothing new, nothing is lost */
    assert_refused(publish(r, "acme", "d", 1));
    assert_int_equal(find(r, "acme").adapters, 2);
    set(r, "acme", QUOTA_ADAPTERS_MAX, QUOTA_UNSET);
    assert_null(publish(r, "acme", "d", 1));
}

static void bytes_are_limited(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    create(r, "acme", NULL);
    assert_null(publish(r, "acme", "a", 1));
    uint64_t one = find(r, "acme").adapter_bytes;
    assert_true(one > 5000);
    set(r, "acme", QUOTA_ADAPTER_BYTES_MAX, (int64_t)(3 * one));
    assert_null(publish(r, "acme", "a", 2));
    assert_null(publish(r, "acme", "b", 1));
    assert_refused(publish(r, "acme", "a", 3));
    assert_null(publish(r, "acme", "a", 1)); /* is there */
    assert_int_equal(find(r, "acme").adapter_bytes, 3 * one);
    uint32_t number = find(r, "acme").number;
    assert_int_equal(registry_adapter_delete(r, number, "a", NULL, &e), 0);
    assert_int_equal(find(r, "acme").adapter_bytes, one);
    registry_close(r);
    r = p->registry = place_open(p->directory);
    assert_int_equal(find(r, "acme").adapter_bytes, one);
    set(r, "acme", QUOTA_ADAPTER_BYTES_MAX, (int64_t)one);

    /* A repair adds nothing. */
    const struct version *v;
    assert_int_equal(registry_resolve(r, number, "b", &v, &e), 0);
    registry_mark_broken(r, v);
    assert_int_equal(registry_quota_check(r, number, "b", v->digest, one, &e), 0);
    version_unref(v);
    assert_null(publish(r, "acme", "b", 1));
    assert_int_equal(find(r, "acme").adapter_bytes, one);
}

static void what_cannot_fit_is_foreseen(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    create(r, "acme", NULL);
    uint32_t number = find(r, "acme").number;
    set(r, "acme", QUOTA_ADAPTERS_MAX, 0);
    assert_int_equal(registry_quota_foresee(r, number, 0, 100, &e), -1);
    assert_string_equal(e.code, "quota_exceeded");
    set(r, "acme", QUOTA_ADAPTERS_MAX, QUOTA_UNSET);
    assert_null(publish(r, "acme", "a", 1));
    uint64_t one = find(r, "acme").adapter_bytes;
    set(r, "acme", QUOTA_ADAPTER_BYTES_MAX, (int64_t)(one + 10));
    assert_int_equal(registry_quota_foresee(r, number, 10, 1 << 20, &e), 0);
    assert_int_equal(registry_quota_foresee(r, number, 11, one - 1, &e), -1);
    assert_non_null(strstr(e.message, "11 bytes"));
    assert_int_equal(registry_quota_foresee(r, number, 11, one, &e), 0); /* may be the same again */
    assert_int_equal(registry_quota_foresee(r, number, one + 1, one + 99, &e), -1);
    char digest[SHA256_HEX + 1];
    sample_digest(1, digest);
    assert_int_equal(registry_quota_check(r, number, "b", digest, 11, &e), -1);
    assert_int_equal(registry_quota_check(r, number, "b", digest, 10, &e), 0);
}

enum { RACERS = 8 };
struct racer {
    struct registry *registry;
    unsigned number;
    bool published;
    pthread_t thread;
};

static void *race(void *arg)
{
    struct racer *a = arg;
    char name[8];
    snprintf(name, sizeof name, "n%u", a->number);
    a->published = publish(a->registry, "acme", name, a->number) == NULL;
    return NULL;
}

static void of_uploads_that_race_only_what_fits_gets_in(void **state)
{
    struct place *p = *state;
    struct racer racers[RACERS];
    int published = 0;
    create(p->registry, "acme", NULL);
    set(p->registry, "acme", QUOTA_ADAPTERS_MAX, 3);
    for (unsigned i = 0; i < RACERS; i++) {
        racers[i] = (struct racer){.registry = p->registry, .number = i};
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    for (unsigned i = 0; i < RACERS; i++) {
        pthread_join(racers[i].thread, NULL);
        published += racers[i].published;
    }
    assert_int_equal(published, 3);
    assert_int_equal(find(p->registry, "acme").adapters, 3);
    assert_int_equal(scratch_count(p->directory, "blobs"), 6); /* nothing of the refused ones */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(a_new_tenant_has_no_limits),
        IN_PLACE(changes_are_merged_and_survive),
        IN_PLACE(a_tenant_that_is_not_there_cannot_be_changed),
        cmocka_unit_test(each_change_is_described),
        IN_PLACE(an_older_database_is_taken_over),
        IN_PLACE(adapters_are_limited_and_versions_are_not),
        IN_PLACE(bytes_are_limited),
        IN_PLACE(what_cannot_fit_is_foreseen),
        IN_PLACE(of_uploads_that_race_only_what_fits_gets_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
