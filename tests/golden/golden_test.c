/* Logits and greedy tokens of every model and adapter against transformers + PEFT in float32. */
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
#include "tests/golden/fixture.h"

static const double tolerance = 2e-4, logprob_tolerance = 1e-3, gap_decided = 1e-3;

static void check_logits(const char *where, const float *found, const float *expected, size_t count,
                         double *worst)
{
    for (size_t i = 0; i < count; i++) {
        double allowed = tolerance + tolerance * fabs((double)expected[i]);
        double error = fabs((double)found[i] - (double)expected[i]);
        *worst = error > *worst ? error : *worst;
        if (!(error <= allowed))
            fail_msg("%s: value %zu is %g, expected %g", where, i, (double)found[i], (double)expected[i]);
    }
}

static float *read_expected(int fd, const struct safetensors *file, const char *key, size_t *rows)
{
    struct err e;
    const struct tensor *t = safetensors_find(file, key);
    assert_non_null(t);
    float *values = calloc((size_t)tensor_elements(t), sizeof *values);
    assert_int_equal(safetensors_read(fd, t, values, 0, &e), 0);
    *rows = (size_t)t->shape[0];
    return values;
}

struct suite {
    const char *name;
    struct model *m;
    struct engine *g;
    struct safetensors *expected;
    int fd;
    double worst;
    int checked;
};

/* log p of each token of the prompt but the first. */
static void check_logprobs(struct suite *s, const json_t *c, const char *where, const struct run *run,
                           const int32_t *tokens)
{
    size_t rows;
    float *expected =
        read_expected(s->fd, s->expected, json_string_value(json_object_get(c, "prompt_logprobs")), &rows);
    for (size_t i = 0; i + 1 < run->rows; i++) {
        const float *logits = run->logits + i * run->vocab;
        double sum = 0;
        for (size_t k = 0; k < run->vocab; k++)
            sum += exp((double)logits[k]);
        double error = fabs((double)logits[tokens[i + 1]] - log(sum) - (double)expected[i]);
        if (!(error <= logprob_tolerance))
            fail_msg("%s: log p of token %zu is off by %g", where, i + 1, error);
    }
    free(expected);
}

static void check_case(struct suite *s, const json_t *c, struct delta *d)
{
    size_t count, rows, wanted;
    int32_t *tokens = json_ids(json_object_get(c, "prompt_tokens"), &count);
    const json_t *longer = json_object_get(c, "greedy_24");
    int32_t *greedy = json_ids(longer ? longer : json_object_get(c, "greedy_16"), &wanted);
    const char *id = json_string_value(json_object_get(c, "id"));
    float *expected =
        read_expected(s->fd, s->expected, json_string_value(json_object_get(c, "logits")), &rows);
    struct runs *all = runs_new();
    struct run run = {0};
    run_submit(all, &run, s->g, d, tokens, count, (int)wanted, true, NULL, 1);
    runs_wait(all);
    char where[128];
    snprintf(where, sizeof where, "%s %s", s->name, id);
    check_logits(where, run.logits + (count - rows) * run.vocab, expected, rows * run.vocab, &s->worst);
    if (json_object_get(c, "prompt_logprobs"))
        check_logprobs(s, c, where, &run, tokens);
    if (json_number_value(json_object_get(c, "smallest_top2_gap")) > gap_decided) {
        assert_int_equal(run.token_count, wanted);
        for (size_t i = 0; i < wanted; i++)
            if (run.tokens[i] != greedy[i])
                fail_msg("%s: token %zu is %d, expected %d", where, i, run.tokens[i], greedy[i]);
    }
    run_fini(&run);
    runs_free(all);
    free(tokens);
    free(greedy);
    free(expected);
    s->checked++;
}

static void check_adapter(struct suite *s, const json_t *c)
{
    struct err e = {0};
    const json_t *adapter = json_object_get(c, "adapter");
    struct delta *d = json_is_null(adapter) ? NULL : fixture_named_delta(s->m, s->name, adapter, &e);
    if (!d && !json_is_null(adapter))
        fail_msg("%s: %s: %s", json_string_value(json_object_get(c, "id")), e.code, e.message);
    check_case(s, c, d);
    delta_unref(d);
}

