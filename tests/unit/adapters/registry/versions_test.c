/* Adapters and their versions in the registry: published, found, activated, listed and deleted. */
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

#include "adapters/store/sqlite/migrations.h"
#include "adapters/registry/registry.h"
#include "core/system/file.h"
#include "tests/unit/support/place.h"

/* ---- publishing and resolving ---- */

static void published_versions_are_found_again(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char digest[SHA256_HEX + 1], reference[160];
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "support", 1, true, true);
    place_publish(r, "acme", "support", 2, true, true);
    place_publish(r, "acme", "support", 3, false, true);
    sample_digest(1, digest);
    for (int pass = 0; pass < 2; pass++) {
        place_expect_content(r, acme, "support", 2);
        snprintf(reference, sizeof reference, "support@%s", digest);
        place_expect_content(r, acme, reference, 1);
        snprintf(reference, sizeof reference, "support@sha256:%.12s", digest);
        place_expect_content(r, acme, reference, 1);
        snprintf(reference, sizeof reference, "support@%.4s", digest);
        place_expect_content(r, acme, reference, 1);
        place_expect_stats(r, 1, 0, 1, 3, 0);
        r = place_reopen(p);
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
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    place_publish(r, "acme", "support", 1, true, true);
    place_publish(r, "acme", "idle", 1, false, true);
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
        place_expect_refused(r, acme, cases[i].reference, cases[i].code);
    place_expect_refused(r, other, "support", "adapter_not_found"); /* a foreign name is an unknown name */
    place_expect_refused(r, 4000000000u, "support", "adapter_not_found");
    place_expect_refused(r, 0, "support", "adapter_not_found");
}

/* Among 300 versions two begin with the same 4 digits, or the digest is a poor hash: 300^2 / 2 / 65536 = 0.7.
 * With 700 it is certain in practice; search for them instead of hoping. */
static void ambiguous_prefix(void **state)
{
    struct place *p = *state;
    uint32_t acme = place_tenant(p->registry, "acme");
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
        place_publish(p->registry, "acme", "support", owner[slot], true, true);
        place_publish(p->registry, "acme", "support", content, true, true);
        snprintf(reference, sizeof reference, "support@%s", start);
        place_expect_refused(p->registry, acme, reference, "version_ambiguous");
        snprintf(reference, sizeof reference, "support@%.16s", digest);
        place_expect_content(p->registry, acme, reference, content);
        return;
    }
}

static void the_same_content_again_is_the_same_version(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "a", 2, true, true);
    size_t files = scratch_count(p->directory, "blobs");
    place_publish(r, "acme", "a", 1, false, false);
    place_expect_content(r, acme, "a", 2);
    place_publish(r, "acme", "a", 1, true, false); /* activates */
    place_expect_content(r, acme, "a", 1);
    place_publish(r, "acme", "a", 1, true, false);
    place_expect_stats(r, 1, 0, 1, 2, 0);
    assert_int_equal(scratch_count(p->directory, "blobs"), files);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
    place_publish(r, "acme", "b", 1, true, true); /* another name: a version of its own on the same blobs */
    assert_int_equal(scratch_count(p->directory, "blobs"), files);
    r = place_reopen(p);
    place_expect_content(r, acme, "a", 1);
    place_expect_content(r, acme, "b", 1);
    place_expect_stats(r, 1, 0, 2, 3, 0);
}

