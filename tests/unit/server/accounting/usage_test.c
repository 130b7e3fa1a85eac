/* Usage: counted in memory, written in one transaction, neither lost nor doubled when writing fails, kept on
 * disk. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/types/usage.h"
#include "core/system/clock.h"
#include "server/accounting/usage.h"
#include "tests/unit/support/place.h"

/* ---- the ledger, with a disk that can fail ---- */

struct disk {
    pthread_mutex_t lock;
    bool failing;
    size_t writes, rows; /* of the last write */
    int64_t sum[USAGE_KINDS];
    char day[DAY_BYTES];
};

static int write_rows(void *arg, const struct usage_row *rows, size_t count, struct err *e)
{
    struct disk *d = arg;
    pthread_mutex_lock(&d->lock);
    bool failing = d->failing;
    d->writes += count > 0;
    d->rows = count ? count : d->rows;
    for (size_t i = 0; i < count && !failing; i++) {
        strcpy(d->day, rows[i].day);
        for (int k = 0; k < USAGE_KINDS; k++)
            d->sum[k] += rows[i].count[k];
    }
    pthread_mutex_unlock(&d->lock);
    return failing ? err_set(e, "storage_full", "the disk is full") : 0;
}

static struct usage *new_usage(struct disk *d)
{
    struct usage *l = NULL;
    struct err e;
    *d = (struct disk){0};
    pthread_mutex_init(&d->lock, NULL);
    assert_int_equal(usage_new(&l, write_rows, d, &e), 0);
    return l;
}

static void set_failing(struct disk *d, bool failing)
{
    pthread_mutex_lock(&d->lock);
    d->failing = failing;
    pthread_mutex_unlock(&d->lock);
}

static void count_one(struct usage *l, uint32_t tenant, const char *adapter, int64_t tokens)
{
    struct usage_entry *entry = usage_entry_new(tenant, "acme");
    assert_non_null(entry);
    strcpy(entry->row.adapter, adapter);
    entry->row.count[USAGE_REQUESTS] = 1;
    entry->row.count[USAGE_PROMPT_TOKENS] = tokens;
    usage_count(l, entry);
}

static void what_was_counted_is_written_once(void **state)
{
    (void)state;
    struct disk d;
    struct usage *l = new_usage(&d);
    struct err e;
    char today[32];
    set_failing(&d, true); /* the ledger's own thread cannot come in between */
    for (int i = 0; i < 100; i++)
        count_one(l, 1 + (uint32_t)i % 2, i % 5 ? "a" : "", i);
    set_failing(&d, false);
    assert_int_equal(usage_flush(l, &e), 0);
    assert_int_equal(d.sum[USAGE_REQUESTS], 100);
    assert_int_equal(d.sum[USAGE_PROMPT_TOKENS], 4950);
    assert_true(d.rows <= 4); /* by tenant and adapter; not by request */
    clock_format(clock_unix_ms(), today, sizeof today);
    assert_memory_equal(d.day, today, 8);
    size_t writes = d.writes;
    assert_int_equal(usage_flush(l, &e), 0);
    assert_int_equal(d.writes, writes); /* nothing to write, nothing written */
    assert_int_equal(usage_free(l, &e), 0);
    assert_int_equal(d.sum[USAGE_REQUESTS], 100);
}

static void what_could_not_be_written_is_kept(void **state)
{
    (void)state;
    struct disk d;
    struct usage *l = new_usage(&d);
    struct err e;
    set_failing(&d, true);
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 200; i++) {
            char name[8];
            snprintf(name, sizeof name, "n%d", i);
            count_one(l, 1, name, 2);
        }
        assert_int_equal(usage_flush(l, &e), -1);
        assert_string_equal(e.code, "storage_full");
    }
    assert_int_equal(d.rows, 200);
    assert_int_equal(d.sum[USAGE_REQUESTS], 0);
    set_failing(&d, false);
    assert_int_equal(usage_free(l, &e), 0); /* a clean stop writes what is left */
    assert_int_equal(d.sum[USAGE_REQUESTS], 600);
    assert_int_equal(d.sum[USAGE_PROMPT_TOKENS], 1200);
}

static void a_loss_at_the_end_is_said(void **state)
{
    (void)state;
    struct disk d;
    struct usage *l = new_usage(&d);
    struct err e;
    set_failing(&d, true);
    count_one(l, 1, "a", 1);
    assert_int_equal(usage_free(l, &e), -1);
    assert_string_equal(e.code, "storage_full");
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct disk d;
    struct usage *l = new_usage(&d);
    struct err e;
    set_failing(&d, true);
    for (uint32_t i = 0; i < USAGE_ENTRIES_MAX; i++) {
        assert_false(usage_full(l));
        count_one(l, i + 1, "a", 1);
    }
    assert_true(usage_full(l));
    set_failing(&d, false);
    assert_int_equal(usage_flush(l, &e), 0);
    assert_false(usage_full(l));
    assert_int_equal(usage_free(l, &e), 0);
    assert_int_equal(d.sum[USAGE_REQUESTS], USAGE_ENTRIES_MAX);
}

enum { COUNTERS = 4, COUNTS = 5000 };

