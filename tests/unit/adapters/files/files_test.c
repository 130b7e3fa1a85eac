/* Files to train with: what is kept of them, for whom, and that what is deleted is off the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/files/files.h"
#include "adapters/maintenance/backup.h"
#include "adapters/maintenance/fsck.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "tests/unit/support/place.h"

#define GOOD "{\"text\":\"a\"}\n"

static int upload(struct registry *r, uint32_t tenant, const char *name, const char *text, int64_t expires_ms,
                  struct file_row *out, struct err *e)
{
    struct files_upload *u;
    struct files_new n = {
        .tenant = tenant, .name = name, .purpose = FILE_PURPOSE_TRAINING, .expires_ms = expires_ms};
    assert_int_equal(files_upload_new(&u, r, true, e), 0);
    if (files_upload_write(u, text, strlen(text), e) == 0)
        return files_upload_accept(u, &n, out, e);
    files_upload_free(u);
    return -1;
}

static struct file_row kept(struct registry *r, uint32_t tenant, const char *name, const char *text)
{
    struct file_row row;
    struct err e = {0};
    if (upload(r, tenant, name, text, 0, &row, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return row;
}

static void expect_refused(struct registry *r, uint32_t tenant, const char *text, const char *code)
{
    struct file_row row;
    struct err e = {.code = "taken"};
    upload(r, tenant, "x", text, 0, &row, &e);
    assert_string_equal(e.code, code);
}

static size_t blobs(const struct place *p)
{
    return scratch_count(p->directory, "blobs");
}

static bool is_there(struct registry *r, uint32_t tenant, const char *id)
{
    struct file_row row;
    struct err e = {0};
    int found = files_find(r, tenant, id, &row, &e);
    if (found != 0)
        assert_string_equal(e.code, "file_not_found");
    return found == 0;
}

static void delete (struct registry *r, uint32_t tenant, const char *id)
{
    struct err e = {0};
    if (files_delete(r, tenant, id, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static void what_is_uploaded_is_kept(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    struct file_row row = kept(p->registry, acme, "C:\\data/support.jsonl", GOOD "\n" GOOD), found;
    struct err e;
    int fd;
    char text[64] = "", path[512];
    struct stat status;
    assert_string_equal(row.name, "support.jsonl");
    assert_int_equal(strncmp(row.id, "file-", 5), 0);
    assert_int_equal(row.examples, 2);
    place_reopen(p);
    assert_int_equal(files_open(p->registry, acme, row.id, &found, &fd, &e), 0);
    assert_memory_equal(&found, &row, sizeof row);
    assert_int_equal(read(fd, text, sizeof text), strlen(GOOD "\n" GOOD));
    assert_string_equal(text, GOOD "\n" GOOD);
    close(fd);
    snprintf(path, sizeof path, "%s/blobs/sha256/%.2s/%s", p->directory, row.blob, row.blob);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void what_is_refused_leaves_nothing(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    expect_refused(p->registry, acme, GOOD "{\"messages\":1}\n", "invalid_training_file");
    expect_refused(p->registry, acme, "", "invalid_training_file");
    expect_refused(p->registry, acme, GOOD "{", "invalid_training_file");
    expect_refused(p->registry, acme + 1, GOOD, "tenant_not_found");
    assert_int_equal(blobs(p), 0);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
}

static void foreign_files_are_unknown_files(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme"), zeta = place_tenant(p->registry, "zeta");
    struct file_row row = kept(p->registry, acme, "a", GOOD), rows[4];
    struct file_query q = {.tenant = zeta, .limit = 4};
    struct err e = {0};
    size_t count;
    bool more;
    int fd;
    assert_false(is_there(p->registry, zeta, row.id));
    assert_int_equal(files_open(p->registry, zeta, row.id, rows, &fd, &e), -1);
    assert_string_equal(e.code, "file_not_found");
    assert_int_equal(files_delete(p->registry, zeta, row.id, &e), -1);
    assert_string_equal(e.code, "file_not_found");
    assert_int_equal(files_list(p->registry, &q, rows, &count, &more, &e), 0);
    assert_int_equal(count, 0);
    assert_true(is_there(p->registry, acme, row.id));
}

static void what_is_deleted_is_off_the_disk(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme"), zeta = place_tenant(p->registry, "zeta");
    struct file_row a = kept(p->registry, acme, "a", GOOD), same = kept(p->registry, zeta, "b", GOOD);
    assert_int_equal(blobs(p), 1); /* the same bytes */
    delete (p->registry, acme, a.id);
    assert_int_equal(blobs(p), 1);
    assert_true(is_there(p->registry, zeta, same.id));
    delete (p->registry, zeta, same.id);
    assert_int_equal(blobs(p), 0);
    assert_int_equal(scratch_count(p->directory, "quarantine"), 0);
}