static void activation_moves(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *v, *list[4];
    size_t count;
    char digest[SHA256_HEX + 1];
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "a", 2, true, true);
    sample_digest(1, digest);
    assert_int_equal(registry_activate(r, acme, "a", digest, &v, &e), 0);
    assert_true(v->active);
    version_unref(v);
    for (int pass = 0; pass < 2; pass++) {
        place_expect_content(r, acme, "a", 1);
        assert_int_equal(registry_adapter_versions(r, acme, "a", 4, list, &count, &e), 0);
        assert_int_equal(count, 2);
        assert_false(list[0]->active); /* newest first */
        assert_true(list[1]->active);
        assert_string_equal(list[1]->digest, digest);
        version_unref(list[0]);
        version_unref(list[1]);
        r = place_reopen(p);
    }
    sample_digest(9, digest);
    assert_int_equal(registry_activate(r, acme, "a", digest, &v, &e), -1);
    assert_string_equal(e.code, "version_not_found");
    assert_int_equal(registry_activate(r, acme, "b", digest, &v, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
}

static void change_named_ok(struct registry *r, uint32_t tenant, const char *name,
                            const struct adapter_change *c)
{
    struct err e = {0};
    if (registry_adapter_change(r, tenant, name, c, NULL, NULL, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static void change_ok(struct registry *r, uint32_t tenant, const struct adapter_change *c)
{
    change_named_ok(r, tenant, "a", c);
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
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "a", 1, true, true);
    assert_int_equal(registry_adapter_change(r, acme, "a", &back, NULL, NULL, &e), -1);
    assert_string_equal(e.code, "no_previous_version");
    place_publish(r, "acme", "a", 2, true, true);
    place_publish(r, "acme", "a", 3, false, true); /* was never active */
    place_publish(r, "acme", "a", 2, true, false); /* is active already: no event */
    expect_history(r, acme, (int[]){2, 1}, 2);
    change_ok(r, acme, &back);
    place_expect_content(r, acme, "a", 1);
    r = place_reopen(p);
    change_ok(r, acme, &back);
    place_expect_content(r, acme, "a", 2);
    sample_digest(3, digest);
    digest[9] = '\0'; /* some digits will do */
    change_ok(r, acme, &(struct adapter_change){.version = digest});
    change_ok(r, acme, &(struct adapter_change){.version = digest});
    place_expect_content(r, acme, "a", 3);
    expect_history(r, acme, (int[]){3, 2, 1, 2, 1}, 5);
    expect_history(place_reopen(p), acme, (int[]){3, 2, 1, 2, 1}, 5);
    r = p->registry;
    assert_int_equal(registry_adapter_change(r, acme, "b", &back, NULL, NULL, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
    assert_int_equal(registry_adapter_change(r, acme + 1, "a", &back, NULL, NULL, &e), -1);
    assert_string_equal(e.code, "adapter_not_found");
}

static void only_the_expected_version_is_swapped(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    char one[SHA256_HEX + 1], two[SHA256_HEX + 1];
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "a", 1, false, true);
    place_publish(r, "acme", "a", 2, false, true);
    sample_digest(1, one);
    sample_digest(2, two);
    struct version_expected none = {.given = true, .count = 1}, first = none, either = none;
    strcpy(first.digest[0], one);
    either.count = 2;
    strcpy(either.digest[0], one);
    strcpy(either.digest[1], two);
    const struct adapter_change to_one = {.version = one}, to_two = {.version = two};
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_two, &first, NULL, &e), -1);
    assert_string_equal(e.code, "version_conflict");
    assert_string_equal(first.found, "");
    expect_history(r, acme, NULL, 0);
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_two, &none, NULL, &e), 0);
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_one, &none, NULL, &e), -1);
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_one, &first, NULL, &e), -1);
    assert_string_equal(first.found, two);
    place_expect_content(r, acme, "a", 2);
    assert_int_equal(registry_adapter_delete(r, acme, "a", &first, &e), -1);
    assert_string_equal(e.code, "version_conflict");
    assert_int_equal(registry_adapter_change(r, acme, "a", &to_one, &either, NULL, &e), 0);
    assert_int_equal(registry_adapter_delete(r, acme, "a", &first, &e), 0);
}

