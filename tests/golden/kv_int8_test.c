/* int8 keys and values: near the bf16 ones, and a sequence's bits do not depend on its neighbours. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/golden/fixture.h"

enum { PROMPT = 75, OTHERS = 9 };

static const char *const models[] = {"llama", "qwen3", "gpt2"};

static void fill(int32_t *tokens, int salt, int vocab)
{
    for (int i = 0; i < PROMPT; i++)
        tokens[i] = (i * 7919 + salt * 104729 + 13) % vocab;
}

/* Logits of the watched prompt, among `others` more. */
static void watch(const struct model *m, int others, int chunk, struct run *kept)
{
    struct engine *g = fixture_engine(m, 2, chunk, OTHERS + 1);
    struct runs *all = runs_new();
    struct run rest[OTHERS] = {0};
    int32_t tokens[PROMPT];
    for (int i = 0; i < others; i++) {
        fill(tokens, i + 1, model_info(m)->vocab_size);
        run_submit(all, &rest[i], g, NULL, tokens, (size_t)(PROMPT - 7 * i), 8, false, NULL, 1);
    }
    fill(tokens, 0, model_info(m)->vocab_size);
    run_submit(all, kept, g, NULL, tokens, PROMPT, 8, true, NULL, 2);
    runs_free(all);
    engine_free(g);
}

static struct model *open_with(const char *name, bool kv_int8)
{
    fixture_precision = PRECISION_INT8;
    fixture_kv_int8 = kv_int8;
    return fixture_model(fixture_path("models/%s", name));
}

static void neighbours_change_nothing(void **state)
{
    struct model *m = open_with(*state, true);
    struct run alone = {0}, crowded = {0};
    assert_int_equal(model_info(m)->kv.type, KV_INT8);
    watch(m, 0, 128, &alone);
    watch(m, OTHERS, 11, &crowded);
    assert_memory_equal(alone.logits, crowded.logits, alone.rows * alone.vocab * sizeof(float));
    assert_memory_equal(alone.tokens, crowded.tokens, 8 * sizeof(int32_t));
    run_fini(&alone);
    run_fini(&crowded);
    model_close(m);
}

/* The mean distance of the logits, relative to their size. These models are random and wide, so small changes
 * grow in them as they do not in trained ones. */
static void near_bf16(void **state)
{
    struct run fine = {0}, coarse = {0};
    struct model *a = open_with(*state, false), *b = open_with(*state, true);
    double distance = 0, size = 0;
    watch(a, 0, 128, &fine);
    watch(b, 0, 128, &coarse);
    for (size_t i = 0; i < fine.rows * fine.vocab; i++) {
        distance += fabs((double)fine.logits[i] - (double)coarse.logits[i]);
        size += fabs((double)fine.logits[i]);
    }
    printf("%s: logits differ by %.2f %% of their size\n", (const char *)*state, 100 * distance / size);
    assert_true(distance > 0);
    assert_true(distance < 0.08 * size);
    run_fini(&fine);
    run_fini(&coarse);
    model_close(a);
    model_close(b);
}

static void exact_has_none(void **state)
{
    (void)state;
    struct model *m;
    struct err e;
    const struct model_options o = {.precision = PRECISION_EXACT, .kv_int8 = true};
    assert_int_equal(model_open(&m, fixture_path("models/llama"), &o, &e), -1);
    assert_string_equal(e.code, "precision_unsupported");
}

int main(void)
{
    struct CMUnitTest tests[7] = {cmocka_unit_test(exact_has_none)};
    for (size_t i = 0; i < 3; i++) {
        tests[1 + 2 * i] = (struct CMUnitTest){"neighbours change nothing", neighbours_change_nothing, NULL,
                                               NULL, (void *)models[i]};
        tests[2 + 2 * i] = (struct CMUnitTest){"near bf16", near_bf16, NULL, NULL, (void *)models[i]};
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
