/* The registry keeps what it acknowledged, refuses what it should, and shows each tenant its own. */
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
#include <sqlite3.h>

#include "adapters/types/admin_keys.h"
#include "adapters/store/sqlite/migrations.h"
#include "adapters/registry/registry.h"
#include "core/system/file.h"
#include "tests/unit/support/place.h"

static void add_key(struct registry *r, const char *tenant, struct key_row *row, char key[KEY_TEXT_BYTES])
{
    struct err e = {0};
    if (registry_key_create(r, tenant, "laptop", 0, row, key, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

/* ---- names ---- */

static void names(void **state)
{
    (void)state;
    char longest[NAME_MAX_BYTES + 2];
    memset(longest, 'a', sizeof longest);
    longest[NAME_MAX_BYTES] = '\0';
    const char *good[] = {"a", "0", "a.b", "a-b_c.9", "acme", "9..", longest};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(name_valid(good[i]));
    char too_long[NAME_MAX_BYTES + 2];
    memset(too_long, 'a', sizeof too_long);
    too_long[NAME_MAX_BYTES + 1] = '\0';
    const char *bad[] = {"",   ".a",  "-a",  "_a",       "A",     "aB",   "a b",  "a/b",
                         "..", "a\n", "a@b", "\xc3\xa9", "a\x80", "a%2f", "../a", too_long};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(name_valid(bad[i]));
    assert_false(name_valid(NULL));
}

/* ---- tenants ---- */

static void tenants_are_created_found_and_deleted(void **state)
{
    struct place *p = *state;
    struct tenant_row row;
    struct err e = {0};
    uint32_t first = place_tenant(p->registry, "acme");
    assert_int_equal(registry_tenant_create(p->registry, "acme", NULL, &row, &e), -1);
    assert_string_equal(e.code, "tenant_exists");
    assert_int_equal(registry_tenant_create(p->registry, "Acme", NULL, &row, &e), -1);
    assert_string_equal(e.code, "invalid_name");
    assert_int_equal(registry_tenant_find(p->registry, "acme", &row, &e), 0);
    assert_int_equal(row.number, first);
    assert_string_equal(row.id, "acme");
    assert_true(row.created_ms > 0);
    assert_int_equal(registry_tenant_find(p->registry, "nobody", &row, &e), -1);
    assert_string_equal(e.code, "tenant_not_found");

    assert_int_equal(registry_tenant_delete(p->registry, "acme", &e), 0);
    assert_int_equal(registry_tenant_delete(p->registry, "acme", &e), -1);
    assert_string_equal(e.code, "tenant_not_found");
    assert_true(place_tenant(p->registry, "acme") > first); /* numbers are never used twice */
    place_reopen(p);
    assert_int_equal(registry_tenant_delete(p->registry, "acme", &e), 0);
    assert_true(place_tenant(p->registry, "acme") > first + 1);
}

static void a_deleted_tenant_takes_everything_along(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct key_row key;
    char text[KEY_TEXT_BYTES];
    struct caller caller;
    struct err e = {0};
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    add_key(r, "acme", &key, text);
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "b", 2, true, true);
    place_publish(r, "other", "b", 2, true, true); /* shares the blobs */
    assert_int_equal(scratch_count(p->directory, "blobs"), 4);

    assert_int_equal(registry_tenant_delete(r, "acme", &e), 0);
    registry_key_check(r, text, &caller);
    assert_int_equal(caller.role, ROLE_NONE);
    place_expect_refused(r, acme, "a", "adapter_not_found");
    place_expect_content(r, other, "b", 2);
    assert_int_equal(scratch_count(p->directory, "blobs"), 2);
    place_expect_stats(r, 1, 0, 1, 1, 0);
    r = place_reopen(p);
    place_expect_stats(r, 1, 0, 1, 1, 0);
    place_expect_content(r, other, "b", 2);
}

static void lists_are_in_order_and_paged(void **state)
{
    struct place *p = *state;
    const char *ids[] = {"m", "a", "z", "b", "y"};
    struct tenant_row rows[8];
    bool more;
    for (size_t i = 0; i < 5; i++)
        place_tenant(p->registry, ids[i]);
    for (int pass = 0; pass < 2; pass++) {
        assert_int_equal(registry_tenant_list(p->registry, NULL, 2, rows, &more), 2);
        assert_true(more);
        assert_string_equal(rows[0].id, "a");
        assert_string_equal(rows[1].id, "b");
        assert_int_equal(registry_tenant_list(p->registry, "b", 3, rows, &more), 3);
        assert_false(more);
        assert_string_equal(rows[2].id, "z");
        assert_int_equal(registry_tenant_list(p->registry, "n", 1, rows, &more),
                         1); /* a cursor need not exist */
        assert_string_equal(rows[0].id, "y");
        assert_true(more);
        assert_int_equal(registry_tenant_list(p->registry, "z", 8, rows, &more), 0);
        assert_false(more);
        assert_int_equal(registry_tenant_list(p->registry, NULL, 0, rows, &more), 0);
        assert_true(more);
        place_reopen(p);
    }
}

/* ---- keys ---- */

static void keys_open_their_own_tenant(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct key_row first, second;
    char one[KEY_TEXT_BYTES], two[KEY_TEXT_BYTES];
    struct caller caller;
    struct err e = {0};
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    add_key(r, "acme", &first, one);
    add_key(r, "other", &second, two);
    assert_true(strncmp(one, "ad_", 3) == 0 && strlen(one) == 67);
    assert_true(strncmp(first.kid, "k_", 2) == 0 && strlen(first.kid) == 18);
    assert_string_equal(first.label, "laptop");
    assert_string_not_equal(one, two);
    for (int pass = 0; pass < 2; pass++) {
        registry_key_check(r, one, &caller);
        assert_int_equal(caller.role, ROLE_TENANT);
        assert_int_equal(caller.tenant, acme);
        assert_string_equal(caller.tenant_id, "acme");
        assert_string_equal(caller.kid, first.kid);
        registry_key_check(r, two, &caller);
        assert_int_equal(caller.tenant, other);
        r = place_reopen(p);
    }
    assert_int_equal(registry_key_revoke(r, "other", first.kid, &e), -1); /* somebody else's */
    assert_string_equal(e.code, "key_not_found");
    assert_int_equal(registry_key_revoke(r, "acme", first.kid, &e), 0);
    assert_int_equal(registry_key_revoke(r, "acme", first.kid, &e), 0);
    for (int pass = 0; pass < 2; pass++) {
        struct key_row rows[4];
        size_t count;
        bool more;
        registry_key_check(r, one, &caller);
        assert_int_equal(caller.role, ROLE_NONE);
        assert_int_equal(registry_key_list(r, "acme", NULL, 4, rows, &count, &more, &e), 0);
        assert_int_equal(count, 1);
        assert_true(rows[0].revoked);
        registry_key_check(r, two, &caller);
        assert_int_equal(caller.role, ROLE_TENANT);
        r = place_reopen(p);
    }
}

static void wrong_keys_open_nothing(void **state)
{
    struct place *p = *state;
    struct key_row row;
    char key[KEY_TEXT_BYTES], changed[KEY_TEXT_BYTES + 1], endless[4096];
    struct caller caller;
    place_tenant(p->registry, "acme");
    add_key(p->registry, "acme", &row, key);
    memset(endless, 'a', sizeof endless);
    endless[sizeof endless - 1] = '\0';
    const char *wrong[] = {NULL, "", "ad_", row.kid, "admin", endless, changed};
    strcpy(changed, key);
    changed[66] = changed[66] == '0' ? '1' : '0';
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        registry_key_check(p->registry, wrong[i], &caller);
        assert_int_equal(caller.role, ROLE_NONE);
    }
    for (size_t i = 0; i < strlen(key); i++) { /* every shorter one */
        memcpy(changed, key, i);
        changed[i] = '\0';
        registry_key_check(p->registry, changed, &caller);
        assert_int_equal(caller.role, ROLE_NONE);
    }
    strcpy(changed, key);
    strcat(changed, " ");
    registry_key_check(p->registry, changed, &caller);
    assert_int_equal(caller.role, ROLE_NONE);
}

static void the_text_of_a_key_is_not_on_disk(void **state)
{
    struct place *p = *state;
    struct key_row row;
    char key[KEY_TEXT_BYTES];
    place_tenant(p->registry, "acme");
    add_key(p->registry, "acme", &row, key);
    registry_close(p->registry);
    char *path = file_join(p->directory, "registry.db");
    struct buf content = {0};
    struct err e = {0};
    assert_int_equal(file_read(path, 1 << 24, &content, &e), 0);
    assert_non_null(memmem(content.data, content.length, row.kid, strlen(row.kid)));
    assert_null(memmem(content.data, content.length, key, strlen(key)));
    assert_null(memmem(content.data, content.length, key + 3, 16));
    buf_fini(&content);
    free(path);
    p->registry = place_open(p->directory);
}

static void labels_have_a_limit(void **state)
{
    struct place *p = *state;
    struct key_row row;
    char key[KEY_TEXT_BYTES], label[LABEL_MAX_BYTES + 2];
    struct err e = {0};
    place_tenant(p->registry, "acme");
    memset(label, 'x', sizeof label);
    label[LABEL_MAX_BYTES + 1] = '\0';
    assert_int_equal(registry_key_create(p->registry, "acme", label, 0, &row, key, &e), -1);
    assert_string_equal(e.code, "label_too_long");
    label[LABEL_MAX_BYTES] = '\0';
    assert_int_equal(registry_key_create(p->registry, "acme", label, 0, &row, key, &e), 0);
    assert_string_equal(row.label, label);
    assert_int_equal(registry_key_create(p->registry, "nobody", "x", 0, &row, key, &e), -1);
    assert_string_equal(e.code, "tenant_not_found");
}

static void keys_have_a_limit_and_revoked_ones_make_room(void **state)
{
    struct place *p = *state;
    struct key_row first, row;
    struct caller caller;
    char first_key[KEY_TEXT_BYTES], key[KEY_TEXT_BYTES];
    struct err e = {0};
    place_tenant(p->registry, "acme");
    add_key(p->registry, "acme", &first, first_key);
    for (int i = 1; i < TENANT_KEYS_MAX; i++)
        add_key(p->registry, "acme", &row, key);
    assert_int_equal(registry_key_create(p->registry, "acme", "x", 0, &row, key, &e), -1);
    assert_string_equal(e.code, "limit_reached");
    assert_int_equal(registry_key_revoke(p->registry, "acme", first.kid, &e), 0);
    for (int pass = 0; pass < 2; pass++) {
        registry_key_check(p->registry, key, &caller);
        assert_int_equal(caller.role, ROLE_TENANT);
        registry_key_check(p->registry, first_key, &caller);
        assert_int_equal(caller.role, ROLE_NONE);
        if (pass == 0)
            add_key(p->registry, "acme", &row, key); /* in the place of the revoked one */
        place_reopen(p);
        place_expect_stats(p->registry, 1, TENANT_KEYS_MAX, 0, 0, 0);
    }
    assert_int_equal(registry_key_revoke(p->registry, "acme", first.kid, &e), -1);
    assert_string_equal(e.code, "key_not_found");
}

static void the_admin_key_is_made_once(void **state)
{
    struct place *p = *state;
    char *path = file_join(p->directory, "admin.key");
    struct buf text = {0};
    struct err e = {0};
    struct caller caller;
    struct stat status;
    bool created = false;
    assert_int_equal(registry_admin_keys(p->registry, path, &created, &e), 0);
    assert_true(created);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(file_read(path, 200, &text, &e), 0);
    assert_int_equal(text.data[text.length - 1], '\n');
    text.data[text.length - 1] = '\0';
    registry_key_check(p->registry, text.data, &caller);
    assert_int_equal(caller.role, ROLE_ADMIN);
    place_reopen(p);
    registry_key_check(p->registry, text.data, &caller);
    assert_int_equal(caller.role, ROLE_NONE); /* not loaded yet */
    assert_int_equal(registry_admin_keys(p->registry, path, &created, &e), 0);
    assert_false(created);
    registry_key_check(p->registry, text.data, &caller);
    assert_int_equal(caller.role, ROLE_ADMIN);
    buf_fini(&text);
    free(path);
}

#define A_KEY "0123456789abcdef0123456789abcdef"
#define ANOTHER_KEY "fedcba9876543210fedcba9876543210"

static void expect_admin(struct registry *r, const char *key, const char *expected)
{
    struct caller caller;
    registry_key_check(r, key, &caller);
    assert_int_equal(caller.role, expected ? ROLE_ADMIN : ROLE_NONE);
    assert_string_equal(caller.kid, expected ? expected : "");
}

static void admin_keys_have_names_and_are_read_again(void **state)
{
    struct place *p = *state;
    struct err e = {0};
    bool created;
    char *path = file_join(p->directory, "admin.key"), many[ADMIN_KEYS_MAX * 40 + 80] = "";
    static const char good[] = A_KEY "  anna \r\n\n# who left\n" ANOTHER_KEY;
    static const char *const wrong[] = {
        "",
        "\n",
        "# nothing\n",
        "short\n",
        A_KEY " Name\n",
        A_KEY " two names\n",
        A_KEY "\nshort\n",
        A_KEY "\x7f\n",
        A_KEY " a-name-that-is-too-long\n",
        A_KEY A_KEY A_KEY "\n",
    };
    scratch_write(p->directory, "admin.key", good, strlen(good));
    assert_int_equal(registry_admin_keys(p->registry, path, &created, &e), 0);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        scratch_write(p->directory, "admin.key", wrong[i], strlen(wrong[i]));
        assert_int_equal(registry_admin_keys(p->registry, path, &created, &e), -1);
        assert_string_equal(e.code, "admin_key_malformed");
        assert_null(strstr(e.message, A_KEY));
        expect_admin(p->registry, A_KEY, "admin:anna");
        expect_admin(p->registry, ANOTHER_KEY, "admin");
    }
    scratch_write(p->directory, "admin.key", A_KEY "\0", 33);
    assert_int_equal(registry_admin_keys(p->registry, path, &created, &e), -1);
    for (int i = 0; i <= ADMIN_KEYS_MAX; i++)
        strcat(many, ANOTHER_KEY " a\n");
    scratch_write(p->directory, "admin.key", many, strlen(many));
    assert_int_equal(registry_admin_keys(p->registry, path, &created, &e), -1);
    assert_non_null(strstr(e.message, "line 17"));
    scratch_write(p->directory, "admin.key", many, strlen(many) - 35);
    assert_int_equal(registry_admin_keys(p->registry, path, &created, &e), 0);
    expect_admin(p->registry, A_KEY, NULL);
    expect_admin(p->registry, ANOTHER_KEY, "admin:a");
    free(path);
}

