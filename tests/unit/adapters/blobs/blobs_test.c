/* Files on their shelves: what stands in their way, what waits in the quarantine, who may read them. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/blobs/blobs.h"
#include "adapters/blobs/modes.h"
#include "core/system/file.h"
#include "tests/unit/support/place.h"

/* Of the weights of a version of "a". */
static char *blob_of(struct place *p, uint32_t tenant)
{
    const struct version *v;
    struct err e;
    char *path = NULL;
    assert_int_equal(registry_resolve(p->registry, tenant, "a", &v, &e), 0);
    assert_true(asprintf(&path, "%s/blobs/sha256/%.2s/%s", p->directory, v->weights_blob, v->weights_blob) >
                0);
    version_unref(v);
    return path;
}

static char *shelf_of(const char *blob)
{
    char *shelf = strdup(blob);
    *strrchr(shelf, '/') = '\0';
    return shelf;
}

/* ---- what may stand in a blob's place ---- */

static void put_nothing(const char *path)
{
    (void)path;
}

static void put_directory(const char *path)
{
    assert_int_equal(mkdir(path, 0700), 0);
}

static void put_full_directory(const char *path)
{
    char *inner = file_join(path, "something");
    put_directory(path);
    put_directory(inner);
    free(inner);
}

static void put_link(const char *path)
{
    assert_int_equal(symlink("/etc/hostname", path), 0);
}

static void put_dangling_link(const char *path)
{
    assert_int_equal(symlink("nowhere", path), 0);
}

static void put_pipe(const char *path)
{
    assert_int_equal(mkfifo(path, 0600), 0);
}

static void put_short_file(const char *path)
{
    struct err e;
    assert_int_equal(file_replace(path, "short", 5, 0600, &e), 0);
}

static void (*const obstacles[])(const char *path) = {
    put_nothing, put_directory, put_full_directory, put_link, put_dangling_link, put_pipe, put_short_file};
enum { OBSTACLES = sizeof obstacles / sizeof *obstacles };

/* Nobody waits for the other end of a pipe. */
static void what_is_no_file_is_not_opened(void **state)
{
    char digest[SHA256_HEX + 1] = "abababababababababababababababababababababababababababababababab";
    struct place *p = *state;
    struct blobs b;
    struct err e;
    assert_int_equal(blobs_open(&b, p->directory, &e), 0);
    char *shelf = file_join(p->directory, "blobs/sha256/ab");
    for (size_t i = 0; i < OBSTACLES; i++) {
        digest[2] = (char)('0' + i);
        char *path = file_join(shelf, digest);
        obstacles[i](path);
        assert_int_equal(blobs_open_blob(&b, digest, 100, &e), -1);
        assert_string_equal(e.code, "adapter_broken");
        free(path);
    }
    free(shelf);
    blobs_close(&b);
}

/* A load finds out, or a start does; then the same files again repair it. */
static void expect_repaired(struct place *p, uint32_t tenant, bool restarted)
{
    const struct version *v;
    struct err e;
    if (restarted) {
        p->registry = place_reopen(p);
    } else {
        assert_int_equal(registry_resolve(p->registry, tenant, "a", &v, &e), 0);
        assert_int_equal(registry_check_files(p->registry, v, &e), -1);
        assert_string_equal(e.code, "adapter_broken");
        version_unref(v);
    }
    place_expect_refused(p->registry, tenant, "a", "adapter_broken");
    place_publish(p->registry, "acme", "a", 1, true, false);
    place_expect_content(p->registry, tenant, "a", 1);
}

static void an_upload_repairs_whatever_stands_in_a_blobs_place(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    place_publish(p->registry, "acme", "a", 1, true, true);
    char *blob = blob_of(p, acme), *shelf = shelf_of(blob);
    for (size_t i = 0; i < OBSTACLES; i++) {
        for (int restarted = 0; restarted < 2; restarted++) {
            assert_int_equal(unlink(blob), 0);
            obstacles[i](blob);
            expect_repaired(p, acme, restarted);
        }
    }
    for (size_t i = 0; i < OBSTACLES; i++) { /* and its shelf's */
        if (obstacles[i] == put_directory || obstacles[i] == put_full_directory)
            continue;
        for (int restarted = 0; restarted < 2; restarted++) {
            char away[32];
            snprintf(away, sizeof away, "away-%zu-%d", i, restarted);
            char *aside = file_join(p->directory, away);
            assert_int_equal(rename(shelf, aside), 0);
            obstacles[i](shelf);
            expect_repaired(p, acme, restarted);
            free(aside);
        }
    }
    free(shelf);
    free(blob);
}

/* ---- quarantine ---- */

static char *in_quarantine(const struct place *p, const char *blob)
{
    char *path = NULL;
    assert_true(asprintf(&path, "%s/quarantine/%s", p->directory, strrchr(blob, '/') + 1) > 0);
    return path;
}