static void *counter_main(void *arg)
{
    struct usage *l = arg;
    for (int i = 0; i < COUNTS; i++)
        count_one(l, 1 + (uint32_t)i % 7, i % 2 ? "a" : "b", 1);
    return NULL;
}

static void counting_goes_on_while_writing_fails_and_succeeds(void **state)
{
    (void)state;
    struct disk d;
    struct usage *l = new_usage(&d);
    struct err e;
    pthread_t threads[COUNTERS];
    for (int i = 0; i < COUNTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, counter_main, l), 0);
    for (int i = 0; i < 200; i++) {
        set_failing(&d, i % 3 == 0);
        assert_int_equal(usage_flush(l, &e), i % 3 == 0 ? -1 : 0);
    }
    for (int i = 0; i < COUNTERS; i++)
        pthread_join(threads[i], NULL);
    set_failing(&d, false);
    assert_int_equal(usage_free(l, &e), 0);
    assert_int_equal(d.sum[USAGE_REQUESTS], COUNTERS * COUNTS);
}

/* ---- the rows on disk ---- */

static struct usage_row row_of(uint32_t tenant, const char *id, const char *day, const char *adapter,
                               int64_t n)
{
    struct usage_row row = {.tenant = tenant};
    strcpy(row.tenant_id, id);
    strcpy(row.day, day);
    strcpy(row.adapter, adapter);
    for (int i = 0; i < USAGE_KINDS; i++)
        row.count[i] = n + i;
    return row;
}

static size_t list(struct registry *r, struct usage_query q, struct usage_row *out, bool *more)
{
    struct err e;
    size_t count = 0;
    if (!q.limit)
        q.limit = 100;
    assert_int_equal(registry_usage_list(r, &q, out, &count, more, &e), 0);
    return count;
}

static void rows_add_up_and_are_kept(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    struct usage_row found[100];
    struct err e;
    bool more;
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    struct usage_row rows[] = {
        row_of(acme, "acme", "2026-01-31", "", 1), row_of(acme, "acme", "2026-01-31", "a", 10),
        row_of(acme, "acme", "2026-02-01", "a", 100), row_of(other, "other", "2026-02-01", "a", 1000)};
    assert_int_equal(registry_usage_add(r, rows, 4, &e), 0);
    assert_int_equal(registry_usage_add(r, rows, 2, &e), 0);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(list(r, (struct usage_query){0}, found, &more), 4);
        assert_false(more);
        assert_int_equal(found[0].count[USAGE_REQUESTS], 2);
        assert_int_equal(found[1].count[USAGE_CACHED_TOKENS], 2 * (10 + USAGE_CACHED_TOKENS));
        assert_string_equal(found[3].tenant_id, "other");
        assert_int_equal(list(r, (struct usage_query){.tenant_id = "acme"}, found, &more), 3);
        assert_int_equal(list(r, (struct usage_query){.tenant_id = "acme", .adapter = "a"}, found, &more), 2);
        assert_int_equal(list(r, (struct usage_query){.from = "2026-02-01"}, found, &more), 2);
        assert_int_equal(list(r, (struct usage_query){.to = "2026-01-31"}, found, &more), 2);
        assert_int_equal(list(r, (struct usage_query){.limit = 3}, found, &more), 3);
        assert_true(more);
        assert_int_equal(list(r, (struct usage_query){.after = found[2].number}, found, &more), 1);
        registry_close(r);
        r = place_open(directory);
    }

    /* A deleted tenant leaves its rows, which a new one of the same id does not get. */
    assert_int_equal(registry_tenant_delete(r, "acme", &e), 0);
    uint32_t again = place_tenant(r, "acme");
    assert_int_equal(list(r, (struct usage_query){.tenant_id = "acme", .tenant = again}, found, &more), 0);
    assert_int_equal(list(r, (struct usage_query){.tenant_id = "acme"}, found, &more), 3);
    assert_true(found[0].deleted);
    rows[0].tenant = again;
    assert_int_equal(registry_usage_add(r, rows, 1, &e), 0);
    assert_int_equal(list(r, (struct usage_query){.tenant_id = "acme", .tenant = again}, found, &more), 1);
    assert_false(found[0].deleted);
    assert_int_equal(found[0].count[USAGE_REQUESTS], 1);
    registry_close(r);
    scratch_remove(directory);
}

/* One row that the database does not take, and none of the others is there. */
static void all_rows_are_added_or_none(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    struct usage_row found[100];
    struct err e;
    bool more;
    struct usage_row rows[] = {row_of(1, "acme", "2026-01-31", "a", 1), row_of(1, "acme", "short", "a", 1)};
    assert_int_equal(registry_usage_add(r, rows, 2, &e), -1);
    assert_int_equal(list(r, (struct usage_query){0}, found, &more), 0);
    assert_int_equal(registry_usage_add(r, rows, 1, &e), 0);
    assert_int_equal(list(r, (struct usage_query){0}, found, &more), 1);
    registry_close(r);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_counted_is_written_once),
        cmocka_unit_test(what_could_not_be_written_is_kept),
        cmocka_unit_test(a_loss_at_the_end_is_said),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(counting_goes_on_while_writing_fails_and_succeeds),
        cmocka_unit_test(rows_add_up_and_are_kept),
        cmocka_unit_test(all_rows_are_added_or_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
