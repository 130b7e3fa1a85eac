/* Readers on several threads while writers publish, activate, delete and revoke: everything they see is
 * whole. Run it under the thread sanitizer, too. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/registry/registry.h"
#include "tests/unit/support/sample.h"
#include "tests/unit/support/scratch.h"

enum { READERS = 3, WRITES = 60 };

static struct {
    struct registry *registry;
    uint32_t tenant;
    char stable_key[KEY_TEXT_BYTES];
    atomic_bool stop;
    atomic_int wrong; /* threads must not call cmocka */
    char digests[2][SHA256_HEX + 1];
} shared;

static void wrong(const char *what, const char *detail)
{
    fprintf(stderr, "%s: %s\n", what, detail);
    atomic_fetch_add(&shared.wrong, 1);
}

/* "flips" has an active version at every moment, one of two. */
static void read_flips(void)
{
    const struct version *v;
    struct err e;
    if (registry_resolve(shared.registry, shared.tenant, "flips", &v, &e) != 0) {
        wrong("flips", e.code);
        return;
    }
    if (!v->active ||
        (strcmp(v->digest, shared.digests[0]) != 0 && strcmp(v->digest, shared.digests[1]) != 0))
        wrong("flips", v->digest);
    version_unref(v);
}

/* "comes" is published, at times marked broken, and deleted: whole or not there. */
static void read_comes(void)
{
    const struct version *v;
    struct err e;
    if (registry_resolve(shared.registry, shared.tenant, "comes", &v, &e) == 0) {
        if (v->rank_max != 8 || strcmp(v->tenant_id, "acme") != 0)
            wrong("comes", v->digest);
        version_unref(v);
    } else if (strcmp(e.code, "adapter_not_found") != 0 && strcmp(e.code, "adapter_broken") != 0) {
        wrong("comes", e.code);
    }
}

static void read_lists(void)
{
    struct adapter_row adapters[4];
    struct tenant_row tenants[4];
    struct key_row keys[4];
    const struct version *versions[4];
    size_t count;
    bool more;
    struct err e;
    size_t n = registry_adapter_list(shared.registry, shared.tenant, NULL, NULL, 4, adapters, &more);
    if (n < 1 || n > 2 || strcmp(adapters[n - 1].name, "flips") != 0)
        wrong("adapter list", adapters[0].name);
    adapter_rows_fini(adapters, n);
    if (registry_tenant_list(shared.registry, NULL, 4, tenants, &more) < 1)
        wrong("tenant list", "empty");
    if (registry_key_list(shared.registry, "acme", NULL, 4, keys, &count, &more, &e) != 0 || count < 1)
        wrong("key list", "empty");
    if (registry_adapter_versions(shared.registry, shared.tenant, "flips", 4, versions, &count, &e) != 0 ||
        count != 2)
        wrong("versions", "not two");
    else if (versions[0]->active == versions[1]->active)
        wrong("versions", "not one is active");
    for (size_t i = 0; i < count; i++)
        version_unref(versions[i]);
}

static void *reader_main(void *arg)
{
    (void)arg;
    struct caller caller;
    struct registry_stats stats;
    while (!atomic_load(&shared.stop)) {
        read_flips();
        read_comes();
        read_lists();
        registry_stats(shared.registry, &stats);
        registry_key_check(shared.registry, shared.stable_key, &caller);
        if (caller.role != ROLE_TENANT || caller.tenant != shared.tenant)
            wrong("key", caller.tenant_id);
    }
    return NULL;
}

static void *flipper_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < WRITES; i++) {
        const struct version *v;
        struct err e;
        if (registry_activate(shared.registry, shared.tenant, "flips", shared.digests[i % 2], &v, &e) != 0)
            wrong("activate", e.message);
        else
            version_unref(v);
    }
    return NULL;
}

static void *comer_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < WRITES; i++) {
        const struct version *v;
        bool created;
        struct err e;
        if (sample_publish(shared.registry, "acme", "comes", (unsigned)i % 3, true, &v, &created, &e) != 0) {
            wrong("publish", e.message);
            continue;
        }
        if (i % 5 == 0)
            registry_mark_broken(shared.registry, v);
        version_unref(v);
        if (registry_adapter_delete(shared.registry, shared.tenant, "comes", NULL, &e) != 0)
            wrong("delete", e.message);
    }
    return NULL;
}

static void *tenant_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < WRITES; i++) {
        struct tenant_row tenant;
        struct key_row key;
        struct caller caller;
        char text[KEY_TEXT_BYTES];
        struct err e;
        if (registry_tenant_create(shared.registry, "guest", NULL, &tenant, &e) != 0 ||
            registry_key_create(shared.registry, "guest", "x", 0, &key, text, &e) != 0)
            wrong("guest", e.message);
        registry_key_check(shared.registry, text, &caller);
        if (caller.role != ROLE_TENANT || caller.tenant != tenant.number)
            wrong("guest", "key");
        if ((i % 2 && registry_key_revoke(shared.registry, "guest", key.kid, &e) != 0) ||
            registry_tenant_delete(shared.registry, "guest", &e) != 0)
            wrong("guest", e.message);
        registry_key_check(shared.registry, text, &caller);
        if (caller.role != ROLE_NONE)
            wrong("guest", "revoked key");
    }
    return NULL;
}

static void publish_flips(unsigned content)
{
    const struct version *v;
    bool created;
    struct err e;
    assert_int_equal(sample_publish(shared.registry, "acme", "flips", content, true, &v, &created, &e), 0);
    sample_digest(content, shared.digests[content % 2]);
    version_unref(v);
}

static void everything_seen_is_whole(void **state)
{
    (void)state;
    static void *(*const writers[])(void *) = {flipper_main, comer_main, tenant_main};
    enum { WRITERS = sizeof writers / sizeof *writers };
    pthread_t readers[READERS], threads[WRITERS];
    struct tenant_row tenant;
    struct key_row key;
    struct err e;
    char *directory = scratch_new();
    assert_int_equal(registry_open(&shared.registry, directory, &e), 0);
    assert_int_equal(registry_tenant_create(shared.registry, "acme", NULL, &tenant, &e), 0);
    shared.tenant = tenant.number;
    assert_int_equal(registry_key_create(shared.registry, "acme", "x", 0, &key, shared.stable_key, &e), 0);
    publish_flips(10);
    publish_flips(11);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&readers[i], NULL, reader_main, NULL), 0);
    for (size_t i = 0; i < WRITERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, writers[i], NULL), 0);
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    atomic_store(&shared.stop, true);
    for (int i = 0; i < READERS; i++)
        pthread_join(readers[i], NULL);
    assert_int_equal(atomic_load(&shared.wrong), 0);
    registry_close(shared.registry);
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(everything_seen_is_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
