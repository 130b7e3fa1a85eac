/* Jobs in the registry: from state to state, events in order, what is charged, and that nobody sees another
 * tenant's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/files/files.h"
#include "adapters/jobs/job_rows.h"
#include "adapters/jobs/results.h"
#include "core/system/clock.h"
#include "tests/unit/support/place.h"
#include "tests/unit/support/scratch.h"

static struct job_row make(struct registry *r, uint32_t tenant)
{
    struct job_row j = {.tenant = tenant, .training_file = "file-1", .seed = 7};
    struct err e = {0};
    buf_append_string(&j.config, "{}");
    if (job_rows_create(r, &j, 8, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return j;
}

static const char *become(struct registry *r, const struct job_row *j, enum job_status to)
{
    struct job_row out = {0};
    struct err e = {0};
    int result = job_rows_become(r, j->tenant, j->id, &(struct job_change){.to = to}, &out, &e);
    if (result == 0)
        assert_int_equal(out.status, to);
    job_row_fini(&out);
    return result == 0 ? NULL : e.code;
}

static void become_ok(struct registry *r, const struct job_row *j, enum job_status to)
{
    const char *code = become(r, j, to);
    if (code)
        fail_msg("%s: %s", job_status_names[to], code);
}

/* As the drawing in job.h says, and no other way. */
static void the_table_of_states(void **state)
{
    (void)state;
    static const char *const allowed[] = {"validating_files queued", "validating_files paused",
                                          "validating_files failed", "validating_files cancelled",
                                          "queued running",          "queued paused",
                                          "queued failed",           "queued cancelled",
                                          "running queued",          "running paused",
                                          "running succeeded",       "running failed",
                                          "running cancelled",       "paused queued",
                                          "paused failed",           "paused cancelled"};
    size_t count = 0;
    for (int from = 0; from < JOB_STATUSES; from++)
        for (int to = 0; to < JOB_STATUSES; to++) {
            char line[64];
            bool found = false;
            snprintf(line, sizeof line, "%s %s", job_status_names[from], job_status_names[to]);
            for (size_t i = 0; i < sizeof allowed / sizeof *allowed; i++)
                found |= strcmp(allowed[i], line) == 0;
            assert_int_equal(job_may_become((enum job_status)from, (enum job_status)to), found);
            count += found;
        }
    assert_int_equal(count, sizeof allowed / sizeof *allowed);
    assert_true(job_is_over(JOB_SUCCEEDED) && job_is_over(JOB_FAILED) && job_is_over(JOB_CANCELLED));
    assert_false(job_is_over(JOB_PAUSED) || job_is_over(JOB_RUNNING));
}

static void a_job_goes_its_way_and_survives(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    struct job_row j = make(r, place_tenant(r, "acme")), found = {0};
    struct err e;
    assert_int_equal(strncmp(j.id, "ftjob-", 6), 0);
    assert_int_equal(strncmp(j.name, "ft-", 3), 0);
    become_ok(r, &j, JOB_QUEUED);
    become_ok(r, &j, JOB_RUNNING);
    assert_string_equal(become(r, &j, JOB_VALIDATING), "job_conflict");
    become_ok(r, &j, JOB_PAUSED);
    become_ok(r, &j, JOB_PAUSED); /* once more is nothing */
    registry_close(r);
    r = place_open(directory);
    assert_int_equal(job_rows_find(r, j.tenant, j.id, &found, &e), 0);
    assert_int_equal(found.status, JOB_PAUSED);
    assert_int_equal(found.seed, 7);
    assert_string_equal(found.config.data, "{}");
    assert_true(found.started_ms > 0 && found.finished_ms == 0);
    job_row_fini(&found);
    become_ok(r, &j, JOB_QUEUED);
    become_ok(r, &j, JOB_CANCELLED);
    become_ok(r, &j, JOB_CANCELLED);
    assert_string_equal(become(r, &j, JOB_QUEUED), "job_conflict");
    assert_string_equal(become(r, &j, JOB_PAUSED), "job_conflict");
    job_row_fini(&j);
    registry_close(r);
    free(directory);
}

static void nobody_sees_anothers(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    struct job_row j = make(r, acme), found = {0}, rows[4];
    struct err e;
    size_t count;
    bool more;
    assert_int_equal(job_rows_find(r, other, j.id, &found, &e), -1);
    assert_string_equal(e.code, "job_not_found");
    assert_int_equal(job_rows_list(r, other, j.id, 4, rows, &count, &more, &e), -1);
    assert_int_equal(job_rows_list(r, other, NULL, 4, rows, &count, &more, &e), 0);
    assert_int_equal(count, 0);
    struct job_change c = {.to = JOB_CANCELLED};
    assert_int_equal(job_rows_become(r, other, j.id, &c, &found, &e), -1);
    assert_string_equal(e.code, "job_not_found");
    assert_int_equal(registry_tenant_delete(r, "acme", &e), 0);
    assert_int_equal(job_rows_find(r, 0, j.id, &found, &e), -1);
    job_row_fini(&j);
    registry_close(r);
    free(directory);
}

