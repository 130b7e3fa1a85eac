/* A token's logits are the same to the last bit whatever shares its batch, however its prompt was cut into
 * chunks, and whatever the number of threads. Compared are whole logits of every prompt position and the
 * generated tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/golden/fixture.h"

enum { CROWD = 16, NEW_TOKENS = 12, PROMPT_MAX = 90 };

struct subject {
    const char *name;
    enum precision precision;
    const char *model;
    const char *adapters[4]; /* NULL: the bare base */
};

#define IN_EVERY_PRECISION(MODEL, ...)                       \
    {MODEL " exact", PRECISION_EXACT, MODEL, __VA_ARGS__},   \
        {MODEL " int8", PRECISION_INT8, MODEL, __VA_ARGS__}, \
    {                                                        \
        MODEL " int4", PRECISION_INT4, MODEL, __VA_ARGS__    \
    }

static const struct subject subjects[] = {
    IN_EVERY_PRECISION("llama", {"r8-all", "r24-odd", "lm-head", NULL}),
    IN_EVERY_PRECISION("llama3-rope", {"r8-all", NULL, NULL, NULL}),
    IN_EVERY_PRECISION("mistral", {"r8-all", NULL, NULL, NULL}),
    IN_EVERY_PRECISION("qwen2", {"r8-all", "tied-head", NULL, NULL}),
    IN_EVERY_PRECISION("qwen3", {"r8-all", NULL, NULL, NULL}),
    IN_EVERY_PRECISION("gpt2", {"r8-conv1d", "r4-attn", NULL, NULL}),
};

/* Another prompt for every member of the crowd; the first is the one that is watched. */
static size_t make_prompt(int member, int vocab, int32_t *out)
{
    size_t count = 1 + (size_t)(37 * (member + 1)) % PROMPT_MAX;
    for (size_t i = 0; i < count; i++)
        out[i] = (int32_t)((i * 7919 + (size_t)member * 104729 + 13) % (size_t)vocab);
    return count;
}

struct bench {
    struct model *m;
    struct delta *deltas[4];
};

static void open_bench(struct bench *b, const struct subject *s)
{
    struct err e;
    fixture_precision = s->precision;
    b->m = fixture_model(fixture_path("models/%s", s->model));
    fixture_precision = PRECISION_EXACT;
    for (int i = 0; i < 4; i++) {
        b->deltas[i] = NULL;
        if (s->adapters[i] && !(b->deltas[i] = fixture_delta(
                                    b->m, fixture_path("adapters/%s/%s", s->model, s->adapters[i]), &e)))
            fail_msg("%s: %s", s->adapters[i], e.message);
    }
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < 4; i++)
        delta_unref(b->deltas[i]);
    model_close(b->m);
}

/* Run `members` sequences together and keep the first. */
static void run_crowd(struct bench *b, int watched, int members, int threads, int chunk, struct run *kept)
{
    struct engine *g = fixture_engine(b->m, threads, chunk, CROWD);
    struct runs *all = runs_new();
    struct run *others = calloc((size_t)members, sizeof *others);
    int vocab = model_info(b->m)->vocab_size;
    int32_t prompt[PROMPT_MAX + 1];
    for (int i = members - 1; i >= 0; i--) { /* the watched one comes last, into a running batch */
        size_t count = make_prompt(i, vocab, prompt);
        run_submit(all, i == 0 ? kept : &others[i], g, b->deltas[(watched + i) % 4], prompt, count,
                   NEW_TOKENS, i == 0 || i % 3 == 0, NULL, (uint32_t)i);
    }
    runs_free(all);
    for (int i = 1; i < members; i++)
        run_fini(&others[i]);
    free(others);
    engine_free(g);
}

static void assert_same(const char *what, int detail, const struct run *a, const struct run *b)
{
    assert_int_equal(a->rows, b->rows);
    assert_int_equal(a->token_count, b->token_count);
    for (size_t i = 0; i < a->rows * a->vocab; i++)
        if (memcmp(&a->logits[i], &b->logits[i], sizeof(float)) != 0)
            fail_msg("%s %d: row %zu value %zu is %.9g alone and %.9g here", what, detail, i / a->vocab,
                     i % a->vocab, (double)a->logits[i], (double)b->logits[i]);
    assert_memory_equal(a->tokens, b->tokens, (size_t)a->token_count * sizeof *a->tokens);
}

static void compare(struct bench *b, const char *what, int detail, int watched, const struct run *alone,
                    int members, int threads, int chunk)
{
    struct run run = {0};
    run_crowd(b, watched, members, threads, chunk, &run);
    assert_same(what, detail, alone, &run);
    run_fini(&run);
}

static void check_subject(void **state)
{
    const struct subject *s = *state;
    static const int chunks[] = {1, 2, 3, 5, 7, 8, 13, 16, 17, 31, 32, 33, 37};
    struct bench b;
    open_bench(&b, s);
    for (int watched = 0; watched < 4 && (watched == 0 || s->adapters[watched] || watched == 3); watched++) {
        struct run alone = {0};
        run_crowd(&b, watched, 1, 1, 128, &alone);
        assert_int_equal(alone.token_count, NEW_TOKENS);
        for (int threads = 1; threads <= 3; threads++)
            compare(&b, "threads", threads, watched, &alone, 1, threads, 128);
        for (size_t i = 0; i < sizeof chunks / sizeof *chunks; i++)
            compare(&b, "chunk", chunks[i], watched, &alone, 1, 2, chunks[i]);
        compare(&b, "crowd, threads", 1, watched, &alone, CROWD, 1, 128);
        compare(&b, "crowd, threads", 2, watched, &alone, CROWD, 2, 128);
        compare(&b, "crowd, chunk", 5, watched, &alone, CROWD, 2, 5);
        run_fini(&alone);
    }
    close_bench(&b);
}

/* The numeric model: a row alone and among others. */
static void check_numeric(void **state)
{
    (void)state;
    struct err e;
    struct model *m = fixture_model(fixture_path("models/mlp"));
    struct delta *d = fixture_delta(m, fixture_path("adapters/mlp/r4"), &e);
    assert_non_null(d);
    enum { ROWS = 40 };
    size_t columns = (size_t)model_info(m)->input_size;
    float *input = calloc(ROWS * columns, sizeof *input);
    for (size_t i = 0; i < ROWS * columns; i++)
        input[i] = (float)((i * 7919) % 2001) / 1000.0f - 1.0f;
    for (int threads = 1; threads <= 2; threads++) {
        struct engine *g = fixture_engine(m, threads, threads == 1 ? 128 : 7, 8);
        struct runs *all = runs_new();
        struct run whole = {0}, one[ROWS] = {0};
        run_submit_rows(all, &whole, g, d, input, ROWS);
        for (size_t i = 0; i < ROWS; i++)
            run_submit_rows(all, &one[i], g, d, input + i * columns, 1);
        runs_free(all);
        for (size_t i = 0; i < ROWS; i++) {
            assert_memory_equal(one[i].logits, whole.logits + i * whole.vocab, whole.vocab * sizeof(float));
            run_fini(&one[i]);
        }
        run_fini(&whole);
        engine_free(g);
    }
    free(input);
    delta_unref(d);
    model_close(m);
}

int main(void)
{
    struct CMUnitTest tests[sizeof subjects / sizeof *subjects + 1];
    size_t count = 0;
    for (; count < sizeof subjects / sizeof *subjects; count++)
        tests[count] =
            (struct CMUnitTest){subjects[count].name, check_subject, NULL, NULL, (void *)&subjects[count]};
    tests[count] = (struct CMUnitTest)cmocka_unit_test(check_numeric);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
