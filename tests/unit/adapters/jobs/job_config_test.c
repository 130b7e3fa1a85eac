/* What a request for a job may say: every field, its bounds, what it is where nothing is said, and that what
 * is kept reads back as what was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/jobs/job_config.h"

#define FILES "\"model\": \"m\", \"training_file\": \"file-1\""

static int read_config(struct job_config *c, const char *text, struct err *e)
{
    json_error_t error;
    json_t *body = json_loads(text, 0, &error);
    if (!body)
        fail_msg("%s: %s", text, error.text);
    int result = job_config_read(c, body, e);
    json_decref(body);
    return result;
}

static struct job_config read_ok(const char *text)
{
    struct job_config c = {0};
    struct err e = {0};
    if (read_config(&c, text, &e) != 0)
        fail_msg("%s: %s: %s", text, e.code, e.message);
    return c;
}

static void the_defaults_are_those_of_the_field(void **state)
{
    (void)state;
    struct job_config c = read_ok("{" FILES "}");
    assert_true(c.training.learning_rate == 2e-4);
    assert_int_equal(c.training.schedule, TRAIN_COSINE);
    assert_true(c.training.warmup_ratio == 0.06);
    assert_true(c.training.max_grad_norm == 1);
    assert_true(c.training.shuffle && c.training.packing && c.activate);
    assert_false(c.seeded || c.lora);
    assert_string_equal(c.name, "");
    job_config_fini(&c);
}

static void few_lines_are_small_batches(void **state)
{
    (void)state;
    static const struct {
        size_t lines;
        int batch;
    } cases[] = {{1, 1}, {9, 1}, {25, 2}, {159, 15}, {160, 16}, {100000, 16}};
    struct job_config c = read_ok("{" FILES "}");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct train_options o;
        job_config_options(&c, 1, cases[i].lines, &o);
        assert_int_equal(o.batch_size, cases[i].batch);
        assert_true(o.epochs == JOB_EPOCHS_AUTO);
    }
    job_config_fini(&c);
}

/* Where a number can stand in more than one place, and which of them wins. */
static void numbers_have_one_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        double epochs;
        int batch;
        double rate;
    } cases[] = {
        {"{" FILES
         ", \"hyperparameters\": {\"n_epochs\": 2, \"batch_size\": 4, \"learning_rate_multiplier\": 0.5}}",
         2, 4, 1e-4},
        {"{" FILES
         ", \"method\": {\"type\": \"supervised\", \"supervised\": {\"hyperparameters\": {\"n_epochs\": 5,"
         " \"batch_size\": \"auto\", \"learning_rate_multiplier\": \"auto\"}}}}",
         5, 16, 2e-4},
        {"{" FILES
         ", \"hyperparameters\": {\"n_epochs\": 2, \"batch_size\": 4}, \"training\": {\"batch_size\": 8,"
         " \"n_epochs\": 1.5, \"learning_rate\": 0.01}}",
         1.5, 8, 0.01},
        {"{" FILES ", \"method\": {\"type\": \"supervised\"}, \"hyperparameters\": {\"n_epochs\": 7}}", 7, 16,
         2e-4},
        {"{" FILES
         ", \"training\": {\"batch_size\": 8.0, \"n_epochs\": null}, \"seed\": null, \"suffix\": null}",
         3, 8, 2e-4},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job_config c = read_ok(cases[i].text);
        struct train_options o;
        job_config_options(&c, 1, 1000, &o);
        assert_true(o.epochs == cases[i].epochs);
        assert_int_equal(o.batch_size, cases[i].batch);
        assert_true(o.learning_rate == cases[i].rate);
        job_config_fini(&c);
    }
}

static void preferences(void **state)
{
    (void)state;
    struct job_config c = read_ok(
        "{" FILES ", \"method\": {\"type\": \"dpo\", \"dpo\": {\"hyperparameters\": {\"beta\": 0.3}}}}");
    assert_int_equal(c.training.method, TRAIN_DPO);
    assert_true(c.training.beta == 0.3);
    job_config_fini(&c);
    c = read_ok("{" FILES ", \"training\": {\"method\": \"dpo\", \"beta\": 0.2}}");
    assert_int_equal(c.training.method, TRAIN_DPO);
    assert_true(c.training.beta == 0.2);
    job_config_fini(&c);
}

