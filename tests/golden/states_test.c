/* What stands behind the final norm, against transformers and PEFT in float32; and the same bits in every
 * crowd, with every cut of the prompt, beside text that is generated, and from the prefix cache. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/sha256.h"
#include "core/format/safetensors.h"
#include "tests/golden/fixture.h"

static const double tolerance = 1e-4;

struct suite {
    const char *name;
    struct model *m;
    struct engine *g;
    struct safetensors *expected;
    int fd;
    size_t hidden;
    double worst;
    int checked;
};

static struct delta *open_delta(const struct suite *s, const json_t *c)
{
    struct err e = {0};
    const char *adapter = json_string_value(json_object_get(c, "adapter"));
    struct delta *d = adapter ? fixture_delta(s->m, fixture_path("%s", adapter), &e) : NULL;
    if (!d && adapter)
        fail_msg("%s: %s: %s", json_string_value(json_object_get(c, "id")), e.code, e.message);
    return d;
}

static void check_row(struct suite *s, const json_t *c, const char *which, const double *found)
{
    struct err e;
    const char *key = json_string_value(json_object_get(c, which));
    const struct tensor *t = safetensors_find(s->expected, key);
    assert_non_null(t);
    assert_int_equal(tensor_elements(t), s->hidden);
    float *expected = calloc(s->hidden, sizeof *expected);
    assert_int_equal(safetensors_read(s->fd, t, expected, 0, &e), 0);
    for (size_t i = 0; i < s->hidden; i++) {
        double error = fabs(found[i] - (double)expected[i]);
        s->worst = error > s->worst ? error : s->worst;
        if (!(error <= tolerance))
            fail_msg("%s %s: value %zu is %g, expected %g", s->name, key, i, found[i], (double)expected[i]);
    }
    free(expected);
}

static void check_case(struct suite *s, const json_t *c)
{
    size_t count;
    int32_t *tokens = json_ids(json_object_get(c, "prompt_tokens"), &count);
    struct delta *d = open_delta(s, c);
    struct runs *all = runs_new();
    struct run every = {0}, last = {0};
    double *mean = calloc(2 * s->hidden, sizeof *mean), *end = mean + s->hidden;
    run_submit_states(all, &every, s->g, d, tokens, count, ENGINE_STATES_ALL, 1, NULL);
    run_submit_states(all, &last, s->g, d, tokens, count, ENGINE_STATES_LAST, 2, NULL);
    runs_wait(all);
    for (size_t row = 0; row < count; row++)
        for (size_t i = 0; i < s->hidden; i++)
            mean[i] += (double)every.logits[row * s->hidden + i] / (double)count;
    const float *final = last.logits + (count - 1) * s->hidden;
    assert_memory_equal(final, every.logits + (count - 1) * s->hidden, s->hidden * sizeof *final);
    for (size_t i = 0; i < s->hidden; i++)
        end[i] = (double) final[i];
    check_row(s, c, "last", end);
    check_row(s, c, "mean", mean);
    run_fini(&every);
    run_fini(&last);
    runs_free(all);
    delta_unref(d);
    free(mean);
    free(tokens);
    s->checked++;
}

static void check_model(void **state)
{
    struct suite s = {.name = *state};
    struct err e;
    size_t i;
    json_t *cases = fixture_json(fixture_path("embed/%s.json", s.name)), *c;
    s.m = fixture_model(fixture_path("models/%s", s.name));
    s.hidden = (size_t)model_info(s.m)->hidden_size;
    s.g = fixture_engine(s.m, 2, 0, 8);
    s.fd = open(fixture_path("expected/%s.embed.safetensors", s.name), O_RDONLY);
    assert_int_equal(safetensors_open(&s.expected, s.fd, 1 << 20, &e), 0);
    json_array_foreach(cases, i, c) check_case(&s, c);
    printf("%s: %d cases, largest error %.2g\n", s.name, s.checked, s.worst);
    assert_true(s.checked > 0);
    safetensors_close(s.expected);
    close(s.fd);
    engine_free(s.g);
    model_close(s.m);
    json_decref(cases);
}

/* ---- invariance ---- */

enum { CROWD = 16, PROMPT_MAX = 150 };

