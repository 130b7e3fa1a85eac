/* A disk that fails: each sync and each write of a change fails in turn. No false success, no torn state,
 * nothing left behind; a full disk does no lasting harm, a broken one closes the registry for changes. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/registry/registry.h"
#include "tests/unit/support/sample.h"
#include "tests/unit/support/scratch.h"

/* ---- system calls that fail when told to: these definitions stand before the C library's ---- */

static struct {
    int countdown; /* calls until the one that fails; -1: none */
    int number;    /* errno */
    bool happened;
} sync_fault = {.countdown = -1}, write_fault = {.countdown = -1};

static bool full; /* no file grows */

/* Would these bytes make the file longer? */
static bool grows(int fd, off64_t end)
{
    struct stat status;
    return full && fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && end > status.st_size;
}

static ssize_t no_space(void)
{
    errno = ENOSPC;
    return -1;
}

static bool fails(int *countdown, bool *happened)
{
    if (*countdown < 0 || (*countdown)-- > 0)
        return false;
    *happened = true;
    return true;
}

static int faulty_sync(long call, int fd)
{
    if (fails(&sync_fault.countdown, &sync_fault.happened)) {
        errno = sync_fault.number;
        return -1;
    }
    return (int)syscall(call, fd);
}

int fsync(int fd)
{
    return faulty_sync(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return faulty_sync(SYS_fdatasync, fd);
}

ssize_t write(int fd, const void *data, size_t length)
{
    if (fd > 2 && fails(&write_fault.countdown, &write_fault.happened)) {
        errno = write_fault.number;
        return -1;
    }
    if (fd > 2 && grows(fd, lseek(fd, 0, SEEK_CUR) + (off64_t)length))
        return no_space();
    return syscall(SYS_write, fd, data, length);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset)
{
    if (fails(&write_fault.countdown, &write_fault.happened)) {
        errno = write_fault.number;
        return -1;
    }
    if (grows(fd, offset + (off64_t)length))
        return no_space();
    return syscall(SYS_pwrite64, fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset)
{
    return pwrite64(fd, data, length, offset);
}

static void disarm(void)
{
    sync_fault.countdown = write_fault.countdown = -1;
    sync_fault.happened = write_fault.happened = false;
}

/* ---- the changes under test ---- */

struct place {
    char *directory;
    struct registry *registry;
    uint32_t tenant;
};

static void open_place(struct place *p)
{
    struct err e;
    if (registry_open(&p->registry, p->directory, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static int publish(struct place *p, unsigned content, struct err *e)
{
    const struct version *v = NULL;
    bool created;
    int result = sample_publish(p->registry, "acme", "a", content, true, &v, &created, e);
    version_unref(v);
    return result;
}

static int setup(void **state)
{
    static struct place place;
    place.directory = scratch_new();
    open_place(&place);
    *state = &place;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    registry_close(p->registry);
    scratch_remove(p->directory);
    return 0;
}

/* Version 1 of "a" is there and active, and nothing else. */
static void begin_change(struct place *p)
{
    struct tenant_row row;
    struct err e;
    int before = registry_tenant_delete(p->registry, "acme", &e); /* of the change before, if there was one */
    assert_true(before == 0 || strcmp(e.code, "tenant_not_found") == 0);
    assert_int_equal(registry_tenant_create(p->registry, "acme", NULL, &row, &e), 0);
    p->tenant = row.number;
    assert_int_equal(publish(p, 1, &e), 0);
}

/* What "a" means: the content of its active version with every byte checked, or 0 where there is no "a". */
static unsigned active_content(struct place *p)
{
    const struct version *v;
    struct err e;
    if (registry_resolve(p->registry, p->tenant, "a", &v, &e) != 0) {
        assert_string_equal(e.code, "adapter_not_found");
        return 0;
    }
    for (unsigned content = 1; content < 4; content++) {
        char digest[SHA256_HEX + 1];
        sample_digest(content, digest);
        if (strcmp(digest, v->digest) == 0) {
            if (sample_check(p->registry, v, content, &e) != 0)
                fail_msg("%s: %s", e.code, e.message);
            version_unref(v);
            return content;
        }
    }
    fail_msg("a version of nobody's");
    return 0;
}

static int publish_second(struct place *p, struct err *e)
{
    return publish(p, 2, e);
}

static int delete_all(struct place *p, struct err *e)
{
    return registry_adapter_delete(p->registry, p->tenant, "a", NULL, e);
}

static int delete_tenant(struct place *p, struct err *e)
{
    return registry_tenant_delete(p->registry, "acme", e);
}

static const struct {
    int (*run)(struct place *p, struct err *e);
    unsigned before, after; /* active content */
    size_t blobs_before, blobs_after;
} changes[] = {
    {publish_second, 1, 2, 2, 4},
    {delete_all, 1, 0, 2, 0},
    {delete_tenant, 1, 0, 2, 0},
};

enum { CHANGES = sizeof changes / sizeof *changes, FAULTS_MAX = 200 };

/* After restarting, the change is there wholly or not at all; acknowledged ones are. */
static void check_restarted(struct place *p, size_t change, bool acknowledged)
{
    struct err e;
    registry_close(p->registry);
    open_place(p);
    unsigned content = active_content(p);
    bool applied = content == changes[change].after;
    assert_true(applied || (!acknowledged && content == changes[change].before));
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
    assert_int_equal(scratch_count(p->directory, "blobs"),
                     applied ? changes[change].blobs_after : changes[change].blobs_before);
    struct registry_stats s;
    registry_stats(p->registry, &s);
    assert_int_equal(s.broken, 0);
    if (changes[change].run != delete_tenant) /* and it takes changes again */
        assert_int_equal(publish(p, 3, &e), 0);
}

/* Returns whether the n-th sync was reached at all. */
static bool fail_sync(struct place *p, size_t change, int n)
{
    struct err e = {.code = ""};
    begin_change(p);
    sync_fault.number = EIO;
    sync_fault.countdown = n;
    int result = changes[change].run(p, &e);
    bool happened = sync_fault.happened;
    disarm();
    if (happened) {
        struct tenant_row row;
        assert_true(registry_failed(p->registry));
        /* Only the tidying after a delete may fail without the delete having failed. */
        assert_true(result != 0 || changes[change].after == 0);
        assert_int_equal(registry_tenant_create(p->registry, "late", NULL, &row, &e), -1);
        assert_string_equal(e.code, "storage_failed");
    }
    check_restarted(p, change, result == 0);
    return happened;
}

static void every_sync_fails_in_turn(void **state)
{
    for (size_t change = 0; change < CHANGES; change++) {
        int n = 0;
        while (n < FAULTS_MAX && fail_sync(*state, change, n))
            n++;
        assert_in_range(n, 3, FAULTS_MAX - 1); /* journal, database, end of journal at least */
    }
}

static bool fill_disk(struct place *p, size_t change, int n)
{
    struct err e = {.code = ""};
    begin_change(p);
    write_fault.number = ENOSPC;
    write_fault.countdown = n;
    int result = changes[change].run(p, &e);
    bool happened = write_fault.happened;
    disarm();
    if (happened && result != 0) {
        assert_string_equal(e.code, "storage_full");
        assert_false(registry_failed(p->registry));
        assert_int_equal(active_content(p), changes[change].before);
        assert_int_equal(scratch_count(p->directory, "tmp"), 0);
        assert_int_equal(scratch_count(p->directory, "blobs"), changes[change].blobs_before);
        if (changes[change].run(p, &e) != 0)
            fail_msg("%s: %s", e.code, e.message);
        result = 0;
    }
    check_restarted(p, change, result == 0);
    return happened;
}

static void every_write_finds_the_disk_full_in_turn(void **state)
{
    for (size_t change = 0; change < CHANGES; change++) {
        int n = 0;
        while (n < FAULTS_MAX && fill_disk(*state, change, n))
            n++;
        assert_in_range(n, 3, FAULTS_MAX - 1);
    }
}

static bool fail_write(struct place *p, size_t change, int n)
{
    struct err e = {.code = ""};
    begin_change(p);
    write_fault.number = EIO;
    write_fault.countdown = n;
    int result = changes[change].run(p, &e);
    bool happened = write_fault.happened;
    disarm();
    check_restarted(p, change, result == 0);
    return happened;
}

static void every_write_fails_in_turn(void **state)
{
    for (size_t change = 0; change < CHANGES; change++) {
        int n = 0;
        while (n < FAULTS_MAX && fail_write(*state, change, n))
            n++;
        assert_in_range(n, 3, FAULTS_MAX - 1);
    }
}

/* What gives room, and what must not wait for it. */
static void on_a_full_disk_keys_are_revoked_and_adapters_deleted(void **state)
{
    struct place *p = *state;
    struct err e = {.code = ""};
    struct tenant_row tenant;
    struct key_row key;
    struct caller caller;
    char text[KEY_TEXT_BYTES];
    assert_int_equal(registry_tenant_create(p->registry, "acme", NULL, &tenant, &e), 0);
    assert_int_equal(registry_key_create(p->registry, "acme", "", 0, &key, text, &e), 0);
    assert_int_equal(publish(p, 1, &e), 0);
    assert_int_equal(publish(p, 2, &e), 0);
    full = true;
    int published = publish(p, 3, &e);
    const char *code = e.code;
    int revoked = registry_key_revoke(p->registry, "acme", key.kid, &e);
    int deleted = registry_adapter_delete(p->registry, tenant.number, "a", NULL, &e);
    full = false;
    assert_int_equal(published, -1);
    assert_string_equal(code, "storage_full");
    assert_int_equal(revoked, 0);
    assert_int_equal(deleted, 0);
    registry_close(p->registry);
    open_place(p);
    registry_key_check(p->registry, text, &caller);
    assert_int_equal(caller.role, ROLE_NONE);
    assert_int_equal(scratch_count(p->directory, "blobs"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_sync_fails_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(every_write_finds_the_disk_full_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(every_write_fails_in_turn, setup, teardown),
        cmocka_unit_test_setup_teardown(on_a_full_disk_keys_are_revoked_and_adapters_deleted, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
