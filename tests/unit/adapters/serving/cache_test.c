/* Who is in memory: one load for all who wait, the least recently used goes, tenants take turns and share
 * nothing. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "adapters/blobs/version.h"
#include "adapters/serving/cache.h"
#include "tests/golden/fixture.h"

/* ---- a loader under the test's control ---- */

enum { LOADED_MAX = 4096 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool closed; /* loads wait */
    int begun;
    uint32_t tenants[LOADED_MAX]; /* in the order in which their loads were begun */
    const char *fail;             /* code; NULL: loads succeed */
} gate = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static struct model *model;

/* Of a rank of its own, so that its size tells which one it is. */
static struct delta *make_delta(int rank)
{
    size_t count;
    const struct site *site = model_sites(model, &count);
    float *a = calloc((size_t)rank * (size_t)site->in, sizeof *a),
          *b = calloc((size_t)rank * (size_t)site->out, sizeof *b);
    struct delta_part part = {.site = 0, .rank = rank, .scale = 1, .a = a, .b = b};
    struct delta *d = NULL;
    struct err e;
    assert_int_equal(delta_new(&d, model, &(struct delta_source){.parts = &part, .count = 1}, &e), 0);
    free(a);
    free(b);
    return d;
}

static int gated_load(void *arg, const struct version *v, struct delta **out, struct err *e)
{
    (void)arg;
    pthread_mutex_lock(&gate.lock);
    if (gate.begun < LOADED_MAX)
        gate.tenants[gate.begun] = v->tenant;
    gate.begun++;
    pthread_cond_broadcast(&gate.changed);
    while (gate.closed)
        pthread_cond_wait(&gate.changed, &gate.lock);
    const char *fail = gate.fail;
    pthread_mutex_unlock(&gate.lock);
    if (fail)
        return err_set(e, fail, "as the test wants it");
    *out = make_delta(v->rank_max);
    return 0;
}

static void gate_set(bool closed)
{
    pthread_mutex_lock(&gate.lock);
    gate.closed = closed;
    pthread_cond_broadcast(&gate.changed);
    pthread_mutex_unlock(&gate.lock);
}

static void gate_wait_begun(int count)
{
    pthread_mutex_lock(&gate.lock);
    while (gate.begun < count)
        pthread_cond_wait(&gate.changed, &gate.lock);
    pthread_mutex_unlock(&gate.lock);
}

static int gate_begun(void)
{
    pthread_mutex_lock(&gate.lock);
    int begun = gate.begun;
    pthread_mutex_unlock(&gate.lock);
    return begun;
}

/* ---- answers ---- */

struct answers {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int good, bad, loaded;
    char code[32];         /* of the last error */
    struct delta *delta;   /* the last one; one reference */
    size_t expected_bytes; /* 0: any */
    int wrong;
};