static void what_nothing_needs_waits_and_comes_back(void **state)
{
    struct place *p = *state;
    struct registry_stats stats;
    uint32_t acme = place_tenant(p->registry, "acme");
    place_publish(p->registry, "acme", "a", 1, true, true);
    char *blob = blob_of(p, acme), *kept = in_quarantine(p, blob);
    registry_close(p->registry);
    /* A database from before the upload, and then again the one that knows of it. */
    char *database = file_join(p->directory, "registry.db"), *aside = file_join(p->directory, "aside.db");
    assert_int_equal(rename(database, aside), 0);
    char *other = scratch_new(), *empty = file_join(other, "registry.db");
    struct registry *r = place_open(other);
    place_tenant(r, "acme");
    registry_close(r);
    assert_int_equal(rename(empty, database), 0);
    p->registry = place_open(p->directory);
    registry_stats(p->registry, &stats);
    assert_int_equal(stats.swept_blobs, 2);
    assert_false(file_exists(blob));
    assert_true(file_exists(kept));
    registry_close(p->registry);
    assert_int_equal(rename(aside, database), 0);
    p->registry = place_open(p->directory);
    registry_stats(p->registry, &stats);
    assert_int_equal(stats.recovered_blobs, 2);
    assert_int_equal(stats.broken, 0);
    place_expect_content(p->registry, acme, "a", 1);
    assert_false(file_exists(kept));
    scratch_remove(other);
    free(empty);
    free(database);
    free(aside);
    free(kept);
    free(blob);
}

static void the_quarantine_ends_after_some_days(void **state)
{
    struct place *p = *state;
    registry_close(p->registry);
    struct timespec old[2] = {{.tv_sec = time(NULL) - (QUARANTINE_DAYS * 86400 + 60)}};
    old[1] = old[0];
    for (int i = 0; i < 2; i++) {
        char name[16];
        snprintf(name, sizeof name, "quarantine/f%d", i);
        scratch_write(p->directory, name, "x", 1);
    }
    char *first = file_join(p->directory, "quarantine/f0");
    assert_int_equal(utimensat(AT_FDCWD, first, old, 0), 0);
    p->registry = place_open(p->directory);
    assert_int_equal(scratch_count(p->directory, "quarantine"), 1);
    assert_false(file_exists(first));
    free(first);
}

/* ---- modes ---- */

static unsigned mode_of(const char *directory, const char *name)
{
    struct stat status;
    char *path = file_join(directory, name);
    assert_int_equal(stat(path, &status), 0);
    free(path);
    return status.st_mode & 07777;
}

static void what_is_stored_is_its_owners_alone(void **state)
{
    (void)state;
    static const char *const directories[] = {"tmp", "blobs", "blobs/sha256", "blobs/sha256/00",
                                              "quarantine"};
    static const char *const files[] = {"lock", "registry.db", "registry.db-journal"};
    for (int older = 0; older < 2; older++) {
        mode_t before = umask(0);
        char *directory = scratch_new();
        struct registry *r = place_open(directory);
        place_tenant(r, "acme");
        if (older) { /* as a program of before this rule left it */
            registry_close(r);
            for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
                char *path = file_join(directory, files[i]);
                assert_int_equal(chmod(path, 0644), 0);
                free(path);
            }
            for (size_t i = 0; i < sizeof directories / sizeof *directories; i++) {
                char *path = file_join(directory, directories[i]);
                assert_int_equal(chmod(path, 0755), 0);
                free(path);
            }
            r = place_open(directory);
        }
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            assert_int_equal(mode_of(directory, files[i]), 0600);
        for (size_t i = 0; i < sizeof directories / sizeof *directories; i++)
            assert_int_equal(mode_of(directory, directories[i]), 0700);
        registry_close(r);
        scratch_remove(directory);
        umask(before);
    }
}

static void links_are_not_followed(void **state)
{
    struct place *p = *state;
    struct err e;
    char *outside = scratch_new(), *link = file_join(p->directory, "link");
    scratch_write(outside, "file", "x", 1);
    char *file = file_join(outside, "file");
    assert_int_equal(chmod(file, 0644), 0);
    assert_int_equal(symlink(outside, link), 0);
    assert_int_equal(modes_tighten(p->directory, &e), 0);
    assert_int_equal(mode_of(outside, "file"), 0644);
    unlink(link);
    free(file);
    free(link);
    scratch_remove(outside);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(an_upload_repairs_whatever_stands_in_a_blobs_place),
        IN_PLACE(what_nothing_needs_waits_and_comes_back),
        IN_PLACE(the_quarantine_ends_after_some_days),
        cmocka_unit_test(what_is_stored_is_its_owners_alone),
        IN_PLACE(what_is_no_file_is_not_opened),
        IN_PLACE(links_are_not_followed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
