/* What heads say of texts and tokens, against transformers and PEFT in float32; and the same bits in every
 * crowd and with every cut of the prompt. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/format/safetensors.h"
#include "core/head/head.h"
#include "tests/golden/fixture.h"

static const double tolerance = 1e-4;
enum { CASES_MAX = 32, ROUNDS = 2 };

struct suite {
    const char *name;
    struct model *m;
    struct safetensors *expected;
    int fd;
    double worst;
};

struct task {
    int32_t *tokens;
    size_t count, rows; /* rows: of its scores */
    struct delta *delta;
    const struct head *head;
    float *scores; /* [rows, labels], alone */
};

static void check_scores(struct suite *s, const json_t *c, const struct task *t)
{
    struct err e;
    const char *key = json_string_value(json_object_get(c, "logits"));
    const struct tensor *wanted = safetensors_find(s->expected, key);
    size_t count = t->rows * (size_t)t->head->labels;
    assert_non_null(wanted);
    assert_int_equal(tensor_elements(wanted), count);
    float *expected = calloc(count, sizeof *expected);
    assert_int_equal(safetensors_read(s->fd, wanted, expected, 0, &e), 0);
    for (size_t i = 0; i < count; i++) {
        double error = fabs((double)t->scores[i] - (double)expected[i]),
               allowed = tolerance * (1 + fabs((double)expected[i]));
        s->worst = error > s->worst ? error : s->worst;
        if (!(error <= allowed))
            fail_msg("%s %s: score %zu is %g, expected %g", s->name, key, i, (double)t->scores[i],
                     (double)expected[i]);
    }
    free(expected);
}

static void check_names(const json_t *c, const struct head *h)
{
    const json_t *labels = json_object_get(c, "labels");
    assert_int_equal(json_array_size(labels), h->labels);
    for (int i = 0; i < h->labels; i++)
        assert_string_equal(h->names[i], json_string_value(json_array_get(labels, (size_t)i)));
}

/* As a text's padding is cut off by who asks. */
static size_t without_padding(const json_t *c, const struct head *h, const int32_t *tokens, size_t count)
{
    const json_t *pad = json_object_get(c, "pad");
    while (h->kind == HEAD_TEXT && json_is_integer(pad) && count > 1 &&
           tokens[count - 1] == json_integer_value(pad))
        count--;
    return count;
}

static float *run_in(struct engine *g, const struct task *t, struct runs *all, struct run *run)
{
    float *scores = calloc(t->rows * (size_t)t->head->labels, sizeof *scores);
    run_submit_scores(all, run, g, t->delta, t->tokens, t->count,
                      t->head->kind == HEAD_TEXT ? ENGINE_STATES_LAST : ENGINE_STATES_ALL, scores);
    return scores;
}

static struct task open_task(const struct suite *s, const json_t *c)
{
    struct err e = {0};
    struct task t = {0};
    const char *adapter = json_string_value(json_object_get(c, "adapter"));
    t.delta = adapter ? fixture_delta(s->m, fixture_path("%s", adapter), &e) : NULL;
    if (adapter && !t.delta)
        fail_msg("%s: %s: %s", adapter, e.code, e.message);
    t.head = delta_head(t.delta, s->m);
    assert_non_null(t.head);
    assert_int_equal(t.head->kind == HEAD_TEXT,
                     strcmp(json_string_value(json_object_get(c, "task")), "SEQ_CLS") == 0);
    t.tokens = json_ids(json_object_get(c, "prompt_tokens"), &t.count);
    t.count = without_padding(c, t.head, t.tokens, t.count);
    t.rows = t.head->kind == HEAD_TEXT ? 1 : t.count;
    return t;
}

static void run_alone(struct engine *g, struct task *t)
{
    struct runs *all = runs_new();
    struct run run = {0};
    t->scores = run_in(g, t, all, &run);
    runs_wait(all);
    run_fini(&run);
    runs_free(all);
}

/* All of them at once, twice, beside text that is generated. */
static void check_crowd(const struct suite *s, const struct task *t, size_t count, int threads, int chunk)
{
    struct engine *g = fixture_engine(s->m, threads, chunk, 16);
    struct runs *all = runs_new();
    struct run runs[ROUNDS * CASES_MAX] = {0}, text = {0};
    float *scores[ROUNDS * CASES_MAX];
    bool generates = model_info(s->m)->generates;
    for (size_t i = 0; i < ROUNDS * count; i++)
        scores[i] = run_in(g, &t[i % count], all, &runs[i]);
    if (generates)
        run_submit(all, &text, g, t[0].delta, t[0].tokens, t[0].count, 5, false, NULL, 2);
    runs_wait(all);
    for (size_t i = 0; i < ROUNDS * count; i++) {
        const struct task *alone = &t[i % count];
        assert_memory_equal(scores[i], alone->scores,
                            alone->rows * (size_t)alone->head->labels * sizeof *scores[i]);
        run_fini(&runs[i]);
        free(scores[i]);
    }
    run_fini(&text);
    runs_free(all);
    engine_free(g);
}