static void answers_init(struct answers *a)
{
    *a = (struct answers){.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
}

static void on_ready(void *arg, struct delta *d, bool loaded, const struct err *e)
{
    struct answers *a = arg;
    pthread_mutex_lock(&a->lock);
    a->loaded += loaded;
    if (d) {
        a->good++;
        a->wrong += e != NULL || (a->expected_bytes && delta_bytes(d) != a->expected_bytes);
    } else {
        a->bad++;
        snprintf(a->code, sizeof a->code, "%s", e->code);
    }
    struct delta *before = a->delta;
    a->delta = d;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    delta_unref(before);
}

static void answers_wait(struct answers *a, int count)
{
    pthread_mutex_lock(&a->lock);
    while (a->good + a->bad < count)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

static void answers_fini(struct answers *a)
{
    delta_unref(a->delta);
}

/* ---- common ---- */

static struct cache *cache;
static _Atomic uint32_t pinned_tenant; /* all of its versions are pinned; 0: nobody's */

static bool is_pinned(void *arg, uint32_t tenant, const char *digest)
{
    (void)arg, (void)digest;
    return tenant == atomic_load(&pinned_tenant);
}

static void start(size_t budget)
{
    pinned_tenant = 0;
    struct err e;
    gate.closed = false;
    gate.fail = NULL;
    gate.begun = 0;
    assert_int_equal(cache_new(&cache, &(struct cache_source){gated_load, is_pinned, NULL}, budget, &e), 0);
}

static const struct version *make_version(uint32_t tenant, unsigned content, int rank)
{
    struct version values = {.tenant = tenant, .rank_max = rank};
    uint8_t digest[SHA256_BYTES];
    sha256_of(&content, sizeof content, digest);
    hex_encode(digest, sizeof digest, values.digest);
    values.config_blob = values.digest;
    values.weights_blob = values.digest;
    return version_new(&values);
}

/* Lease and wait. */
static void lease_now(const struct version *v, const char *expected_code)
{
    struct answers a;
    answers_init(&a);
    cache_lease(cache, v, on_ready, &a);
    answers_wait(&a, 1);
    assert_int_equal(a.good, expected_code ? 0 : 1);
    if (expected_code)
        assert_string_equal(a.code, expected_code);
    answers_fini(&a);
}

static struct cache_stats stats(void)
{
    struct cache_stats s;
    cache_stats(cache, &s);
    return s;
}

static size_t bytes_of_rank(int rank)
{
    struct delta *d = make_delta(rank);
    size_t bytes = delta_bytes(d);
    delta_unref(d);
    return bytes;
}

static int open_model(void **state)
{
    (void)state;
    model = fixture_model(fixture_path("models/mlp"));
    return 0;
}

static int close_model(void **state)
{
    (void)state;
    model_close(model);
    return 0;
}

/* ---- tests ---- */

static void a_version_is_loaded_once_and_then_hit(void **state)
{
    (void)state;
    start(1 << 20);
    const struct version *v = make_version(1, 1, 4);
    lease_now(v, NULL);
    lease_now(v, NULL);
    lease_now(v, NULL);
    assert_int_equal(gate_begun(), 1);
    struct cache_stats s = stats();
    assert_int_equal(s.hits, 2);
    assert_int_equal(s.misses, 1);
    assert_int_equal(s.resident, 1);
    assert_int_equal(s.loading, 0);
    assert_int_equal(s.load_failures, 0);
    assert_int_equal(s.bytes, bytes_of_rank(4));
    cache_free(cache);
    version_unref(v);
}

static void one_load_serves_all_who_wait(void **state)
{
    (void)state;
    struct answers a;
    answers_init(&a);
    start(1 << 20);
    gate_set(true);
    const struct version *v = make_version(1, 1, 4), *twin = make_version(1, 1, 4);
    for (int i = 0; i < 100; i++)
        cache_lease(cache, i % 2 ? v : twin, on_ready, &a);
    gate_wait_begun(1);
    assert_int_equal(a.good + a.bad, 0);
    gate_set(false);
    answers_wait(&a, 100);
    assert_int_equal(a.good, 100);
    assert_int_equal(gate_begun(), 1);
    answers_fini(&a);
    cache_free(cache);
    version_unref(v);
    version_unref(twin);
}

static void tenants_share_nothing(void **state)
{
    (void)state;
    start(1 << 20);
    const struct version *one = make_version(1, 1, 4), *two = make_version(2, 1, 4);
    lease_now(one, NULL);
    lease_now(two, NULL);
    assert_int_equal(gate_begun(), 2);
    assert_int_equal(stats().resident, 2);
    cache_free(cache);
    version_unref(one);
    version_unref(two);
}

static void the_least_recently_used_goes(void **state)
{
    (void)state;
    struct answers held;
    answers_init(&held);
    start(2 * bytes_of_rank(4) + 8);
    const struct version *a = make_version(1, 1, 4), *b = make_version(1, 2, 4), *c = make_version(1, 3, 4);
    lease_now(a, NULL);
    cache_lease(cache, b, on_ready, &held);
    answers_wait(&held, 1);
    lease_now(a, NULL); /* a is now younger than b */
    lease_now(c, NULL); /* b goes */
    assert_int_equal(stats().evictions, 1);
    assert_int_equal(stats().resident, 2);
    assert_int_equal(delta_bytes(held.delta), bytes_of_rank(4)); /* but who has it keeps it */
    lease_now(a, NULL);
    assert_int_equal(gate_begun(), 3);
    lease_now(b, NULL);
    assert_int_equal(gate_begun(), 4);
    assert_true(stats().bytes <= stats().budget_bytes);
    answers_fini(&held);
    cache_free(cache);
    version_unref(a);
    version_unref(b);
    version_unref(c);
}

/* 1 is pinned, the others come and go. */
static void what_is_pinned_stays(void **state)
{
    (void)state;
    const struct version *pinned[2] = {make_version(1, 1, 4), make_version(1, 2, 4)};
    start(4 * bytes_of_rank(4));
    pinned_tenant = 1;
    lease_now(pinned[0], NULL);
    lease_now(pinned[1], NULL);
    for (unsigned i = 0; i < 20; i++) {
        const struct version *v = make_version(2, 100 + i, 4);
        lease_now(v, NULL);
        version_unref(v);
        assert_int_equal(stats().resident, i < 2 ? i + 3 : 4);
    }
    assert_int_equal(gate_begun(), 22);
    lease_now(pinned[0], NULL);
    lease_now(pinned[1], NULL);
    assert_int_equal(gate_begun(), 22);
    pinned_tenant = 0;
    for (unsigned i = 0; i < 4; i++) {
        const struct version *v = make_version(2, 200 + i, 4);
        lease_now(v, NULL);
        version_unref(v);
    }
    lease_now(pinned[0], NULL);
    assert_int_equal(gate_begun(), 27);
    cache_free(cache);
    version_unref(pinned[0]);
    version_unref(pinned[1]);
}

static void pins_beyond_their_share_go_as_all_others(void **state)
{
    (void)state;
    start(4 * bytes_of_rank(4));
    pinned_tenant = 1;
    for (unsigned i = 0; i < 10; i++) {
        const struct version *v = make_version(1, i, 4);
        lease_now(v, NULL);
        version_unref(v);
        assert_true(stats().bytes <= stats().budget_bytes);
    }
    assert_int_equal(stats().resident, 4);
    const struct version *other = make_version(2, 100, 4), *large = make_version(2, 101, 8);
    lease_now(other, NULL);
    lease_now(other, NULL);
    assert_int_equal(gate_begun(), 11);
    lease_now(large, NULL); /* as much as others are sure of */
    lease_now(large, NULL);
    assert_int_equal(gate_begun(), 12);
    cache_free(cache);
    version_unref(other);
    version_unref(large);
}

static void what_is_larger_than_the_budget_is_served_and_not_kept(void **state)
{
    (void)state;
    start(bytes_of_rank(4) - 1);
    const struct version *v = make_version(1, 1, 4);
    lease_now(v, NULL);
    assert_int_equal(stats().resident, 0);
    assert_int_equal(stats().bytes, 0);
    lease_now(v, NULL);
    assert_int_equal(gate_begun(), 2);
    cache_free(cache);
    version_unref(v);
}

static void a_failed_load_answers_all_and_is_tried_again(void **state)
{
    (void)state;
    struct answers a;
    answers_init(&a);
    start(1 << 20);
    gate.fail = "adapter_broken";
    gate_set(true);
    const struct version *v = make_version(1, 1, 4);
    for (int i = 0; i < 10; i++)
        cache_lease(cache, v, on_ready, &a);
    gate_set(false);
    answers_wait(&a, 10);
    assert_int_equal(a.bad, 10);
    assert_int_equal(a.loaded, 1);
    assert_string_equal(a.code, "adapter_broken");
    assert_int_equal(stats().resident, 0);
    pthread_mutex_lock(&gate.lock);
    gate.fail = NULL;
    pthread_mutex_unlock(&gate.lock);
    lease_now(v, NULL);
    assert_int_equal(stats().resident, 1);
    answers_fini(&a);
    cache_free(cache);
    version_unref(v);
}

static void set_fail(const char *code)
{
    pthread_mutex_lock(&gate.lock);
    gate.fail = code;
    pthread_mutex_unlock(&gate.lock);
}

/* What is wrong with the version itself is not tried again for a while, unless it is uploaded again; what may
 * pass is. Of many, the first are forgotten. */
static void failures_are_remembered(void **state)
{
    (void)state;
    static const struct {
        const char *code;
        int loads; /* of three leases */
    } cases[] = {{"adapter_shape_mismatch", 1},
                 {"adapter_unknown_module", 1},
                 {"adapter_broken", 3},
                 {"adapter_not_found", 3},
                 {"io_error", 3},
                 {"out_of_memory", 3}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(1 << 20);
        const struct version *v = make_version(1, 1, 4), *other = make_version(1, 2, 4);
        set_fail(cases[i].code);
        for (int k = 0; k < 3; k++)
            lease_now(v, cases[i].code);
        assert_int_equal(gate_begun(), cases[i].loads);
        set_fail(NULL);
        lease_now(other, NULL); /* another version of it is not concerned */
        struct delta *d = make_delta(4);
        cache_put(cache, v, d);
        delta_unref(d);
        lease_now(v, NULL);
        assert_int_equal(gate_begun(), cases[i].loads + 1);
        assert_int_equal(stats().resident, 2);
        cache_free(cache);
        version_unref(v);
        version_unref(other);
    }
    start(1 << 20);
    cache_set_retry(cache, 0);
    set_fail("adapter_shape_mismatch");
    const struct version *v = make_version(1, 1, 4);
    lease_now(v, "adapter_shape_mismatch");
    lease_now(v, "adapter_shape_mismatch");
    assert_int_equal(stats().load_failures, 2);
    assert_int_equal(gate_begun(), 2); /* its time is over at once */
    cache_set_retry(cache, 1e9);
    for (unsigned i = 0; i < CACHE_FAILED_MAX + 10; i++) {
        const struct version *one = make_version(2, i, 4);
        lease_now(one, "adapter_shape_mismatch");
        version_unref(one);
    }
    int begun = gate_begun();
    const struct version *first = make_version(2, 0, 4), *last = make_version(2, CACHE_FAILED_MAX + 9, 4);
    lease_now(last, "adapter_shape_mismatch");
    assert_int_equal(gate_begun(), begun);
    lease_now(first, "adapter_shape_mismatch");
    assert_int_equal(gate_begun(), begun + 1);
    cache_free(cache);
    version_unref(v);
    version_unref(first);
    version_unref(last);
}

/* Once, in the background; whoever comes meanwhile waits for that load, and did not begin it. */
static void what_was_prefetched_is_warm(void **state)
{
    (void)state;
    struct answers a;
    answers_init(&a);
    start(1 << 20);
    gate_set(true);
    const struct version *v = make_version(1, 1, 4);
    cache_prefetch(cache, v);
    cache_prefetch(cache, v);
    gate_wait_begun(1);
    cache_lease(cache, v, on_ready, &a);
    gate_set(false);
    answers_wait(&a, 1);
    cache_prefetch(cache, v);
    lease_now(v, NULL);
    assert_int_equal(a.good, 1);
    assert_int_equal(a.loaded, 0);
    assert_int_equal(gate_begun(), 1);
    gate_set(true);
    for (unsigned i = 0; i < 1000; i++) { /* no more than a part of the queue */
        const struct version *one = make_version(2, i, 1);
        cache_prefetch(cache, one);
        version_unref(one);
    }
    gate_wait_begun(1 + CACHE_THREADS);
    gate_set(false);
    const struct version *next = make_version(3, 1, 1);
    lease_now(next, NULL);
    assert_in_range(gate_begun(), 1 + CACHE_THREADS, 2 + CACHE_THREADS + CACHE_PREFETCH_MAX);
    answers_fini(&a);
    cache_free(cache);
    version_unref(v);
    version_unref(next);
}

static void what_was_put_is_warm(void **state)
{
    (void)state;
    start(1 << 20);
    const struct version *v = make_version(1, 1, 4);
    struct delta *d = make_delta(4);
    cache_put(cache, v, d);
    cache_put(cache, v, d);
    delta_unref(d);
    lease_now(v, NULL);
    assert_int_equal(gate_begun(), 0);
    assert_int_equal(stats().hits, 1);
    assert_int_equal(stats().resident, 1);
    cache_free(cache);
    version_unref(v);
}

/* The first CACHE_THREADS loads are begun and held at the gate; what comes then is pending. */
static void fill_loaders(struct answers *a, uint32_t tenant, unsigned *content)
{
    gate_set(true);
    for (int i = 0; i < CACHE_THREADS; i++) {
        const struct version *v = make_version(tenant, (*content)++, 1);
        cache_lease(cache, v, on_ready, a);
        version_unref(v);
    }
    gate_wait_begun(CACHE_THREADS);
}

static void lease_new(struct answers *a, uint32_t tenant, unsigned *content)
{
    const struct version *v = make_version(tenant, (*content)++, 1);
    cache_lease(cache, v, on_ready, a);
    version_unref(v);
}

static void tenants_take_turns(void **state)
{
    (void)state;
    struct answers a;
    unsigned content = 0;
    answers_init(&a);
    start(1 << 20);
    fill_loaders(&a, 5, &content);
    for (int i = 0; i < 50; i++)
        lease_new(&a, 5, &content);
    lease_new(&a, 9, &content);
    lease_new(&a, 3, &content);
    gate_set(false);
    answers_wait(&a, CACHE_THREADS + 52);
    int place_of_9 = 0, place_of_3 = 0;
    for (int i = 0; i < CACHE_THREADS + 52; i++) {
        place_of_9 = gate.tenants[i] == 9 ? i : place_of_9;
        place_of_3 = gate.tenants[i] == 3 ? i : place_of_3;
    }
    assert_in_range(place_of_9, CACHE_THREADS, CACHE_THREADS + 3);
    assert_in_range(place_of_3, CACHE_THREADS, CACHE_THREADS + 3);
    answers_fini(&a);
    cache_free(cache);
}

static void waiting_loads_have_a_limit(void **state)
{
    (void)state;
    struct answers a, other;
    unsigned content = 0;
    answers_init(&a);
    answers_init(&other);
    start(1 << 20);
    fill_loaders(&a, 1, &content);
    for (int i = 0; i < CACHE_LOADS_TENANT_MAX; i++)
        lease_new(&a, 1, &content);
    assert_int_equal(a.bad, 0);
    lease_new(&a, 1, &content);
    assert_int_equal(a.bad, 1);
    assert_string_equal(a.code, "loader_busy");
    lease_new(&other, 2, &content); /* somebody else's share is free */
    assert_int_equal(other.bad, 0);
    for (uint32_t tenant = 3; stats().misses < CACHE_LOADS_MAX + CACHE_THREADS + 1; tenant++)
        lease_new(&other, tenant, &content);
    lease_new(&other, 2, &content);
    assert_int_equal(other.bad, 1);
    gate_set(false);
    answers_wait(&a, CACHE_THREADS + CACHE_LOADS_TENANT_MAX + 1);
    answers_wait(&other, CACHE_LOADS_MAX - CACHE_LOADS_TENANT_MAX + 1);
    assert_int_equal(a.bad, 1);
    assert_int_equal(other.bad, 1);
    answers_fini(&a);
    answers_fini(&other);
    cache_free(cache);
}

static void *open_gate_soon(void *arg)
{
    (void)arg;
    struct timespec pause = {.tv_nsec = 20000000};
    nanosleep(&pause, NULL);
    gate_set(false);
    return NULL;
}

static void stopping_answers_everybody_once(void **state)
{
    (void)state;
    struct answers a;
    unsigned content = 0;
    pthread_t opener;
    answers_init(&a);
    start(1 << 20);
    fill_loaders(&a, 1, &content);
    for (int i = 0; i < 20; i++)
        lease_new(&a, 1, &content);
    pthread_create(&opener, NULL, open_gate_soon, NULL);
    cache_free(cache);
    pthread_join(opener, NULL);
    assert_int_equal(a.good, CACHE_THREADS);
    assert_int_equal(a.bad, 20);
    assert_string_equal(a.code, "shutting_down");
    answers_fini(&a);
}

/* ---- stampede ---- */

enum { STAMPEDE_THREADS = 8, STAMPEDE_VERSIONS = 6, STAMPEDE_ROUNDS = 2000 };

static const struct version *stampede_versions[STAMPEDE_VERSIONS];

static void *stampede(void *arg)
{
    unsigned seed = (unsigned)(uintptr_t)arg;
    struct answers a[STAMPEDE_VERSIONS];
    int leased[STAMPEDE_VERSIONS] = {0};
    uintptr_t wrong = 0;
    for (int i = 0; i < STAMPEDE_VERSIONS; i++) {
        answers_init(&a[i]);
        a[i].expected_bytes = bytes_of_rank(i + 1);
    }
    for (int i = 0; i < STAMPEDE_ROUNDS; i++) {
        /* Half way all versions have been loaded, so that a small budget must load some again. */
        for (int j = 0; j < STAMPEDE_VERSIONS && i == STAMPEDE_ROUNDS / 2; j++)
            answers_wait(&a[j], leased[j]);
        seed = seed * 1664525u + 1013904223u;
        unsigned which = (seed >> 16) % STAMPEDE_VERSIONS;
        cache_lease(cache, stampede_versions[which], on_ready, &a[which]);
        leased[which]++;
    }
    for (int i = 0; i < STAMPEDE_VERSIONS; i++) {
        answers_wait(&a[i], leased[i]);
        pthread_mutex_lock(&a[i].lock); /* the last callback has let go */
        pthread_mutex_unlock(&a[i].lock);
        wrong += (uintptr_t)(a[i].wrong + a[i].bad);
        answers_fini(&a[i]);
    }
    return (void *)wrong;
}

static void run_stampede(size_t budget)
{
    pthread_t threads[STAMPEDE_THREADS];
    start(budget);
    for (unsigned i = 0; i < STAMPEDE_VERSIONS; i++)
        stampede_versions[i] = make_version(i % 2, i, (int)i + 1);
    for (uintptr_t i = 0; i < STAMPEDE_THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, stampede, (void *)(i + 1)), 0);
    for (int i = 0; i < STAMPEDE_THREADS; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    struct cache_stats s = stats();
    assert_int_equal(s.hits + s.misses, STAMPEDE_THREADS * STAMPEDE_ROUNDS);
    assert_true(s.bytes <= s.budget_bytes);
    for (int i = 0; i < STAMPEDE_VERSIONS; i++)
        version_unref(stampede_versions[i]);
}

static void a_stampede_loads_each_version_once(void **state)
{
    (void)state;
    run_stampede(1 << 24);
    assert_int_equal(gate_begun(), STAMPEDE_VERSIONS);
    cache_free(cache);
}

static void a_stampede_under_a_small_budget(void **state)
{
    (void)state;
    run_stampede(bytes_of_rank(1) + bytes_of_rank(2) + bytes_of_rank(3));
    assert_true(gate_begun() > STAMPEDE_VERSIONS);
    assert_true(stats().evictions > 0);
    assert_int_equal(gate_begun(), stats().evictions + stats().resident);
    cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_version_is_loaded_once_and_then_hit),
        cmocka_unit_test(one_load_serves_all_who_wait),
        cmocka_unit_test(tenants_share_nothing),
        cmocka_unit_test(the_least_recently_used_goes),
        cmocka_unit_test(what_is_pinned_stays),
        cmocka_unit_test(pins_beyond_their_share_go_as_all_others),
        cmocka_unit_test(what_is_larger_than_the_budget_is_served_and_not_kept),
        cmocka_unit_test(a_failed_load_answers_all_and_is_tried_again),
        cmocka_unit_test(failures_are_remembered),
        cmocka_unit_test(what_was_prefetched_is_warm),
        cmocka_unit_test(what_was_put_is_warm),
        cmocka_unit_test(tenants_take_turns),
        cmocka_unit_test(waiting_loads_have_a_limit),
        cmocka_unit_test(stopping_answers_everybody_once),
        cmocka_unit_test(a_stampede_loads_each_version_once),
        cmocka_unit_test(a_stampede_under_a_small_budget),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
