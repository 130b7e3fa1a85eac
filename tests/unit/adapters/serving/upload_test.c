/* From staged files to a version that can serve, and back from the disk when it is cold. Real adapters of the
 * fixtures, a real engine. */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/serving/upload.h"
#include "adapters/serving/version_load.h"
#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

struct house {
    char *directory;
    struct registry *registry;
    struct cache *cache;
    struct model *model;
    struct version_loader loader;
    struct engine *engine;
    uint32_t tenant;
};

static void open_stores(struct house *h)
{
    struct err e;
    if (registry_open(&h->registry, h->directory, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    h->loader = (struct version_loader){h->registry, h->model};
    if (version_loader_cache(&h->cache, &h->loader, 64 << 20, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static int setup(void **state)
{
    struct house *h = calloc(1, sizeof *h);
    struct tenant_row row;
    struct err e;
    h->directory = scratch_new();
    h->model = fixture_model(fixture_path("models/mlp"));
    h->engine = fixture_engine(h->model, 1, 0, 8);
    open_stores(h);
    assert_int_equal(registry_tenant_create(h->registry, "acme", NULL, &row, &e), 0);
    h->tenant = row.number;
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    struct house *h = *state;
    cache_free(h->cache);
    engine_free(h->engine);
    registry_close(h->registry);
    model_close(h->model);
    scratch_remove(h->directory);
    free(h);
    return 0;
}

/* Everything that a daemon forgets when it is started anew. */
static void restart(struct house *h)
{
    cache_free(h->cache);
    registry_close(h->registry);
    open_stores(h);
}

/* ---- files ---- */

struct files {
    struct buf config, weights;
};

static void read_files(const char *adapter, struct files *out)
{
    struct err e;
    *out = (struct files){0};
    if (file_read(fixture_path("adapters/mlp/%s/adapter_config.json", adapter), 1 << 20, &out->config, &e) !=
            0 ||
        file_read(fixture_path("adapters/mlp/%s/adapter_model.safetensors", adapter), 1 << 26, &out->weights,
                  &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
}

static void files_fini(struct files *f)
{
    buf_fini(&f->config);
    buf_fini(&f->weights);
}

/* Make the tensors whose names hold `part` all zero. */
static void zero_tensors(struct buf *weights, const char *part)
{
    uint64_t header_bytes;
    const char *name;
    json_t *tensor;
    memcpy(&header_bytes, weights->data, sizeof header_bytes);
    json_t *header = json_loadb(weights->data + 8, header_bytes, 0, NULL);
    assert_non_null(header);
    int zeroed = 0;
    json_object_foreach(header, name, tensor)
    {
        if (!strstr(name, part))
            continue;
        json_t *offsets = json_object_get(tensor, "data_offsets");
        size_t from = (size_t)json_integer_value(json_array_get(offsets, 0));
        size_t to = (size_t)json_integer_value(json_array_get(offsets, 1));
        memset(weights->data + 8 + header_bytes + from, 0, to - from);
        zeroed++;
    }
    json_decref(header);
    assert_true(zeroed > 0);
}

/* ---- steps ---- */

static int upload(struct house *h, const struct files *f, const struct upload *u, const struct version **out,
                  bool *created, struct err *e)
{
    struct staged *s;
    if (staged_new(&s, h->registry, e) != 0)
        return -1;
    if (staged_write(s, STAGED_CONFIG, f->config.data, f->config.length, e) != 0 ||
        staged_write(s, STAGED_WEIGHTS, f->weights.data, f->weights.length, e) != 0) {
        staged_free(s);
        return -1;
    }
    struct upload_result result;
    if (upload_accept(h->registry, h->cache, h->engine, h->model, s, u, &result, e) != 0)
        return -1;
    *out = result.version;
    *created = result.created;
    warnings_fini(&result.warnings);
    proof_fini(&result.proof);
    return 0;
}

static const struct upload plain = {.tenant = 1, .name = "support", .activate = true};

static const struct version *upload_ok(struct house *h, const char *adapter, bool expect_created)
{
    struct files f;
    const struct version *v = NULL;
    bool created = !expect_created;
    struct err e;
    read_files(adapter, &f);
    if (upload(h, &f, &plain, &v, &created, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    assert_int_equal(created, expect_created);
    files_fini(&f);
    return v;
}

static void expect_refused(struct house *h, const struct files *f, const struct upload *u, const char *code)
{
    const struct version *v = NULL;
    bool created;
    struct err e;
    size_t blobs = scratch_count(h->directory, "blobs");
    assert_int_equal(upload(h, f, u, &v, &created, &e), -1);
    assert_string_equal(e.code, code);
    assert_null(v);
    assert_int_equal(scratch_count(h->directory, "tmp"), 0);
    assert_int_equal(scratch_count(h->directory, "blobs"), blobs);
}

struct lease {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool answered;
    struct delta *delta;
    struct err e;
};

static void on_ready(void *arg, struct delta *d, bool loaded, const struct err *e)
{
    (void)loaded;
    struct lease *l = arg;
    pthread_mutex_lock(&l->lock);
    l->answered = true;
    l->delta = d;
    if (e)
        l->e = *e;
    pthread_cond_signal(&l->done);
    pthread_mutex_unlock(&l->lock);
}

/* The delta, or NULL and the code. */
static struct delta *lease_now(struct house *h, const struct version *v, const char **code)
{
    static struct lease l;
    l = (struct lease){.lock = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    cache_lease(h->cache, v, on_ready, &l);
    pthread_mutex_lock(&l.lock);
    while (!l.answered)
        pthread_cond_wait(&l.done, &l.lock);
    pthread_mutex_unlock(&l.lock);
    *code = l.delta ? NULL : l.e.code;
    return l.delta;
}

static double change_of(struct house *h, struct delta *d)
{
    struct engine_proof proof;
    struct err e;
    assert_int_equal(engine_probe(h->engine, h->tenant, d, &proof, &e), 0);
    return proof.max_change;
}

/* ---- tests ---- */

static void an_upload_is_proved_and_warm_and_cold_the_same(void **state)
{
    struct house *h = *state;
    const char *code;
    struct cache_stats stats;
    const struct version *v = upload_ok(h, "r4", true);
    assert_true(v->proof_max > 0 && v->proof_mean > 0 && v->proof_mean <= v->proof_max);
    assert_true(v->active && v->rank_max == 4 && v->sites > 0 && v->parameters > 0);
    struct delta *warm = lease_now(h, v, &code);
    assert_non_null(warm);
    cache_stats(h->cache, &stats);
    assert_int_equal(stats.hits, 1);
    assert_true(change_of(h, warm) == v->proof_max);
    version_unref(v);

    struct err e;
    restart(h);
    assert_int_equal(registry_resolve(h->registry, h->tenant, "support", &v, &e), 0);
    struct delta *cold = lease_now(h, v, &code);
    assert_non_null(cold);
    cache_stats(h->cache, &stats);
    assert_int_equal(stats.misses, 1);
    assert_int_equal(delta_bytes(cold), delta_bytes(warm));
    assert_true(change_of(h, cold) == v->proof_max);
    delta_unref(warm);
    delta_unref(cold);
    version_unref(v);
}

static void the_same_again_is_the_same_version(void **state)
{
    struct house *h = *state;
    struct engine_stats before, after;
    const struct version *first = upload_ok(h, "r4", true), *second = upload_ok(h, "r8-fc2", true);
    engine_stats(h->engine, &before);
    const struct version *again = upload_ok(h, "r4", false);
    engine_stats(h->engine, &after);
    assert_int_equal(after.steps, before.steps); /* no second proof */
    assert_string_equal(again->digest, first->digest);
    assert_true(again->active && again->proof_max == first->proof_max);
    assert_string_not_equal(second->digest, first->digest);
    version_unref(first);
    version_unref(second);
    version_unref(again);
    assert_int_equal(scratch_count(h->directory, "tmp"), 0);
    assert_int_equal(scratch_count(h->directory, "blobs"), 4);
}

static void what_changes_nothing_is_refused_unless_allowed(void **state)
{
    struct house *h = *state;
    const char *parts[] = {"lora_B", "lora_A"}; /* B zero is seen in the file, A zero only by the proof */
    for (size_t i = 0; i < 2; i++) {
        struct files f;
        struct upload allowed = plain;
        const struct version *v;
        bool created;
        struct err e;
        read_files("r4", &f);
        zero_tensors(&f.weights, parts[i]);
        expect_refused(h, &f, &plain, "adapter_no_effect");
        allowed.allow_no_effect = true;
        if (upload(h, &f, &allowed, &v, &created, &e) != 0)
            fail_msg("%s: %s", e.code, e.message);
        assert_true(v->proof_max == 0);
        version_unref(v);
        files_fini(&f);
    }
}

static void refusals_leave_nothing_behind(void **state)
{
    struct house *h = *state;
    struct upload stranger = plain, misnamed = plain;
    struct files f, bad;
    stranger.tenant = 2;
    misnamed.name = "Support!";
    read_files("r4", &f);
    expect_refused(h, &f, &stranger, "tenant_not_found");
    expect_refused(h, &f, &misnamed, "invalid_name");
    bad = (struct files){.config = f.weights, .weights = f.weights};
    expect_refused(h, &bad, &plain, "config_malformed");
    bad = (struct files){.config = f.config, .weights = f.config};
    expect_refused(h, &bad, &plain, "safetensors_malformed");
    bad = f;
    bad.weights.length -= 4;
    expect_refused(h, &bad, &plain, "safetensors_malformed");
    files_fini(&f);
    struct registry_stats s;
    registry_stats(h->registry, &s);
    assert_int_equal(s.adapters, 0);
}

/* One byte of the weights, in place. */
static void flip_byte(struct house *h, const struct version *v)
{
    char name[160];
    unsigned char byte;
    snprintf(name, sizeof name, "%s/blobs/sha256/%.2s/%s", h->directory, v->weights_blob, v->weights_blob);
    int fd = open(name, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)v->weights_bytes - 2), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)v->weights_bytes - 2), 1);
    close(fd);
}

static void a_flipped_bit_is_never_served(void **state)
{
    struct house *h = *state;
    const char *code;
    struct err e;
    const struct version *v = upload_ok(h, "r4", true), *found;
    flip_byte(h, v);
    version_unref(v);
    restart(h); /* the size is right, so that only loading can see it */
    assert_int_equal(registry_resolve(h->registry, h->tenant, "support", &v, &e), 0);
    assert_null(lease_now(h, v, &code));
    assert_string_equal(code, "adapter_broken");
    assert_int_equal(registry_resolve(h->registry, h->tenant, "support", &found, &e), -1);
    assert_string_equal(e.code, "adapter_broken");
    version_unref(v);

    v = upload_ok(h, "r4", false); /* the same files again repair it */
    version_unref(v);
    restart(h);
    assert_int_equal(registry_resolve(h->registry, h->tenant, "support", &v, &e), 0);
    struct delta *d = lease_now(h, v, &code);
    assert_non_null(d);
    delta_unref(d);
    version_unref(v);
}

static void a_version_deleted_before_its_load_serves_who_has_it(void **state)
{
    struct house *h = *state;
    const char *code;
    struct err e;
    version_unref(upload_ok(h, "r4", true));
    restart(h);
    const struct version *v;
    assert_int_equal(registry_resolve(h->registry, h->tenant, "support", &v, &e), 0);
    assert_int_equal(registry_adapter_delete(h->registry, h->tenant, "support", NULL, &e), 0);
    assert_int_equal(scratch_count(h->directory, "blobs"), 2);
    struct delta *d = lease_now(h, v, &code);
    assert_non_null(d);
    delta_unref(d);
    version_unref(v);
    scratch_wait_count(h->directory, "blobs", 0);
}

int main(void)
{
#define IN_HOUSE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        IN_HOUSE(an_upload_is_proved_and_warm_and_cold_the_same),
        IN_HOUSE(the_same_again_is_the_same_version),
        IN_HOUSE(what_changes_nothing_is_refused_unless_allowed),
        IN_HOUSE(refusals_leave_nothing_behind),
        IN_HOUSE(a_flipped_bit_is_never_served),
        IN_HOUSE(a_version_deleted_before_its_load_serves_who_has_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