/* ---- opening ---- */

static void expect_open_refused(const char *directory, const char *code)
{
    struct registry *r = NULL;
    struct err e = {0};
    assert_int_equal(registry_open(&r, directory, &e), -1);
    assert_string_equal(e.code, code);
    assert_null(r);
}

static void a_second_daemon_is_refused(void **state)
{
    struct place *p = *state;
    expect_open_refused(p->directory, "data_locked");
    uint32_t acme = place_tenant(p->registry, "acme"); /* the first one goes on */
    place_publish(p->registry, "acme", "a", 1, true, true);
    place_expect_content(p->registry, acme, "a", 1);
}

static void execute(const char *directory, const char *sql)
{
    sqlite3 *db;
    char *path = file_join(directory, "registry.db");
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    free(path);
}

static void databases_that_are_not_ours_are_refused(void **state)
{
    (void)state;
    char *directory = scratch_new();
    registry_close(place_open(directory));
    char newer[64];
    snprintf(newer, sizeof newer, "PRAGMA user_version = %zu", migrations_count + 1);
    execute(directory, newer);
    expect_open_refused(directory, "registry_newer");
    execute(directory, "PRAGMA user_version = 1; PRAGMA application_id = 7");
    expect_open_refused(directory, "registry_malformed");
    scratch_write(directory, "registry.db",
                  "this is not a database, whatever its name says; it is far too long", 66);
    expect_open_refused(directory, "registry_malformed");
    scratch_remove(directory);

    directory = scratch_new();
    execute(directory, "CREATE TABLE somebody_elses (x)");
    expect_open_refused(directory, "registry_malformed");
    scratch_remove(directory);
}