static void a_deleted_file_can_be_read_to_its_end(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    struct file_row row = kept(p->registry, acme, "a", GOOD);
    struct err e;
    char text[32] = "";
    int fd;
    assert_int_equal(files_open(p->registry, acme, row.id, &row, &fd, &e), 0);
    delete (p->registry, acme, row.id);
    assert_int_equal(read(fd, text, sizeof text), strlen(GOOD));
    close(fd);
}

static void a_tenants_files_go_with_it(void **state)
{
    struct place *p = *state;
    struct err e;
    uint32_t acme = place_tenant(p->registry, "acme"), zeta = place_tenant(p->registry, "zeta");
    kept(p->registry, acme, "a", GOOD);
    kept(p->registry, acme, "b", GOOD GOOD);
    kept(p->registry, zeta, "c", GOOD GOOD GOOD);
    assert_int_equal(blobs(p), 3);
    assert_int_equal(registry_tenant_delete(p->registry, "acme", &e), 0);
    assert_int_equal(blobs(p), 1);
}

/* The folder as it is at this moment, which is what a kill would leave: opened anew. */
static struct place opened_copy(const struct place *p)
{
    struct place copy = {.directory = scratch_new()};
    char command[1024];
    snprintf(command, sizeof command, "cp -a '%s/.' '%s/'", p->directory, copy.directory);
    assert_int_equal(system(command), 0);
    copy.registry = place_open(copy.directory);
    return copy;
}

static void what_was_deleted_does_not_wait_in_the_quarantine(void **state)
{
    struct place *p = *state;
    struct backup *b;
    struct err e;
    uint32_t acme = place_tenant(p->registry, "acme"), zeta = place_tenant(p->registry, "zeta");
    struct file_row row = kept(p->registry, acme, "a", GOOD);
    kept(p->registry, zeta, "b", GOOD GOOD);
    assert_int_equal(backup_open(&b, p->registry, &e), 0); /* because of which the bytes stay for now */
    delete (p->registry, acme, row.id);
    assert_int_equal(registry_tenant_delete(p->registry, "zeta", &e), 0);
    assert_int_equal(blobs(p), 2);
    struct place copy = opened_copy(p);
    assert_int_equal(blobs(&copy), 0);
    assert_int_equal(scratch_count(copy.directory, "quarantine"), 0);
    registry_close(copy.registry);
    scratch_remove(copy.directory);
    backup_close(b);
}

static void files_end(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    struct file_row later, past;
    struct err e = {0};
    int64_t now = clock_unix_ms();
    assert_int_equal(upload(p->registry, acme, "a", GOOD, now + 60000, &later, &e), 0);
    assert_int_equal(upload(p->registry, acme, "b", GOOD GOOD, now - 1, &past, &e), 0);
    assert_true(is_there(p->registry, acme, later.id));
    assert_false(is_there(p->registry, acme, past.id));
    assert_int_equal(blobs(p), 2);
    assert_int_equal(files_expire(p->registry, &e), 0);
    assert_int_equal(blobs(p), 1);
}