static void the_newest_activations_are_kept(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct adapter_detail *d = calloc(1, sizeof *d);
    struct err e = {0};
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "b", 7, true, true);
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "a", 2, true, true);
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
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    const char *names_made[] = {"n", "c", "x"};
    for (unsigned i = 0; i < 3; i++)
        place_publish(r, "acme", names_made[i], i, true, true);
    place_publish(r, "other", "d", 7, true, true);
    place_publish(r, "acme", "c", 10, false, true);
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
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "a", 2, true, true);
    place_publish(r, "acme", "b", 2, true, true);
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
        place_expect_refused(r, acme, "a", "adapter_not_found");
        place_expect_content(r, acme, "b", 2);
        assert_int_equal(scratch_count(p->directory, "blobs"), 2);
        place_expect_stats(r, 2, 0, 1, 1, 0);
        r = place_reopen(p);
    }
    place_publish(r, "acme", "a", 1, true, true);
    place_expect_content(r, acme, "a", 1);
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
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    for (unsigned content = 1; content <= 3; content++)
        place_publish(r, "acme", "a", content, content != 3, true);
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
        place_expect_content(r, acme, "a", 2);
        place_expect_stats(r, 2, 0, 1, 2, 0);
        assert_int_equal(scratch_count(p->directory, "blobs"), 4);
        r = place_reopen(p);
    }
    delete_version_ok(r, acme, 2, true);
    place_expect_refused(r, acme, "a", "version_not_found");
    expect_history(r, acme, (int[]){-1, 2, 1}, 3);
    assert_int_equal(
        registry_adapter_change(r, acme, "a", &(struct adapter_change){.rollback = true}, NULL, NULL, &e),
        -1);
    assert_string_equal(e.code, "no_previous_version"); /* what was active is gone */
    delete_version_ok(r, acme, 3, false);
    place_expect_stats(r, 2, 0, 1, 0, 0);
    assert_int_equal(scratch_count(p->directory, "blobs"), 0);
    place_publish(r, "acme", "a", 1, true, true);
    place_expect_content(place_reopen(p), acme, "a", 1);
}