static void a_lost_database_does_not_cost_the_blobs(void **state)
{
    struct place *p = *state;
    place_tenant(p->registry, "acme");
    place_publish(p->registry, "acme", "a", 1, true, true);
    registry_close(p->registry);
    p->registry = NULL;
    char *path = file_join(p->directory, "registry.db");
    unlink(path);
    free(path);
    expect_open_refused(p->directory, "registry_missing");
    assert_int_equal(scratch_count(p->directory, "blobs"), 2);
}

static void leftovers_are_swept(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
    place_publish(p->registry, "acme", "a", 1, true, true);
    scratch_write(p->directory, "tmp/half-an-upload", "x", 1);
    scratch_write(p->directory,
                  "blobs/sha256/ab/ab00000000000000000000000000000000000000000000000000000000000000", "x", 1);
    scratch_write(p->directory, "blobs/sha256/ab/not-a-digest", "x", 1);
    struct registry_stats s;
    registry_stats(place_reopen(p), &s);
    assert_int_equal(s.swept_temporaries, 1);
    assert_int_equal(s.swept_blobs, 2);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
    assert_int_equal(scratch_count(p->directory, "blobs"), 2);
    place_expect_content(p->registry, acme, "a", 1);
}

/* ---- broken versions ---- */

static void blob_file(const struct version *v, char out[160])
{
    snprintf(out, 160, "blobs/sha256/%.2s/%s", v->weights_blob, v->weights_blob);
}