static void lists_go_both_ways(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    struct file_row all[5], rows[2];
    struct err e;
    size_t count;
    bool more;
    for (int i = 0; i < 5; i++)
        all[i] = kept(p->registry, acme, "a", GOOD);
    struct file_query q = {.tenant = acme, .limit = 2, .newest_first = true};
    assert_int_equal(files_list(p->registry, &q, rows, &count, &more, &e), 0);
    assert_true(count == 2 && more && rows[0].number == all[4].number && rows[1].number == all[3].number);
    q.after = rows[1].number;
    assert_int_equal(files_list(p->registry, &q, rows, &count, &more, &e), 0);
    assert_true(count == 2 && more && rows[0].number == all[2].number);
    q = (struct file_query){.tenant = acme, .limit = 2, .after = all[3].number};
    assert_int_equal(files_list(p->registry, &q, rows, &count, &more, &e), 0);
    assert_true(count == 1 && !more && rows[0].number == all[4].number);
    q = (struct file_query){.tenant = acme, .limit = 2, .purpose = FILE_PURPOSE_RESULTS};
    assert_int_equal(files_list(p->registry, &q, rows, &count, &more, &e), 0);
    assert_int_equal(count, 0);
}

static void a_quota_bounds_the_bytes(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    struct tenant_change c = {0};
    struct tenant_row row;
    struct err e;
    quota_fill(&c.quota, QUOTA_UNCHANGED);
    c.quota.of[QUOTA_FILES_BYTES_MAX] = 2 * (int64_t)strlen(GOOD);
    assert_int_equal(registry_tenant_change(p->registry, "acme", &c, &row, &e), 0);
    place_reopen(p);
    struct file_row first = kept(p->registry, acme, "a", GOOD);
    expect_refused(p->registry, acme, GOOD GOOD, "quota_exceeded");
    assert_int_equal(files_foresee(p->registry, acme, strlen(GOOD) + 1, &e), -1);
    assert_string_equal(e.code, "quota_exceeded");
    assert_int_equal(files_foresee(p->registry, acme, strlen(GOOD), &e), 0);
    assert_int_equal(blobs(p), 1);
    delete (p->registry, acme, first.id);
    kept(p->registry, acme, "b", GOOD GOOD);
}

/* ---- backup and check ---- */

static void found(void *arg, const struct fsck_problem *problem)
{
    assert_int_equal(problem->kind, FSCK_BROKEN);
    ++*(int *)arg;
}

static bool never(void *arg)
{
    (void)arg;
    return false;
}

static int problems(struct registry *r)
{
    int count = 0;
    struct err e;
    struct fsck_report report;
    struct fsck_handler h = {.found = found, .stop = never, .arg = &count};
    assert_int_equal(fsck_run(r, &h, &report, &e), 0);
    return count;
}

static void files_are_checked_and_backed_up(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    struct file_row row = kept(p->registry, acme, "a", GOOD);
    struct backup *b;
    struct err e;
    char path[512];
    int fd;
    assert_int_equal(problems(p->registry), 0);
    assert_int_equal(backup_open(&b, p->registry, &e), 0);
    assert_int_equal(backup_info(b)->blobs, 1);
    delete (p->registry, acme, row.id);
    assert_int_equal(blobs(p), 1); /* the backup still needs it */
    backup_close(b);
    assert_int_equal(blobs(p), 0);
    row = kept(p->registry, acme, "a", GOOD);
    snprintf(path, sizeof path, "blobs/sha256/%.2s/%s", row.blob, row.blob);
    scratch_write(p->directory, path, "{\"text\":\"b\"}\n", strlen(GOOD));
    assert_int_equal(problems(p->registry), 1);
    scratch_write(p->directory, path, "", 0);
    assert_int_equal(problems(p->registry), 1);
    assert_int_equal(files_open(p->registry, acme, row.id, &row, &fd, &e), -1);
    assert_string_equal(e.code, "file_broken");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(what_is_uploaded_is_kept),
        IN_PLACE(what_is_refused_leaves_nothing),
        IN_PLACE(foreign_files_are_unknown_files),
        IN_PLACE(what_is_deleted_is_off_the_disk),
        IN_PLACE(a_deleted_file_can_be_read_to_its_end),
        IN_PLACE(a_tenants_files_go_with_it),
        IN_PLACE(what_was_deleted_does_not_wait_in_the_quarantine),
        IN_PLACE(files_end),
        IN_PLACE(lists_go_both_ways),
        IN_PLACE(a_quota_bounds_the_bytes),
        IN_PLACE(files_are_checked_and_backed_up),
    };
    return cmocka_run_group_tests_name("files", tests, NULL, NULL);
}