struct alone {
    int32_t *tokens[3];
    size_t count[3];
    struct delta *delta;
    float *states[3]; /* of each prompt, alone */
};

static void run_alone(struct alone *a, struct engine *g, const json_t *cases)
{
    for (size_t i = 0; i < 3; i++) {
        struct runs *all = runs_new();
        struct run run = {0};
        a->tokens[i] = json_ids(json_object_get(json_array_get(cases, i), "prompt_tokens"), &a->count[i]);
        assert_true(a->count[i] <= PROMPT_MAX);
        run_submit_states(all, &run, g, a->delta, a->tokens[i], a->count[i], ENGINE_STATES_ALL, 1, NULL);
        runs_wait(all);
        a->states[i] = run.logits;
        runs_free(all);
    }
}

/* Sixteen at once, every third one text of the bare base, in an engine of its own; the second time with what
 * the first left in the prefix cache. */
static void check_crowd(const struct alone *a, const struct model *m, int threads, int chunk)
{
    struct engine *g = fixture_engine(m, threads, chunk, CROWD);
    size_t hidden = (size_t)model_info(m)->hidden_size;
    static const uint8_t root[SHA256_BYTES] = {7};
    int cached = 0;
    for (int round = 0; round < 2; round++) {
        struct runs *all = runs_new();
        struct run run[CROWD] = {0};
        for (int i = 0; i < CROWD; i++) {
            const int32_t *tokens = a->tokens[i / 3 % 3];
            size_t count = a->count[i / 3 % 3];
            if (i % 3 == 0)
                run_submit(all, &run[i], g, NULL, tokens, count, 5, false, NULL, (uint32_t)i % 4);
            else
                run_submit_states(all, &run[i], g, a->delta, tokens, count,
                                  i % 3 == 1 ? ENGINE_STATES_ALL : ENGINE_STATES_LAST, (uint32_t)i % 4, root);
        }
        runs_wait(all);
        for (int i = 0; i < CROWD; i++) {
            size_t count = a->count[i / 3 % 3], from = i % 3 == 1 ? 0 : (count - 1) * hidden;
            if (i % 3 != 0)
                assert_memory_equal(run[i].logits + from, a->states[i / 3 % 3] + from,
                                    (count * hidden - from) * sizeof(float));
            assert_int_equal(run[i].token_count, i % 3 == 0 ? 5 : 0);
            assert_true(i % 3 != 1 || run[i].done.cached_tokens == 0); /* every token has to be computed */
            cached += run[i].done.cached_tokens;
            run_fini(&run[i]);
        }
        runs_free(all);
    }
    assert_true(cached > 0);
    engine_free(g);
}

static void check_invariance(void **state)
{
    const char *name = *state;
    struct err e;
    json_t *cases = fixture_json(fixture_path("embed/%s.json", name));
    static const enum precision precisions[] = {PRECISION_EXACT, PRECISION_INT8, PRECISION_INT4};
    for (size_t p = 0; p < sizeof precisions / sizeof *precisions; p++) {
        fixture_precision = precisions[p];
        struct model *m = fixture_model(fixture_path("models/%s", name));
        struct engine *g = fixture_engine(m, 1, 0, 1);
        struct alone a = {.delta = fixture_delta(m, fixture_path("tasks/%s/bare-r4", name), &e)};
        assert_non_null(a.delta);
        run_alone(&a, g, cases);
        check_crowd(&a, m, 1, 0);
        check_crowd(&a, m, 2, 7);
        check_crowd(&a, m, 3, 37);
        for (int i = 0; i < 3; i++) {
            free(a.tokens[i]);
            free(a.states[i]);
        }
        delta_unref(a.delta);
        engine_free(g);
        model_close(m);
    }
    fixture_precision = PRECISION_EXACT;
    json_decref(cases);
}

#define TEST(WHAT, CHECK, NAME)                          \
    {                                                    \
        WHAT " " NAME, CHECK, NULL, NULL, (void *)(NAME) \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST("states", check_model, "qwen3"),
        TEST("states", check_model, "gpt2"),
        TEST("states", check_model, "llama"),
        TEST("states in a crowd", check_invariance, "qwen3"),
        TEST("states in a crowd", check_invariance, "gpt2"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