static void damage(struct place *p, uint32_t tenant, const char *name, bool remove_it)
{
    const struct version *v;
    struct err e = {0};
    char file[160];
    assert_int_equal(registry_resolve(p->registry, tenant, name, &v, &e), 0);
    blob_file(v, file);
    if (remove_it) {
        char *path = file_join(p->directory, file);
        assert_int_equal(unlink(path), 0);
        free(path);
    } else {
        scratch_write(p->directory, file, "short", 5);
    }
    version_unref(v);
}

static void damaged_versions_are_reported_and_not_served(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *broken[4];
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "missing", 1, true, true);
    place_publish(r, "acme", "short", 2, true, true);
    place_publish(r, "acme", "fine", 3, true, true);
    damage(p, acme, "missing", true);
    damage(p, acme, "short", false);
    const struct version *v;
    int config_fd, weights_fd;
    assert_int_equal(registry_resolve(r, acme, "short", &v, &e), 0);
    assert_int_equal(registry_open_blobs(r, v, &config_fd, &weights_fd, &e), -1);
    assert_string_equal(e.code, "adapter_broken");
    version_unref(v);

    r = place_reopen(p);
    place_expect_stats(r, 1, 0, 3, 3, 2);
    assert_int_equal(registry_broken(r, 4, broken), 2);
    assert_string_equal(broken[0]->name, "missing");
    assert_string_equal(broken[1]->name, "short");
    version_unref(broken[0]);
    version_unref(broken[1]);
    assert_int_equal(registry_broken(r, 1, broken), 1);
    version_unref(broken[0]);
    place_expect_refused(r, acme, "missing", "adapter_broken");
    place_expect_refused(r, acme, "short", "adapter_broken");
    place_expect_content(r, acme, "fine", 3);

    place_publish(r, "acme", "missing", 1, false, false); /* the same files again repair it */
    place_expect_content(r, acme, "missing", 1);
    place_expect_stats(r, 1, 0, 3, 3, 1);
    r = place_reopen(p);
    place_expect_content(r, acme, "missing", 1);
    place_expect_stats(r, 1, 0, 3, 3, 1);
}

