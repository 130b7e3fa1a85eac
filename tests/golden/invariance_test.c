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

enum { CROWD = 16, NEW_TOKENS = 12, PROMPT_MAX = 90, KINDS = 12 };

struct subject {
    const char *name;
    enum precision precision;
    const char *model;
    const char *adapters[KINDS]; /* the bare base is a member of every crowd, too */
};

#define IN_EVERY_PRECISION(MODEL, ...)                       \
    {MODEL " exact", PRECISION_EXACT, MODEL, __VA_ARGS__},   \
        {MODEL " int8", PRECISION_INT8, MODEL, __VA_ARGS__}, \
    {                                                        \
        MODEL " int4", PRECISION_INT4, MODEL, __VA_ARGS__    \
    }

/* Every kind of adapter that there is for a model; "a+b" is a combination. */
static const struct subject subjects[] = {
    IN_EVERY_PRECISION("llama",
                       {"r8-all", "r24-odd", "lm-head", "dora", "embed", "save-head", "save-embed-norm",
                        "save-only-attn-norm", "r8-all+patterns", "r4-qv+r4-qv", "tokens-both"}),
    IN_EVERY_PRECISION("llama3-rope", {"r8-all"}),
    IN_EVERY_PRECISION("mistral", {"r8-all"}),
    IN_EVERY_PRECISION("mistral-window", {"r8-all"}),
    IN_EVERY_PRECISION("qwen2",
                       {"r8-all", "bias-all", "bias-lora-only", "dora-bias", "tied-embed", "tied-head",
                        "tied-save-embed", "tied-save-head", "tied-lora", "tokens-tied-head"}),
    IN_EVERY_PRECISION("qwen2-window", {"r8-all"}),
    IN_EVERY_PRECISION("qwen3", {"r8-all"}),
    IN_EVERY_PRECISION("starcoder2", {"r8-all", "save-norms"}),
    IN_EVERY_PRECISION("granite", {"r8-all"}),
    IN_EVERY_PRECISION("smollm3", {"r8-all"}),
    IN_EVERY_PRECISION("stablelm", {"r8-all"}),
    IN_EVERY_PRECISION("llama-yarn", {"r8-all"}),
    IN_EVERY_PRECISION("llama-dynamic", {"r8-all"}),
    IN_EVERY_PRECISION("gemma2", {"r8-all", "save-norms"}),
    IN_EVERY_PRECISION("gemma3", {"r8-all", "save-qk-norm"}),
    IN_EVERY_PRECISION("phi3", {"patterns"}),
    IN_EVERY_PRECISION("phi3-longrope", {"r8-all"}),
    IN_EVERY_PRECISION("phi", {"r8-all", "save-head-norm"}),
    IN_EVERY_PRECISION("olmo2", {"r8-all", "save-qk-norm"}),
    IN_EVERY_PRECISION("exaone4", {"r8-all", "save-post-norms"}),
    IN_EVERY_PRECISION("glm4", {"r8-all", "save-post-norms"}),
    IN_EVERY_PRECISION("ministral3", {"r8-all"}),
    IN_EVERY_PRECISION("gpt2", {"r8-conv1d", "r4-attn", "wte"}),
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
    struct delta *deltas[KINDS + 1]; /* [count]; the last is NULL: the bare base */
    int count;
};

static struct delta *open_delta(const struct model *m, const struct subject *s, const char *name)
{
    const char *plus = strchr(name, '+');
    json_t *adapter = !plus ? json_string(name)
                            : json_pack("[{s:s%, s:f}, {s:s, s:f}]", "adapter", name, (size_t)(plus - name),
                                        "scale", 0.7, "adapter", plus + 1, "scale", -0.5);
    struct err e;
    struct delta *d = fixture_named_delta(m, s->model, adapter, &e);
    if (!d)
        fail_msg("%s: %s", name, e.message);
    json_decref(adapter);
    return d;
}

static void open_bench(struct bench *b, const struct subject *s)
{
    memset(b, 0, sizeof *b);
    fixture_precision = s->precision;
    b->m = fixture_model(fixture_path("models/%s", s->model));
    fixture_precision = PRECISION_EXACT;
    while (s->adapters[b->count]) {
        b->deltas[b->count] = open_delta(b->m, s, s->adapters[b->count]);
        b->count++;
    }
    b->count++;
}

static void close_bench(struct bench *b)
{
    for (int i = 0; i < b->count; i++)
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
        run_submit(all, i == 0 ? kept : &others[i], g, b->deltas[(watched + i) % b->count], prompt, count,
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
    for (int watched = 0; watched < b.count; watched++) {
        struct run alone = {0};
        run_crowd(&b, watched, 1, 1, 128, &alone);
        assert_int_equal(alone.token_count, NEW_TOKENS);
        for (int threads = 1; threads <= 3; threads++)
            compare(&b, "threads", threads, watched, &alone, 1, threads, 128);
        for (size_t i = watched ? 4 : 0; i < sizeof chunks / sizeof *chunks; i += watched ? 4 : 1)
            compare(&b, "chunk", chunks[i], watched, &alone, 1, 2, chunks[i]);
        compare(&b, "crowd, threads", 1, watched, &alone, CROWD, 1, 128);
        compare(&b, "crowd, threads", 2, watched, &alone, CROWD, 2, 128);
        compare(&b, "crowd, chunk", 5, watched, &alone, CROWD, 2, 5);
        run_fini(&alone);
    }
    close_bench(&b);
}

/* The numeric model: a row alone and among others, some of other adapters. */
static void check_numeric(void **state)
{
    static const char *const adapters[] = {"r4", "head"};
    struct err e;
    struct model *m = fixture_model(fixture_path("models/mlp"));
    struct delta *d[3] = {NULL};
    (void)state;
    for (int i = 0; i < 2; i++)
        assert_non_null(d[i] = fixture_delta(m, fixture_path("adapters/mlp/%s", adapters[i]), &e));
    enum { ROWS = 40 };
    size_t columns = (size_t)model_info(m)->input_size;
    float *input = calloc(ROWS * columns, sizeof *input);
    for (size_t i = 0; i < ROWS * columns; i++)
        input[i] = (float)((i * 7919) % 2001) / 1000.0f - 1.0f;
    for (int threads = 1; threads <= 2; threads++) {
        struct engine *g = fixture_engine(m, threads, threads == 1 ? 128 : 7, 8);
        struct runs *all = runs_new();
        static struct run whole[3], one[3][ROWS];
        memset(whole, 0, sizeof whole);
        memset(one, 0, sizeof one);
        for (int k = 0; k < 3; k++)
            run_submit_rows(all, &whole[k], g, d[k], input, ROWS);
        for (size_t i = 0; i < ROWS; i++)
            for (int k = 0; k < 3; k++)
                run_submit_rows(all, &one[k][i], g, d[k], input + i * columns, 1);
        runs_free(all);
        for (int k = 0; k < 3; k++) {
            for (size_t i = 0; i < ROWS; i++) {
                assert_memory_equal(one[k][i].logits, whole[k].logits + i * whole[k].vocab,
                                    whole[k].vocab * sizeof(float));
                run_fini(&one[k][i]);
            }
            run_fini(&whole[k]);
        }
        engine_free(g);
    }
    free(input);
    for (int k = 0; k < 3; k++)
        delta_unref(d[k]);
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