static void check_model(void **state)
{
    struct suite s = {.name = *state};
    struct err e;
    size_t i;
    json_t *cases = fixture_json(fixture_path("cases/%s.json", s.name)), *c;
    s.m = fixture_model(fixture_path("models/%s", s.name));
    s.g = fixture_engine(s.m, 2, 0, 8);
    s.fd = open(fixture_path("expected/%s.safetensors", s.name), O_RDONLY);
    assert_int_equal(safetensors_open(&s.expected, s.fd, 1 << 20, &e), 0);
    json_array_foreach(cases, i, c) check_adapter(&s, c);
    printf("%s: %d cases, largest error %.2g\n", s.name, s.checked, s.worst);
    assert_true(s.checked > 0);
    safetensors_close(s.expected);
    close(s.fd);
    engine_free(s.g);
    model_close(s.m);
    json_decref(cases);
}

static float *json_rows(const json_t *rows, size_t *count, size_t *columns)
{
    *count = json_array_size(rows);
    *columns = json_array_size(json_array_get(rows, 0));
    float *values = calloc(*count * *columns, sizeof *values);
    for (size_t i = 0; i < *count * *columns; i++)
        values[i] =
            (float)json_number_value(json_array_get(json_array_get(rows, i / *columns), i % *columns));
    return values;
}

static void check_mlp(void **state)
{
    (void)state;
    struct model *m = fixture_model(fixture_path("models/mlp"));
    struct engine *g = fixture_engine(m, 2, 0, 8);
    json_t *cases = fixture_json(fixture_path("cases/mlp.json")), *c;
    size_t i;
    double worst = 0;
    json_array_foreach(cases, i, c)
    {
        size_t rows, columns, output_rows, outputs;
        const char *adapter = json_string_value(json_object_get(c, "adapter"));
        struct err e = {0};
        struct delta *d = adapter ? fixture_delta(m, fixture_path("adapters/mlp/%s", adapter), &e) : NULL;
        if (adapter && !d)
            fail_msg("%s: %s", adapter, e.message);
        float *input = json_rows(json_object_get(c, "input"), &rows, &columns);
        float *output = json_rows(json_object_get(c, "output"), &output_rows, &outputs);
        struct runs *all = runs_new();
        struct run run = {0};
        run_submit_rows(all, &run, g, d, input, rows);
        runs_wait(all);
        check_logits(adapter ? adapter : "base", run.logits, output, output_rows * outputs, &worst);
        run_fini(&run);
        runs_free(all);
        delta_unref(d);
        free(input);
        free(output);
    }
    printf("mlp: largest error %.2g\n", worst);
    engine_free(g);
    model_close(m);
    json_decref(cases);
}

#define MODEL(NAME)                                             \
    {                                                           \
        "golden " NAME, check_model, NULL, NULL, (void *)(NAME) \
    }

/* With names: those models alone, of ADAPTERD_FIXTURES. */
int main(int count, char **names)
{
    for (int i = 1; i < count; i++) {
        const struct CMUnitTest one[] = {{names[i], check_model, NULL, NULL, names[i]}};
        if (cmocka_run_group_tests_name(names[i], one, NULL, NULL) != 0)
            return 1;
    }
    if (count > 1)
        return 0;
    const struct CMUnitTest tests[] = {
        MODEL("llama"),          MODEL("llama3-rope"),   MODEL("mistral"),
        MODEL("mistral-window"), MODEL("qwen2"),         MODEL("qwen2-window"),
        MODEL("qwen3"),          MODEL("gpt2"),          MODEL("starcoder2"),
        MODEL("granite"),        MODEL("smollm3"),       MODEL("stablelm"),
        MODEL("ministral"),      MODEL("llama-linear"),  MODEL("llama-yarn"),
        MODEL("qwen3-yarn"),     MODEL("gemma2"),        MODEL("gemma3"),
        MODEL("phi3"),           MODEL("phi3-longrope"), MODEL("phi"),
        MODEL("olmo2"),          MODEL("exaone4"),       MODEL("glm4"),
        MODEL("ministral3"),     MODEL("llama-dynamic"), cmocka_unit_test(check_mlp)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