static void a_version_marked_broken_is_refused_at_once(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *v;
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "b", 1, true, true);
    assert_int_equal(registry_resolve(r, acme, "a", &v, &e), 0);
    registry_mark_broken(r, v);
    registry_mark_broken(r, v);
    assert_false(v->broken); /* objects do not change in their holder's hands */
    version_unref(v);
    place_expect_refused(r, acme, "a", "adapter_broken");
    place_expect_content(r, acme, "b", 1);
    place_expect_stats(r, 1, 0, 2, 2, 1);
    place_publish(r, "acme", "a", 1, true, false);
    place_expect_content(r, acme, "a", 1);
    assert_int_equal(registry_resolve(r, acme, "a", &v, &e), 0);
    assert_int_equal(registry_adapter_delete(r, acme, "a", NULL, &e), 0);
    registry_mark_broken(r, v); /* gone: nothing to mark */
    version_unref(v);
    place_expect_stats(r, 1, 0, 1, 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        IN_PLACE(tenants_are_created_found_and_deleted),
        IN_PLACE(a_deleted_tenant_takes_everything_along),
        IN_PLACE(lists_are_in_order_and_paged),
        IN_PLACE(keys_open_their_own_tenant),
        IN_PLACE(wrong_keys_open_nothing),
        IN_PLACE(the_text_of_a_key_is_not_on_disk),
        IN_PLACE(labels_have_a_limit),
        IN_PLACE(keys_have_a_limit_and_revoked_ones_make_room),
        IN_PLACE(the_admin_key_is_made_once),
        IN_PLACE(admin_keys_have_names_and_are_read_again),
        IN_PLACE(a_second_daemon_is_refused),
        cmocka_unit_test(databases_that_are_not_ours_are_refused),
        IN_PLACE(a_lost_database_does_not_cost_the_blobs),
        IN_PLACE(leftovers_are_swept),
        IN_PLACE(damaged_versions_are_reported_and_not_served),
        IN_PLACE(a_version_marked_broken_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