/* What is kept is a request that means the same. */
static void what_is_kept_reads_back(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "{" FILES "}",
        "{" FILES ", \"validation_file\": \"file-2\", \"suffix\": \"Support\", \"seed\": 7, \"metadata\": "
        "{\"a\": \"b\"},"
        " \"activate\": false, \"lora\": {\"r\": 4, \"rank_pattern\": {\"q_proj\": 8}, \"lora_dropout\": "
        "0.1},"
        " \"training\": {\"schedule\": \"linear\", \"warmup_steps\": 20, \"max_steps\": 100},"
        " \"method\": {\"type\": \"dpo\", \"dpo\": {\"hyperparameters\": {\"beta\": 0.5}}}}",
        "{" FILES ", \"lora\": null, \"modules_to_save\": [\"lm_head\"]}",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct job_config first = read_ok(texts[i]), second = {0};
        struct err e;
        char *text = json_dumps(first.json, JSON_COMPACT);
        assert_int_equal(job_config_parse(&second, text, strlen(text), &e), 0);
        assert_true(json_equal(first.json, second.json));
        assert_memory_equal(&first.training, &second.training, sizeof first.training);
        assert_true(first.seed == second.seed);
        assert_string_equal(first.name, second.name);
        free(text);
        job_config_fini(&first);
        job_config_fini(&second);
    }
}

static void what_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *code, *param;
    } cases[] = {
        {"{}", "missing_field", "model"},
        {"{\"model\": \"m\"}", "missing_field", "training_file"},
        {"{\"model\": 3, \"training_file\": \"f\"}", "invalid_type", "model"},
        {"{" FILES ", \"colour\": 1}", "unknown_field", "colour"},
        {"{" FILES ", \"suffix\": \"a b\"}", "invalid_name", "suffix"},
        {"{" FILES ", \"suffix\": \"\"}", "out_of_range", "suffix"},
        {"{" FILES ", \"seed\": -1}", "out_of_range", "seed"},
        {"{" FILES ", \"seed\": 1.5}", "invalid_type", "seed"},
        {"{" FILES ", \"metadata\": []}", "invalid_type", "metadata"},
        {"{" FILES ", \"metadata\": {\"a\": 1}}", "invalid_type", "metadata"},
        {"{" FILES ", \"integrations\": [{\"type\": \"wandb\", \"wandb\": {\"project\": \"p\"}}]}",
         "unsupported_value", "integrations"},
        {"{" FILES ", \"activate\": 1}", "invalid_type", "activate"},
        {"{" FILES ", \"lora\": 8}", "invalid_type", "lora"},
        {"{" FILES ", \"training\": 8}", "invalid_type", "training"},
        {"{" FILES ", \"training\": {\"lr\": 1}}", "unknown_field", "lr"},
        {"{" FILES ", \"training\": {\"learning_rate\": \"high\"}}", "invalid_type", "learning_rate"},
        {"{" FILES ", \"training\": {\"learning_rate\": -1}}", "out_of_range", "learning_rate"},
        {"{" FILES ", \"training\": {\"adam_beta2\": 1}}", "out_of_range", "adam_beta2"},
        {"{" FILES ", \"training\": {\"batch_size\": 0}}", "out_of_range", "batch_size"},
        {"{" FILES ", \"training\": {\"batch_size\": 1.5}}", "invalid_type", "batch_size"},
        {"{" FILES ", \"training\": {\"max_steps\": 99999999}}", "out_of_range", "max_steps"},
        {"{" FILES ", \"training\": {\"schedule\": \"step\"}}", "unsupported_value", "schedule"},
        {"{" FILES ", \"training\": {\"shuffle\": 1}}", "invalid_type", "shuffle"},
        {"{" FILES ", \"training\": {\"learning_rate\": null}}", "invalid_type", "learning_rate"},
        {"{" FILES ", \"hyperparameters\": {\"epochs\": 1}}", "unknown_field", "epochs"},
        {"{" FILES ", \"hyperparameters\": {\"n_epochs\": \"many\"}}", "invalid_type", "n_epochs"},
        {"{" FILES ", \"hyperparameters\": {\"beta\": 0.1}}", "field_conflict", "beta"},
        {"{" FILES ", \"method\": {}}", "missing_field", "method.type"},
        {"{" FILES ", \"method\": {\"type\": \"reinforcement\"}}", "unsupported_value", "method.type"},
        {"{" FILES ", \"method\": {\"type\": \"dpo\", \"supervised\": {}}}", "field_conflict", "method"},
        {"{" FILES ", \"method\": {\"type\": \"dpo\", \"dpo\": {\"hyperparameters\": {\"n_epochs\": 1}}},"
         " \"hyperparameters\": {\"n_epochs\": 2}}",
         "field_conflict", "hyperparameters"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct job_config c = {0};
        struct err e = {0};
        if (read_config(&c, cases[i].text, &e) == 0)
            fail_msg("%s was taken", cases[i].text);
        assert_string_equal(e.code, cases[i].code);
        assert_string_equal(e.param, cases[i].param);
        assert_null(c.json);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_defaults_are_those_of_the_field),
        cmocka_unit_test(few_lines_are_small_batches),
        cmocka_unit_test(numbers_have_one_value),
        cmocka_unit_test(preferences),
        cmocka_unit_test(what_is_kept_reads_back),
        cmocka_unit_test(what_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