static void lists_go_from_the_newest(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    uint32_t acme = place_tenant(r, "acme");
    struct job_row made[3], rows[3];
    struct err e;
    size_t count;
    bool more;
    for (int i = 0; i < 3; i++)
        made[i] = make(r, acme);
    assert_int_equal(job_rows_list(r, acme, NULL, 2, rows, &count, &more, &e), 0);
    assert_true(count == 2 && more);
    assert_string_equal(rows[0].id, made[2].id);
    job_rows_fini(rows, count);
    assert_int_equal(job_rows_list(r, acme, made[1].id, 2, rows, &count, &more, &e), 0);
    assert_true(count == 1 && !more);
    assert_string_equal(rows[0].id, made[0].id);
    job_rows_fini(rows, count);
    job_rows_fini(made, 3);
    registry_close(r);
    free(directory);
}

static struct job_event event_of(const char *text)
{
    struct job_event v = {.at_ms = clock_unix_ms(), .level = "info", .type = "metrics"};
    buf_append_string(&v.message, text);
    buf_append_string(&v.data, "{\"step\": 1}");
    return v;
}

static int64_t trained(struct registry *r)
{
    struct usage_row rows[10];
    size_t count;
    bool more;
    int64_t sum = 0;
    struct err e;
    assert_int_equal(registry_usage_list(r, &(struct usage_query){.limit = 10}, rows, &count, &more, &e), 0);
    for (size_t i = 0; i < count; i++)
        sum += rows[i].count[USAGE_TRAINED_TOKENS];
    return sum;
}

/* A step that is done again, after a crash, is paid once. */
static void progress_is_charged_once(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    struct job_row j = make(r, place_tenant(r, "acme")), found = {0};
    struct err e;
    bool over;
    become_ok(r, &j, JOB_QUEUED);
    become_ok(r, &j, JOB_RUNNING);
    static const struct job_progress ways[] = {
        {1, 100, 0}, {2, 250, 0}, {1, 100, 0}, {2, 250, 0}, {3, 400, 0}};
    static const int64_t sums[] = {100, 250, 250, 250, 400};
    for (size_t i = 0; i < 5; i++) {
        struct job_event v = event_of("a step");
        assert_int_equal(job_rows_advance(r, &j, &ways[i], &v, 1, &over, &e), 0);
        assert_false(over);
        assert_int_equal(trained(r), sums[i]);
        job_event_fini(&v);
    }
    assert_int_equal(job_rows_find(r, 0, j.id, &found, &e), 0);
    assert_true(found.step == 3 && found.tokens == 400);
    job_row_fini(&found);
    become_ok(r, &j, JOB_CANCELLED);
    assert_int_equal(job_rows_advance(r, &j, &(struct job_progress){9, 900, 0}, NULL, 0, &over, &e), 0);
    assert_true(over);
    assert_int_equal(trained(r), 400);
    job_row_fini(&j);
    registry_close(r);
    free(directory);
}

static void events_have_places(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    uint32_t acme = place_tenant(r, "acme");
    struct job_row a = make(r, acme), b = make(r, acme);
    struct job_event rows[10], v = event_of("hello");
    struct err e;
    size_t count;
    bool more;
    assert_int_equal(job_rows_add_event(r, &b, &v, &e), 0);
    assert_int_equal(v.place, 2); /* behind "Created ..." of its own job */
    job_event_fini(&v);
    assert_int_equal(job_rows_events(r, &b, 0, true, 1, rows, &count, &more, &e), 0);
    assert_true(count == 1 && more && rows[0].place == 2);
    assert_string_equal(rows[0].message.data, "hello");
    assert_string_equal(rows[0].type, "metrics");
    job_event_fini(&rows[0]);
    assert_int_equal(job_rows_events(r, &b, 2, true, 10, rows, &count, &more, &e), 0);
    assert_true(count == 1 && !more && rows[0].place == 1);
    job_event_fini(&rows[0]);
    assert_int_equal(job_rows_events(r, &b, 1, false, 10, rows, &count, &more, &e), 0);
    assert_true(count == 1 && rows[0].place == 2);
    job_event_fini(&rows[0]);
    job_row_fini(&a);
    job_row_fini(&b);
    registry_close(r);
    free(directory);
}

static void set_quota(struct registry *r, enum quota_kind kind, int64_t value)
{
    struct tenant_change c = {0};
    struct tenant_row row;
    struct err e;
    quota_fill(&c.quota, QUOTA_UNCHANGED);
    c.quota.of[kind] = value;
    assert_int_equal(registry_tenant_change(r, "acme", &c, &row, &e), 0);
}

static const char *refused(struct registry *r, uint32_t tenant, int64_t rank, char param[96])
{
    static struct err e;
    struct job_row j = {.tenant = tenant, .training_file = "file-1"};
    buf_append_string(&j.config, "{}");
    e = (struct err){.code = NULL};
    int result = job_rows_create(r, &j, rank, &e);
    strcpy(param, e.param);
    job_row_fini(&j);
    return result == 0 ? NULL : e.code;
}

