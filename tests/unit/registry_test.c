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

#include "adapters/migrations.h"
#include "adapters/registry.h"
#include "core/base/file.h"
#include "tests/unit/sample.h"
#include "tests/unit/scratch.h"

struct place {
    char *directory;
    struct registry *registry;
};

static struct registry *open_ok(const char *directory)
{
    struct registry *r = NULL;
    struct err e = {0};
    if (registry_open(&r, directory, &e) != 0)
        fail_msg("registry_open: %s: %s", e.code, e.message);
    return r;
}

static int setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    p->directory = scratch_new();
    p->registry = open_ok(p->directory);
    *state = p;
    return 0;
}

static int teardown(void **state)
{
    struct place *p = *state;
    registry_close(p->registry);
    scratch_remove(p->directory);
    free(p);
    return 0;
}

static struct registry *reopen(struct place *p)
{
    registry_close(p->registry);
    p->registry = NULL;
    return p->registry = open_ok(p->directory);
}

static uint32_t add_tenant(struct registry *r, const char *id)
{
    struct tenant_row row;
    struct err e = {0};
    if (registry_tenant_create(r, id, NULL, &row, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return row.number;
}

static void add_key(struct registry *r, const char *tenant, struct key_row *row, char key[KEY_TEXT_BYTES])
{
    struct err e = {0};
    if (registry_key_create(r, tenant, "laptop", 0, row, key, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static void publish_ok(struct registry *r, const char *tenant, const char *name, unsigned content,
                       bool activate, bool expect_created)
{
    const struct version *v = NULL;
    bool created = !expect_created;
    struct err e = {0};
    if (sample_publish(r, tenant, name, content, activate, &v, &created, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    char digest[SHA256_HEX + 1];
    sample_digest(content, digest);
    assert_string_equal(v->digest, digest);
    assert_string_equal(v->tenant_id, tenant);
    assert_string_equal(v->name, name);
    assert_int_equal(created, expect_created);
    version_unref(v);
}

/* The reference leads to this content, and the bytes are right. */
static void expect_content(struct registry *r, uint32_t tenant, const char *reference, unsigned content)
{
    const struct version *v = NULL;
    struct err e = {0};
    if (registry_resolve(r, tenant, reference, &v, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    char digest[SHA256_HEX + 1];
    sample_digest(content, digest);
    assert_string_equal(v->digest, digest);
    if (sample_check(r, v, content, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    version_unref(v);
}

static void expect_refused(struct registry *r, uint32_t tenant, const char *reference, const char *code)
{
    const struct version *v = NULL;
    struct err e = {0};
    assert_int_equal(registry_resolve(r, tenant, reference, &v, &e), -1);
    assert_string_equal(e.code, code);
    assert_null(v);
}

static void expect_stats(struct registry *r, size_t tenants, size_t keys, size_t adapters, size_t versions,
                         size_t broken)
{
    struct registry_stats s;
    registry_stats(r, &s);
    assert_int_equal(s.tenants, tenants);
    assert_int_equal(s.keys, keys);
    assert_int_equal(s.adapters, adapters);
    assert_int_equal(s.versions, versions);
    assert_int_equal(s.broken, broken);
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
    uint32_t first = add_tenant(p->registry, "acme");
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
    assert_true(add_tenant(p->registry, "acme") > first); /* numbers are never used twice */
    reopen(p);
    assert_int_equal(registry_tenant_delete(p->registry, "acme", &e), 0);
    assert_true(add_tenant(p->registry, "acme") > first + 1);
}

static void a_deleted_tenant_takes_everything_along(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct key_row key;
    char text[KEY_TEXT_BYTES];
    struct caller caller;
    struct err e = {0};
    uint32_t acme = add_tenant(r, "acme"), other = add_tenant(r, "other");
    add_key(r, "acme", &key, text);
    publish_ok(r, "acme", "a", 1, true, true);
    publish_ok(r, "acme", "b", 2, true, true);
    publish_ok(r, "other", "b", 2, true, true); /* shares the blobs */
    assert_int_equal(scratch_count(p->directory, "blobs"), 4);

    assert_int_equal(registry_tenant_delete(r, "acme", &e), 0);
    registry_key_check(r, text, &caller);
    assert_int_equal(caller.role, ROLE_NONE);
    expect_refused(r, acme, "a", "adapter_not_found");
    expect_content(r, other, "b", 2);
    assert_int_equal(scratch_count(p->directory, "blobs"), 2);
    expect_stats(r, 1, 0, 1, 1, 0);
    r = reopen(p);
    expect_stats(r, 1, 0, 1, 1, 0);
    expect_content(r, other, "b", 2);
}

static void lists_are_in_order_and_paged(void **state)
{
    struct place *p = *state;
    const char *ids[] = {"m", "a", "z", "b", "y"};
    struct tenant_row rows[8];
    bool more;
    for (size_t i = 0; i < 5; i++)
        add_tenant(p->registry, ids[i]);
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
        reopen(p);
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
    uint32_t acme = add_tenant(r, "acme"), other = add_tenant(r, "other");
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
        r = reopen(p);
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
        r = reopen(p);
    }
}

static void wrong_keys_open_nothing(void **state)
{
    struct place *p = *state;
    struct key_row row;
    char key[KEY_TEXT_BYTES], changed[KEY_TEXT_BYTES + 1], endless[4096];
    struct caller caller;
    add_tenant(p->registry, "acme");
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
    add_tenant(p->registry, "acme");
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
    p->registry = open_ok(p->directory);
}

static void labels_have_a_limit(void **state)
{
    struct place *p = *state;
    struct key_row row;
    char key[KEY_TEXT_BYTES], label[LABEL_MAX_BYTES + 2];
    struct err e = {0};
    add_tenant(p->registry, "acme");
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
    add_tenant(p->registry, "acme");
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
        reopen(p);
        expect_stats(p->registry, 1, TENANT_KEYS_MAX, 0, 0, 0);
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
    assert_int_equal(registry_admin_key(p->registry, path, &created, &e), 0);
    assert_true(created);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(file_read(path, 200, &text, &e), 0);
    assert_int_equal(text.data[text.length - 1], '\n');
    text.data[text.length - 1] = '\0';
    registry_key_check(p->registry, text.data, &caller);
    assert_int_equal(caller.role, ROLE_ADMIN);
    reopen(p);
    registry_key_check(p->registry, text.data, &caller);
    assert_int_equal(caller.role, ROLE_NONE); /* not loaded yet */
    assert_int_equal(registry_admin_key(p->registry, path, &created, &e), 0);
    assert_false(created);
    registry_key_check(p->registry, text.data, &caller);
    assert_int_equal(caller.role, ROLE_ADMIN);
    scratch_write(p->directory, "admin.key", "short\n", 6);
    assert_int_equal(registry_admin_key(p->registry, path, &created, &e), -1);
    assert_string_equal(e.code, "admin_key_malformed");
    buf_fini(&text);
    free(path);
}

/* ---- publishing and resolving ---- */

static void published_versions_are_found_again(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char digest[SHA256_HEX + 1], reference[160];
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "support", 1, true, true);
    publish_ok(r, "acme", "support", 2, true, true);
    publish_ok(r, "acme", "support", 3, false, true);
    sample_digest(1, digest);
    for (int pass = 0; pass < 2; pass++) {
        expect_content(r, acme, "support", 2);
        snprintf(reference, sizeof reference, "support@%s", digest);
        expect_content(r, acme, reference, 1);
        snprintf(reference, sizeof reference, "support@sha256:%.12s", digest);
        expect_content(r, acme, reference, 1);
        snprintf(reference, sizeof reference, "support@%.4s", digest);
        expect_content(r, acme, reference, 1);
        expect_stats(r, 1, 0, 1, 3, 0);
        r = reopen(p);
    }
    const struct version *v;
    struct err e = {0};
    assert_int_equal(registry_resolve(r, acme, "support", &v, &e), 0);
    assert_int_equal(v->rank_max, 8);
    assert_int_equal(v->sites, 2);
    assert_int_equal(v->parameters, 1234);
    assert_true(v->proof_max == 3.25 && v->proof_mean == 0.5);
    assert_true(v->active && !v->broken && v->created_ms > 0);
    version_unref(v);
}

static void references_that_lead_nowhere(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    uint32_t acme = add_tenant(r, "acme"), other = add_tenant(r, "other");
    publish_ok(r, "acme", "support", 1, true, true);
    publish_ok(r, "acme", "idle", 1, false, true);
    char digest[SHA256_HEX + 1], longer[160], upper[160];
    sample_digest(1, digest);
    snprintf(longer, sizeof longer, "support@%s0", digest);
    snprintf(upper, sizeof upper, "support@ABCDEF");
    const struct {
        const char *reference, *code;
    } cases[] = {
        {"", "adapter_not_found"},
        {"nothing", "adapter_not_found"},
        {"Support", "adapter_not_found"},
        {"@abcd", "adapter_not_found"},
        {"../support", "adapter_not_found"},
        {"support@", "version_not_found"},
        {"support@abc", "version_not_found"},
        {"support@sha256:", "version_not_found"},
        {"support@zzzz", "version_not_found"},
        {"support@0000000", "version_not_found"},
        {longer, "version_not_found"},
        {upper, "version_not_found"},
        {"idle", "version_not_found"},
        {"nothing@0000", "adapter_not_found"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect_refused(r, acme, cases[i].reference, cases[i].code);
    expect_refused(r, other, "support", "adapter_not_found"); /* a foreign name is an unknown name */
    expect_refused(r, 4000000000u, "support", "adapter_not_found");
    expect_refused(r, 0, "support", "adapter_not_found");
}

/* Among 300 versions two begin with the same 4 digits, or the digest is a poor hash: 300^2 / 2 / 65536 = 0.7.
 * With 700 it is certain in practice; search for them instead of hoping. */
static void ambiguous_prefix(void **state)
{
    struct place *p = *state;
    uint32_t acme = add_tenant(p->registry, "acme");
    static char seen[65536][SHA256_HEX + 1];
    static unsigned owner[65536];
    memset(seen, 0, sizeof seen);
    for (unsigned content = 1;; content++) {
        char digest[SHA256_HEX + 1], reference[32];
        sample_digest(content, digest);
        char start[5] = {digest[0], digest[1], digest[2], digest[3], '\0'};
        unsigned long slot = strtoul(start, NULL, 16);
        if (!seen[slot][0]) {
            strcpy(seen[slot], digest);
            owner[slot] = content;
            continue;
        }
        publish_ok(p->registry, "acme", "support", owner[slot], true, true);
        publish_ok(p->registry, "acme", "support", content, true, true);
        snprintf(reference, sizeof reference, "support@%s", start);
        expect_refused(p->registry, acme, reference, "version_ambiguous");
        snprintf(reference, sizeof reference, "support@%.16s", digest);
        expect_content(p->registry, acme, reference, content);
        return;
    }
}

static void the_same_content_again_is_the_same_version(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "a", 1, true, true);
    publish_ok(r, "acme", "a", 2, true, true);
    size_t files = scratch_count(p->directory, "blobs");
    publish_ok(r, "acme", "a", 1, false, false);
    expect_content(r, acme, "a", 2);
    publish_ok(r, "acme", "a", 1, true, false); /* activates */
    expect_content(r, acme, "a", 1);
    publish_ok(r, "acme", "a", 1, true, false);
    expect_stats(r, 1, 0, 1, 2, 0);
    assert_int_equal(scratch_count(p->directory, "blobs"), files);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
    publish_ok(r, "acme", "b", 1, true, true); /* another name: a version of its own on the same blobs */
    assert_int_equal(scratch_count(p->directory, "blobs"), files);
    r = reopen(p);
    expect_content(r, acme, "a", 1);
    expect_content(r, acme, "b", 1);
    expect_stats(r, 1, 0, 2, 3, 0);
}

static void activation_moves(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *v, *list[4];
    size_t count;
    char digest[SHA256_HEX + 1];
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "a", 1, true, true);
    publish_ok(r, "acme", "a", 2, true, true);
    sample_digest(1, digest);
    assert_int_equal(registry_activate(r, "acme", "a", digest, &v, &e), 0);
    assert_true(v->active);
    version_unref(v);
    for (int pass = 0; pass < 2; pass++) {
        expect_content(r, acme, "a", 1);
        assert_int_equal(registry_adapter_versions(r, acme, "a", 4, list, &count, &e), 0);
        assert_int_equal(count, 2);
        assert_false(list[0]->active); /* newest first */
        assert_true(list[1]->active);
        assert_string_equal(list[1]->digest, digest);
        version_unref(list[0]);
        version_unref(list[1]);
        r = reopen(p);
    }
    sample_digest(9, digest);
    assert_int_equal(registry_activate(r, "acme", "a", digest, &v, &e), -1);
    assert_string_equal(e.code, "version_not_found");
    assert_int_equal(registry_activate(r, "acme", "b", digest, &v, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
}

static void change_ok(struct registry *r, uint32_t tenant, const struct adapter_change *c)
{
    struct err e = {0};
    if (registry_adapter_change(r, tenant, "a", c, NULL, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

/* The history of adapter "a", newest first, is these contents; -1: none was active. */
static void expect_history(struct registry *r, uint32_t tenant, const int *contents, size_t count)
{
    struct adapter_detail *d = calloc(1, sizeof *d);
    struct err e = {0};
    assert_int_equal(registry_adapter_detail(r, tenant, "a", d, &e), 0);
    assert_int_equal(d->activation_count, count);
    for (size_t i = 0; i < count; i++) {
        char digest[SHA256_HEX + 1] = "";
        if (contents[i] >= 0)
            sample_digest((unsigned)contents[i], digest);
        assert_string_equal(d->activations[i].digest, digest);
        assert_string_equal(d->activations[i].by, "daemon");
        assert_true(d->activations[i].at_ms > 0);
    }
    adapter_detail_fini(d);
    free(d);
}

static void names_go_back_and_forth(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    char digest[SHA256_HEX + 1];
    const struct adapter_change back = {.rollback = true};
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "a", 1, true, true);
    assert_int_equal(registry_adapter_change(r, acme, "a", &back, NULL, &e), -1);
    assert_string_equal(e.code, "no_previous_version");
    publish_ok(r, "acme", "a", 2, true, true);
    publish_ok(r, "acme", "a", 3, false, true); /* was never active */
    publish_ok(r, "acme", "a", 2, true, false); /* is active already: no event */
    expect_history(r, acme, (int[]){2, 1}, 2);
    change_ok(r, acme, &back);
    expect_content(r, acme, "a", 1);
    r = reopen(p);
    change_ok(r, acme, &back);
    expect_content(r, acme, "a", 2);
    sample_digest(3, digest);
    digest[9] = '\0'; /* some digits will do */
    change_ok(r, acme, &(struct adapter_change){.version = digest});
    change_ok(r, acme, &(struct adapter_change){.version = digest});
    expect_content(r, acme, "a", 3);
    expect_history(r, acme, (int[]){3, 2, 1, 2, 1}, 5);
    expect_history(reopen(p), acme, (int[]){3, 2, 1, 2, 1}, 5);
    r = p->registry;
    assert_int_equal(registry_adapter_change(r, acme, "b", &back, NULL, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
    assert_int_equal(registry_adapter_change(r, acme + 1, "a", &back, NULL, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
}

static void only_the_expected_version_is_swapped(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    char one[SHA256_HEX + 1], two[SHA256_HEX + 1];
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "a", 1, false, true);
    publish_ok(r, "acme", "a", 2, false, true);
    sample_digest(1, one);
    sample_digest(2, two);
    struct version_expected none = {.given = true, .count = 1}, first = none, either = none;
    strcpy(first.digest[0], one);
    either.count = 2;
    strcpy(either.digest[0], one);
    strcpy(either.digest[1], two);
    const struct adapter_change to_one = {.version = one}, to_two = {.version = two};
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_two, &first, &e), -1);
    assert_string_equal(e.code, "version_conflict");
    assert_string_equal(first.found, "");
    expect_history(r, acme, NULL, 0);
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_two, &none, &e), 0);
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_one, &none, &e), -1);
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_one, &first, &e), -1);
    assert_string_equal(first.found, two);
    expect_content(r, acme, "a", 2);
    assert_int_equal(registry_adapter_delete(r, acme, "a", &first, &e), -1);
    assert_string_equal(e.code, "version_conflict");
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_one, &either, &e), 0);
    assert_int_equal(registry_adapter_delete(r, acme, "a", &first, &e), 0);
}

static void the_newest_activations_are_kept(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct adapter_detail *d = calloc(1, sizeof *d);
    struct err e = {0};
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "b", 7, true, true);
    publish_ok(r, "acme", "a", 1, true, true);
    publish_ok(r, "acme", "a", 2, true, true);
    for (int i = 0; i < ADAPTER_HISTORY_MAX; i++)
        change_ok(r, acme, &(struct adapter_change){.rollback = true});
    assert_int_equal(registry_adapter_detail(r, acme, "a", d, &e), 0);
    assert_int_equal(d->activation_count, ADAPTER_HISTORY_MAX);
    assert_string_equal(d->activations[0].digest, d->versions[0]->digest);
    adapter_detail_fini(d);
    assert_int_equal(registry_adapter_detail(r, acme, "b", d, &e), 0);
    assert_int_equal(d->activation_count, 1);
    adapter_detail_fini(d);
    free(d);
}

static void adapters_are_listed_in_pages(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct adapter_row rows[8];
    struct err e = {0};
    const struct version *list[1];
    size_t count;
    bool more;
    uint32_t acme = add_tenant(r, "acme"), other = add_tenant(r, "other");
    const char *names_made[] = {"n", "c", "x"};
    for (unsigned i = 0; i < 3; i++)
        publish_ok(r, "acme", names_made[i], i, true, true);
    publish_ok(r, "other", "d", 7, true, true);
    publish_ok(r, "acme", "c", 10, false, true);
    assert_int_equal(registry_adapter_list(r, acme, NULL, NULL, 2, rows, &more), 2);
    assert_true(more);
    assert_string_equal(rows[0].name, "c");
    assert_int_equal(rows[0].versions, 2);
    assert_string_equal(rows[0].active->name, "c");
    assert_string_equal(rows[1].name, "n");
    version_unref(rows[0].active);
    version_unref(rows[1].active);
    assert_int_equal(registry_adapter_list(r, acme, "n", NULL, 2, rows, &more), 1);
    assert_false(more);
    assert_string_equal(rows[0].name, "x");
    version_unref(rows[0].active);
    assert_int_equal(registry_adapter_list(r, 77, NULL, NULL, 2, rows, &more), 0);
    assert_int_equal(registry_adapter_list(r, other, NULL, NULL, 8, rows, &more), 1);
    version_unref(rows[0].active);
    assert_int_equal(registry_adapter_versions(r, acme, "c", 1, list, &count, &e), 0);
    assert_int_equal(count, 1);
    version_unref(list[0]);
    assert_int_equal(registry_adapter_versions(r, other, "c", 1, list, &count, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
}

static void deleted_adapters_are_gone_with_their_blobs(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *held;
    uint32_t acme = add_tenant(r, "acme"), other = add_tenant(r, "other");
    publish_ok(r, "acme", "a", 1, true, true);
    publish_ok(r, "acme", "a", 2, true, true);
    publish_ok(r, "acme", "b", 2, true, true);
    assert_int_equal(registry_resolve(r, acme, "a", &held, &e), 0);
    assert_int_equal(registry_adapter_delete(r, other, "a", NULL, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
    assert_int_equal(registry_adapter_delete(r, acme, "a", NULL, &e), 0);
    assert_int_equal(registry_adapter_delete(r, acme, "a", NULL, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
    assert_string_equal(held->name, "a"); /* who has it keeps it, and its files */
    assert_int_equal(scratch_count(p->directory, "blobs"), 2);
    version_unref(held);
    for (int pass = 0; pass < 2; pass++) {
        expect_refused(r, acme, "a", "adapter_not_found");
        expect_content(r, acme, "b", 2);
        assert_int_equal(scratch_count(p->directory, "blobs"), 2);
        expect_stats(r, 2, 0, 1, 1, 0);
        r = reopen(p);
    }
    publish_ok(r, "acme", "a", 1, true, true);
    expect_content(r, acme, "a", 1);
}

static void delete_version_ok(struct registry *r, uint32_t tenant, unsigned content, bool force)
{
    char digest[SHA256_HEX + 1];
    struct err e = {0};
    sample_digest(content, digest);
    if (registry_version_delete(r, tenant, "a", digest, force, NULL, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static void versions_are_deleted_one_by_one(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    char one[SHA256_HEX + 1], two[SHA256_HEX + 1];
    sample_digest(1, one);
    sample_digest(2, two);
    uint32_t acme = add_tenant(r, "acme"), other = add_tenant(r, "other");
    for (unsigned content = 1; content <= 3; content++)
        publish_ok(r, "acme", "a", content, content != 3, true);
    assert_int_equal(registry_version_delete(r, acme, "a", two, false, NULL, &e), -1);
    assert_string_equal(e.code, "version_active");
    assert_int_equal(registry_version_delete(r, other, "a", one, true, NULL, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
    assert_int_equal(registry_version_delete(r, acme, "a", "0000", true, NULL, &e), -1);
    assert_string_equal(e.code, "version_not_found");
    delete_version_ok(r, acme, 1, false);
    assert_int_equal(registry_version_delete(r, acme, "a", one, true, NULL, &e), -1);
    assert_string_equal(e.code, "version_not_found");
    for (int pass = 0; pass < 2; pass++) {
        expect_content(r, acme, "a", 2);
        expect_stats(r, 2, 0, 1, 2, 0);
        assert_int_equal(scratch_count(p->directory, "blobs"), 4);
        r = reopen(p);
    }
    delete_version_ok(r, acme, 2, true);
    expect_refused(r, acme, "a", "version_not_found");
    expect_history(r, acme, (int[]){-1, 2, 1}, 3);
    assert_int_equal(
        registry_adapter_change(r, acme, "a", &(struct adapter_change){.rollback = true}, NULL, &e), -1);
    assert_string_equal(e.code, "no_previous_version"); /* what was active is gone */
    delete_version_ok(r, acme, 3, false);
    expect_stats(r, 2, 0, 1, 0, 0);
    assert_int_equal(scratch_count(p->directory, "blobs"), 0);
    publish_ok(r, "acme", "a", 1, true, true);
    expect_content(reopen(p), acme, "a", 1);
}

/* The files of a deleted version go with its last use, also when the name has moved in between. */
static void files_in_use_stay(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *first, *second;
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "a", 1, true, true);
    publish_ok(r, "acme", "b", 1, true, true); /* the same files */
    assert_int_equal(registry_resolve(r, acme, "a", &first, &e), 0);
    publish_ok(r, "acme", "a", 2, true, true); /* other objects tell of version 1 now */
    assert_int_equal(registry_version_find(r, acme, "a", first->digest, &second, &e), 0);
    assert_ptr_not_equal(first, second);
    delete_version_ok(r, acme, 1, false);
    expect_refused(r, acme, "a@1234", "version_not_found");
    assert_int_equal(registry_adapter_delete(r, acme, "b", NULL, &e), 0);
    version_unref(second);
    if (sample_check(r, first, 1, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    assert_int_equal(scratch_count(p->directory, "blobs"), 4);
    version_unref(first);
    scratch_wait_count(p->directory, "blobs", 2);
    expect_content(r, acme, "a", 2);

    /* What comes back while the old one is in use keeps its files. */
    assert_int_equal(registry_resolve(r, acme, "a", &first, &e), 0);
    assert_int_equal(registry_adapter_delete(r, acme, "a", NULL, &e), 0);
    publish_ok(r, "acme", "a", 2, true, true);
    version_unref(first);
    publish_ok(r, "acme", "c", 3, true, true);
    expect_content(reopen(p), acme, "a", 2);
    assert_int_equal(scratch_count(p->directory, "blobs"), 4);
}

static void publishing_is_refused_for(void **state)
{
    struct place *p = *state;
    const struct version *v;
    bool created;
    struct err e = {0};
    add_tenant(p->registry, "acme");
    const struct {
        const char *tenant, *name, *code;
    } cases[] = {
        {"nobody", "a", "tenant_not_found"}, {"../acme", "a", "tenant_not_found"},
        {"acme", "", "invalid_name"},        {"acme", "A", "invalid_name"},
        {"acme", "a/b", "invalid_name"},     {"acme", "a@b", "invalid_name"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(
            sample_publish(p->registry, cases[i].tenant, cases[i].name, 1, true, &v, &created, &e), -1);
        assert_string_equal(e.code, cases[i].code);
    }
    assert_int_equal(scratch_count(p->directory, "blobs"), 0);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
}

static void uploads_have_limits(void **state)
{
    struct place *p = *state;
    struct staged *s;
    struct err e = {0};
    static char block[1 << 20];
    assert_int_equal(staged_new(&s, p->registry, &e), 0);
    assert_int_equal(staged_write(s, STAGED_CONFIG, block, sizeof block, &e), 0);
    assert_int_equal(staged_write(s, STAGED_CONFIG, block, 1, &e), -1);
    assert_string_equal(e.code, "upload_too_large");
    assert_string_equal(e.param, "config");
    assert_int_equal(staged_bytes(s, STAGED_CONFIG), sizeof block);
    assert_int_equal(scratch_count(p->directory, "tmp"), 2);
    staged_free(s);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
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
    uint32_t acme = add_tenant(p->registry, "acme"); /* the first one goes on */
    publish_ok(p->registry, "acme", "a", 1, true, true);
    expect_content(p->registry, acme, "a", 1);
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
    registry_close(open_ok(directory));
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
    add_tenant(p->registry, "acme");
    publish_ok(p->registry, "acme", "a", 1, true, true);
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
    uint32_t acme = add_tenant(p->registry, "acme");
    publish_ok(p->registry, "acme", "a", 1, true, true);
    scratch_write(p->directory, "tmp/half-an-upload", "x", 1);
    scratch_write(p->directory,
                  "blobs/sha256/ab/ab00000000000000000000000000000000000000000000000000000000000000", "x", 1);
    scratch_write(p->directory, "blobs/sha256/ab/not-a-digest", "x", 1);
    struct registry_stats s;
    registry_stats(reopen(p), &s);
    assert_int_equal(s.swept_temporaries, 1);
    assert_int_equal(s.swept_blobs, 2);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
    assert_int_equal(scratch_count(p->directory, "blobs"), 2);
    expect_content(p->registry, acme, "a", 1);
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
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "missing", 1, true, true);
    publish_ok(r, "acme", "short", 2, true, true);
    publish_ok(r, "acme", "fine", 3, true, true);
    damage(p, acme, "missing", true);
    damage(p, acme, "short", false);
    const struct version *v;
    int config_fd, weights_fd;
    assert_int_equal(registry_resolve(r, acme, "short", &v, &e), 0);
    assert_int_equal(registry_open_blobs(r, v, &config_fd, &weights_fd, &e), -1);
    assert_string_equal(e.code, "adapter_broken");
    version_unref(v);

    r = reopen(p);
    expect_stats(r, 1, 0, 3, 3, 2);
    assert_int_equal(registry_broken(r, 4, broken), 2);
    assert_string_equal(broken[0]->name, "missing");
    assert_string_equal(broken[1]->name, "short");
    version_unref(broken[0]);
    version_unref(broken[1]);
    assert_int_equal(registry_broken(r, 1, broken), 1);
    version_unref(broken[0]);
    expect_refused(r, acme, "missing", "adapter_broken");
    expect_refused(r, acme, "short", "adapter_broken");
    expect_content(r, acme, "fine", 3);

    publish_ok(r, "acme", "missing", 1, false, false); /* the same files again repair it */
    expect_content(r, acme, "missing", 1);
    expect_stats(r, 1, 0, 3, 3, 1);
    r = reopen(p);
    expect_content(r, acme, "missing", 1);
    expect_stats(r, 1, 0, 3, 3, 1);
}

static void a_version_marked_broken_is_refused_at_once(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *v;
    uint32_t acme = add_tenant(r, "acme");
    publish_ok(r, "acme", "a", 1, true, true);
    publish_ok(r, "acme", "b", 1, true, true);
    assert_int_equal(registry_resolve(r, acme, "a", &v, &e), 0);
    registry_mark_broken(r, v);
    registry_mark_broken(r, v);
    assert_false(v->broken); /* objects do not change in their holder's hands */
    version_unref(v);
    expect_refused(r, acme, "a", "adapter_broken");
    expect_content(r, acme, "b", 1);
    expect_stats(r, 1, 0, 2, 2, 1);
    publish_ok(r, "acme", "a", 1, true, false);
    expect_content(r, acme, "a", 1);
    assert_int_equal(registry_resolve(r, acme, "a", &v, &e), 0);
    assert_int_equal(registry_adapter_delete(r, acme, "a", NULL, &e), 0);
    registry_mark_broken(r, v); /* gone: nothing to mark */
    version_unref(v);
    expect_stats(r, 1, 0, 1, 1, 0);
}

int main(void)
{
#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
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
        IN_PLACE(published_versions_are_found_again),
        IN_PLACE(references_that_lead_nowhere),
        IN_PLACE(ambiguous_prefix),
        IN_PLACE(the_same_content_again_is_the_same_version),
        IN_PLACE(activation_moves),
        IN_PLACE(names_go_back_and_forth),
        IN_PLACE(only_the_expected_version_is_swapped),
        IN_PLACE(the_newest_activations_are_kept),
        IN_PLACE(adapters_are_listed_in_pages),
        IN_PLACE(deleted_adapters_are_gone_with_their_blobs),
        IN_PLACE(versions_are_deleted_one_by_one),
        IN_PLACE(files_in_use_stay),
        IN_PLACE(publishing_is_refused_for),
        IN_PLACE(uploads_have_limits),
        IN_PLACE(a_second_daemon_is_refused),
        cmocka_unit_test(databases_that_are_not_ours_are_refused),
        IN_PLACE(a_lost_database_does_not_cost_the_blobs),
        IN_PLACE(leftovers_are_swept),
        IN_PLACE(damaged_versions_are_reported_and_not_served),
        IN_PLACE(a_version_marked_broken_is_refused_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