static void check_tasks(struct suite *s, const json_t *cases, bool golden)
{
    struct task tasks[CASES_MAX];
    size_t i, count = json_array_size(cases);
    json_t *c;
    struct engine *g = fixture_engine(s->m, 1, 0, 1);
    assert_in_range(count, 1, CASES_MAX);
    json_array_foreach((json_t *)cases, i, c)
    {
        tasks[i] = open_task(s, c);
        run_alone(g, &tasks[i]);
        check_names(c, tasks[i].head);
        if (golden)
            check_scores(s, c, &tasks[i]);
    }
    engine_free(g);
    check_crowd(s, tasks, count, 2, 0);
    check_crowd(s, tasks, count, 3, 7);
    for (i = 0; i < count; i++) {
        free(tasks[i].tokens);
        free(tasks[i].scores);
        delta_unref(tasks[i].delta);
    }
}

static void check_model(void **state)
{
    static const enum precision precisions[] = {PRECISION_EXACT, PRECISION_INT8};
    struct suite s = {.name = *state};
    struct err e;
    json_t *cases = fixture_json(fixture_path("classify/%s.json", s.name));
    s.fd = open(fixture_path("expected/%s.classify.safetensors", s.name), O_RDONLY);
    assert_int_equal(safetensors_open(&s.expected, s.fd, 1 << 20, &e), 0);
    for (size_t i = 0; i < sizeof precisions / sizeof *precisions; i++) {
        fixture_precision = precisions[i];
        s.m = fixture_model(fixture_path("models/%s", s.name));
        check_tasks(&s, cases, precisions[i] == PRECISION_EXACT);
        model_close(s.m);
    }
    fixture_precision = PRECISION_EXACT;
    printf("%s: %zu cases, largest error %.2g\n", s.name, json_array_size(cases), s.worst);
    safetensors_close(s.expected);
    close(s.fd);
    json_decref(cases);
}

/* ---- what the numbers mean ---- */

static void probabilities(void **state)
{
    (void)state;
    static const struct {
        int labels;
        const char *config;
        float scores[3], wanted[3];
    } cases[] = {
        {3, "{}", {1, 1, 1}, {1 / 3.0f, 1 / 3.0f, 1 / 3.0f}},
        {2, "{}", {1000, -1000}, {1, 0}},
        {2, "{\"problem_type\":null}", {0, 0}, {0.5f, 0.5f}},
        {1, "{}", {0}, {0.5f}},
        {1, "{\"problem_type\":\"single_label_classification\"}", {0}, {0.5f}},
        {2, "{\"problem_type\":\"multi_label_classification\"}", {0, 1000}, {0.5f, 1}},
        {2, "{\"problem_type\":\"regression\"}", {-3, 7}, {-3, 7}},
        {1, "{\"problem_type\":\"regression\",\"id2label\":{\"0\":\"stars\"}}", {4.5f}, {4.5f}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head *h;
        struct err e;
        float found[3];
        json_t *config = json_loads(cases[i].config, 0, NULL);
        assert_int_equal(head_new(&h, HEAD_TEXT, cases[i].labels, 1, false, &e), 0);
        assert_int_equal(head_describe(h, config, "c", "malformed", &e), 0);
        head_probabilities(h, cases[i].scores, found);
        for (int k = 0; k < cases[i].labels; k++)
            assert_true(fabsf(found[k] - cases[i].wanted[k]) < 1e-6f);
        head_unref(h);
        json_decref(config);
    }
}

static void bad_descriptions(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "{\"id2label\":[\"a\",\"b\"]}",
        "{\"id2label\":{\"0\":\"a\"}}",
        "{\"id2label\":{\"0\":\"a\",\"2\":\"b\"}}",
        "{\"id2label\":{\"0\":\"a\",\"1\":\"b\",\"2\":\"c\"}}",
        "{\"id2label\":{\"0\":\"a\",\"1\":5}}",
        "{\"id2label\":{\"0\":\"a\",\"1\":\"b\\u0000c\"}}",
        "{\"problem_type\":\"guessing\"}",
        "{\"problem_type\":1}",
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct head *h;
        struct err e;
        json_t *config = json_loads(cases[i], JSON_ALLOW_NUL, NULL);
        assert_non_null(config);
        assert_int_equal(head_new(&h, HEAD_TEXT, 2, 1, false, &e), 0);
        if (head_describe(h, config, "c", "malformed", &e) == 0)
            fail_msg("%s was accepted", cases[i]);
        assert_string_equal(e.code, "malformed");
        assert_string_not_equal(e.param, "");
        head_unref(h);
        json_decref(config);
    }
}

#define MODEL(NAME)                                            \
    {                                                          \
        "heads " NAME, check_model, NULL, NULL, (void *)(NAME) \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        MODEL("llama"),
        MODEL("gpt2"),
        MODEL("qwen2"),
        MODEL("llama-tags"),
        MODEL("gpt2-labels"),
        MODEL("gpt2-tags"),
        cmocka_unit_test(probabilities),
        cmocka_unit_test(bad_descriptions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