static void quotas_hold(void **state)
{
    (void)state;
    char *directory = scratch_new(), param[96];
    struct registry *r = place_open(directory);
    uint32_t acme = place_tenant(r, "acme");
    struct err e;
    int64_t left;
    bool over;
    set_quota(r, QUOTA_TRAINING_RANK_MAX, 8);
    assert_string_equal(refused(r, acme, 9, param), "quota_exceeded");
    assert_string_equal(param, "training_rank_max");
    set_quota(r, QUOTA_TRAINING_JOBS_MAX, 1);
    struct job_row j = make(r, acme);
    assert_string_equal(refused(r, acme, 8, param), "quota_exceeded");
    assert_string_equal(param, "training_jobs_max");
    become_ok(r, &j, JOB_PAUSED); /* a paused one is not counted, and has to ask again */
    struct job_row second = make(r, acme);
    assert_string_equal(become(r, &j, JOB_QUEUED), "quota_exceeded");
    become_ok(r, &second, JOB_CANCELLED);
    become_ok(r, &j, JOB_QUEUED);
    become_ok(r, &j, JOB_RUNNING);
    set_quota(r, QUOTA_TRAINING_JOBS_MAX, QUOTA_UNSET);
    assert_int_equal(job_rows_tokens_left(r, acme, &left, &e), 0);
    assert_true(left == INT64_MAX);
    set_quota(r, QUOTA_TRAINING_TOKENS_PER_DAY, 150);
    assert_int_equal(job_rows_advance(r, &j, &(struct job_progress){1, 100, 0}, NULL, 0, &over, &e), 0);
    assert_int_equal(job_rows_tokens_left(r, acme, &left, &e), 0);
    assert_int_equal(left, 50);
    assert_int_equal(job_rows_advance(r, &j, &(struct job_progress){2, 200, 0}, NULL, 0, &over, &e), 0);
    assert_string_equal(refused(r, acme, 8, param), "quota_exceeded");
    assert_string_equal(param, "training_tokens_per_day");
    job_row_fini(&j);
    job_row_fini(&second);
    registry_close(r);
    free(directory);
}

static void checkpoints_are_kept(void **state)
{
    (void)state;
    char *directory = scratch_new();
    struct registry *r = place_open(directory);
    struct job_row j = make(r, place_tenant(r, "acme"));
    struct job_checkpoint c = {.step = 10, .at_ms = 1}, rows[4];
    struct err e;
    size_t count;
    bool more;
    memset(c.version, 'a', SHA256_HEX);
    buf_append_string(&c.metrics, "{}");
    assert_int_equal(job_rows_add_checkpoint(r, &j, &c, &e), 0);
    c.step = 20;
    assert_int_equal(job_rows_add_checkpoint(r, &j, &c, &e), 0);
    assert_int_equal(job_rows_add_checkpoint(r, &j, &c, &e), 0); /* again, after a crash */
    job_checkpoint_fini(&c);
    assert_int_equal(job_rows_checkpoints(r, &j, 0, 4, rows, &count, &more, &e), 0);
    assert_true(count == 2 && rows[0].step == 20 && rows[1].step == 10);
    for (size_t i = 0; i < count; i++)
        job_checkpoint_fini(&rows[i]);
    assert_int_equal(job_rows_drop_checkpoint(r, &j, 10, &e), 0);
    assert_int_equal(job_rows_checkpoints(r, &j, 0, 4, rows, &count, &more, &e), 0);
    assert_int_equal(count, 1);
    job_checkpoint_fini(&rows[0]);
    job_row_fini(&j);
    registry_close(r);
    free(directory);
}

/* The process may die between the table and the job's end, which then comes again. */
static void a_job_has_one_table(void **state)
{
    (void)state;
    char *directory = scratch_new(), first[FILE_ID_BYTES], second[FILE_ID_BYTES];
    struct registry *r = place_open(directory);
    uint32_t acme = place_tenant(r, "acme");
    struct job_row a = make(r, acme), b = make(r, acme);
    struct file_row rows[4];
    struct err e;
    size_t count;
    bool more;
    assert_int_equal(results_write(r, &b, first, &e), 0); /* another's stays */
    assert_int_equal(results_write(r, &a, first, &e), 0);
    assert_int_equal(results_write(r, &a, second, &e), 0);
    assert_string_not_equal(first, second);
    const struct file_query q = {.tenant = acme, .now_ms = clock_unix_ms(), .limit = 4};
    assert_int_equal(files_list(r, &q, rows, &count, &more, &e), 0);
    assert_int_equal(count, 2);
    assert_string_equal(rows[1].id, second);
    assert_int_equal(scratch_count(directory, "blobs"), 1); /* both say the same */
    job_row_fini(&a);
    job_row_fini(&b);
    registry_close(r);
    free(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_of_states),
        cmocka_unit_test(a_job_goes_its_way_and_survives),
        cmocka_unit_test(nobody_sees_anothers),
        cmocka_unit_test(lists_go_from_the_newest),
        cmocka_unit_test(progress_is_charged_once),
        cmocka_unit_test(events_have_places),
        cmocka_unit_test(quotas_hold),
        cmocka_unit_test(checkpoints_are_kept),
        cmocka_unit_test(a_job_has_one_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
