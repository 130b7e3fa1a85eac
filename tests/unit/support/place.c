#include "tests/unit/support/place.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

struct registry *place_open(const char *directory)
{
    struct registry *r = NULL;
    struct err e = {0};
    if (registry_open(&r, directory, &e) != 0)
        fail_msg("registry_open: %s: %s", e.code, e.message);
    return r;
}

int place_setup(void **state)
{
    struct place *p = calloc(1, sizeof *p);
    p->directory = scratch_new();
    p->registry = place_open(p->directory);
    *state = p;
    return 0;
}

int place_teardown(void **state)
{
    struct place *p = *state;
    registry_close(p->registry);
    scratch_remove(p->directory);
    free(p);
    return 0;
}

struct registry *place_reopen(struct place *p)
{
    registry_close(p->registry);
    p->registry = NULL;
    return p->registry = place_open(p->directory);
}

uint32_t place_tenant(struct registry *r, const char *id)
{
    struct tenant_row row;
    struct err e = {0};
    if (registry_tenant_create(r, id, NULL, &row, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    return row.number;
}

void place_publish(struct registry *r, const char *tenant, const char *name, unsigned content, bool activate,
                   bool expect_created)
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

void place_expect_content(struct registry *r, uint32_t tenant, const char *reference, unsigned content)
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

void place_expect_refused(struct registry *r, uint32_t tenant, const char *reference, const char *code)
{
    const struct version *v = NULL;
    struct err e = {0};
    assert_int_equal(registry_resolve(r, tenant, reference, &v, &e), -1);
    assert_string_equal(e.code, code);
    assert_null(v);
}

void place_expect_stats(struct registry *r, size_t tenants, size_t keys, size_t adapters, size_t versions,
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