/* The files of a deleted version go with its last use, also when the name has moved in between. */
static void files_in_use_stay(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct version *first, *second;
    uint32_t acme = place_tenant(r, "acme");
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "b", 1, true, true); /* the same files */
    assert_int_equal(registry_resolve(r, acme, "a", &first, &e), 0);
    place_publish(r, "acme", "a", 2, true, true); /* other objects tell of version 1 now */
    assert_int_equal(registry_version_find(r, acme, "a", first->digest, &second, &e), 0);
    assert_ptr_not_equal(first, second);
    delete_version_ok(r, acme, 1, false);
    place_expect_refused(r, acme, "a@1234", "version_not_found");
    assert_int_equal(registry_adapter_delete(r, acme, "b", NULL, &e), 0);
    version_unref(second);
    if (sample_check(r, first, 1, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    assert_int_equal(scratch_count(p->directory, "blobs"), 4);
    version_unref(first);
    scratch_wait_count(p->directory, "blobs", 2);
    place_expect_content(r, acme, "a", 2);

    /* What comes back while the old one is in use keeps its files. */
    assert_int_equal(registry_resolve(r, acme, "a", &first, &e), 0);
    assert_int_equal(registry_adapter_delete(r, acme, "a", NULL, &e), 0);
    place_publish(r, "acme", "a", 2, true, true);
    version_unref(first);
    place_publish(r, "acme", "c", 3, true, true);
    place_expect_content(place_reopen(p), acme, "a", 2);
    assert_int_equal(scratch_count(p->directory, "blobs"), 4);
}

/* ---- pins ---- */

static bool pinned(struct registry *r, uint32_t tenant, unsigned content)
{
    char digest[SHA256_HEX + 1];
    sample_digest(content, digest);
    return registry_pinned(r, tenant, digest);
}

static size_t count_pinned(struct registry *r)
{
    const struct version *found[VERSIONS_PINNED_MAX];
    size_t count = registry_pinned_list(r, found);
    for (size_t i = 0; i < count; i++)
        version_unref(found[i]);
    return count;
}

static void a_pin_follows_what_the_name_means(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    char one[SHA256_HEX + 1];
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    place_publish(r, "acme", "a", 1, true, true);
    place_publish(r, "acme", "a", 2, true, true);
    place_publish(r, "other", "a", 2, true, true);
    assert_int_equal(count_pinned(r), 0);
    change_ok(r, acme, &(struct adapter_change){.set_pinned = true, .pinned = true});
    for (int pass = 0; pass < 2; pass++) {
        assert_true(pinned(r, acme, 2) && !pinned(r, acme, 1) && !pinned(r, other, 2));
        assert_int_equal(count_pinned(r), 1);
        r = place_reopen(p);
    }
    sample_digest(1, one);
    change_ok(r, acme, &(struct adapter_change){.set_canary = true, .canary = one, .canary_share = 1});
    assert_true(pinned(r, acme, 2) && pinned(r, acme, 1));
    change_ok(r, acme, &(struct adapter_change){.version = one});
    assert_true(pinned(r, acme, 1) && !pinned(r, acme, 2));
    change_ok(r, acme, &(struct adapter_change){.set_expires = true, .expires_ms = 1});
    assert_int_equal(count_pinned(r), 0);
    change_ok(r, acme, &(struct adapter_change){.set_expires = true});
    change_ok(r, acme, &(struct adapter_change){.note = "of May"});
    assert_int_equal(count_pinned(r), 1);
    change_ok(r, acme, &(struct adapter_change){.set_pinned = true});
    assert_false(pinned(r, acme, 1));
    assert_int_equal(count_pinned(place_reopen(p)), 0);
}

static void pins_have_a_limit_and_end_with_what_they_are_of(void **state)
{
    struct place *p = *state;
    struct registry *r = p->registry;
    struct err e = {0};
    const struct adapter_change pin = {.set_pinned = true, .pinned = true};
    uint32_t acme = place_tenant(r, "acme"), other = place_tenant(r, "other");
    for (int i = 0; i < ADAPTERS_PINNED_MAX + 1; i++) {
        char name[16];
        snprintf(name, sizeof name, "n%d", i);
        place_publish(r, "acme", name, 1, true, true);
        assert_int_equal(registry_adapter_change(r, acme, name, &pin, NULL, NULL, &e),
                         i < ADAPTERS_PINNED_MAX ? 0 : -1);
    }
    assert_string_equal(e.code, "limit_reached");
    change_named_ok(r, acme, "n0", &pin); /* it is pinned already */
    assert_int_equal(registry_adapter_delete(r, acme, "n1", NULL, &e), 0);
    place_publish(r, "other", "a", 1, true, true);
    change_ok(r, other, &pin);
    assert_int_equal(count_pinned(r), ADAPTERS_PINNED_MAX);
    assert_int_equal(registry_tenant_delete(r, "acme", &e), 0);
    assert_int_equal(count_pinned(r), 1);
    assert_true(pinned(r, other, 1) && !pinned(r, acme, 1));
}

static void publishing_is_refused_for(void **state)
{
    struct place *p = *state;
    const struct version *v;
    bool created;
    struct err e = {0};
    place_tenant(p->registry, "acme");
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
    assert_string_equal(e.code, "body_too_large");
    assert_string_equal(e.param, "config");
    assert_int_equal(staged_bytes(s, STAGED_CONFIG), sizeof block);
    assert_int_equal(scratch_count(p->directory, "tmp"), 2);
    staged_free(s);
    assert_int_equal(scratch_count(p->directory, "tmp"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        IN_PLACE(a_pin_follows_what_the_name_means),
        IN_PLACE(pins_have_a_limit_and_end_with_what_they_are_of),
        IN_PLACE(publishing_is_refused_for),
        IN_PLACE(uploads_have_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
