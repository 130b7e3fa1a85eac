#include "tests/golden/train_job.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/peft/peft.h"
#include "adapters/training/lora_export.h"
#include "core/system/clock.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

/* ---- opening ---- */

const char *train_job_root(void)
{
    const char *root = getenv("ADAPTERD_TRAINING_JOBS");
    return root ? root : fixture_path("training");
}

static int open_file(const char *directory, const char *file)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("%s is not there", path);
    return fd;
}

static json_t *read_json(const char *directory, const char *file)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    return fixture_json(path);
}

static int pick(const json_t *o, const char *field, const char *const *names, int fallback)
{
    const char *value = json_string_value(json_object_get(o, field));
    for (int i = 0; value && names[i]; i++)
        if (strcmp(value, names[i]) == 0)
            return i;
    assert_null(value);
    return fallback;
}

static double number(const json_t *o, const char *field, double fallback)
{
    const json_t *value = json_object_get(o, field);
    return json_is_number(value) ? json_number_value(value) : fallback;
}

static struct train_options options_of(const json_t *o)
{
    static const char *const methods[] = {"supervised", "dpo", NULL},
                             *const schedules[] = {"constant", "linear", "cosine", NULL},
                             *const optimizers[] = {"adamw", "sgd", NULL},
                             *const losses[] = {"mse", "half_mse", "cross_entropy", NULL};
    return (struct train_options){
        .method = (enum train_method)pick(o, "method", methods, TRAIN_SUPERVISED),
        .schedule = (enum train_schedule)pick(o, "schedule", schedules, TRAIN_COSINE),
        .optimizer = (enum train_optimizer)pick(o, "optimizer", optimizers, TRAIN_ADAMW),
        .loss = (enum train_loss)pick(o, "loss", losses, TRAIN_MSE),
        .beta = number(o, "beta", 0.1),
        .learning_rate = number(o, "learning_rate", 2e-4),
        .weight_decay = number(o, "weight_decay", 0),
        .adam_beta1 = number(o, "adam_beta1", 0.9),
        .adam_beta2 = number(o, "adam_beta2", 0.999),
        .adam_epsilon = number(o, "adam_epsilon", 1e-8),
        .max_grad_norm = number(o, "max_grad_norm", 1),
        .warmup_steps = (int64_t)number(o, "warmup_steps", 0),
        .epochs = number(o, "n_epochs", 3),
        .max_steps = (int64_t)number(o, "max_steps", 0),
        .batch_size = (int)number(o, "batch_size", 16),
        .accumulation = (int)number(o, "gradient_accumulation_steps", 1),
        .shuffle = json_is_true(json_object_get(o, "shuffle")),
        .eval_on_start = true,
    };
}

static struct dataset *open_data(struct train_job *j, const char *file)
{
    struct err e;
    struct dataset *d = NULL;
    int fd = open_file(j->directory, file);
    const struct encode_options o = {
        .info = model_info(j->model), .method = j->options.method, .loss = j->options.loss};
    if (dataset_open(&d, fd, j->scratch, &o, NULL, &e) != 0)
        fail_msg("%s/%s: %s: %s", j->directory, file, e.code, e.message);
    close(fd);
    return d;
}

static struct lora_plan *open_plan(const struct train_job *j)
{
    struct err e;
    struct lora_plan *p;
    json_t *config = read_json(j->directory, "init/adapter_config.json");
    if (lora_plan_of_adapter(&p, j->model, config, &e) != 0)
        fail_msg("%s: %s: %s", j->directory, e.code, e.message);
    json_decref(config);
    return p;
}

void train_job_open(struct train_job *j, const char *name)
{
    *j = (struct train_job){.scratch = scratch_new()};
    snprintf(j->directory, sizeof j->directory, "%s/%s", train_job_root(), name);
    j->job = read_json(j->directory, "job.json");
    j->expected = read_json(j->directory, "expected.json");
    j->options = options_of(json_object_get(j->job, "training"));
    j->model = fixture_model(fixture_path("models/%s", json_string_value(json_object_get(j->job, "model"))));
    j->plan = open_plan(j);
    j->train = open_data(j, "train.jsonl");
    j->valid = open_data(j, "valid.jsonl");
}

void train_job_close(struct train_job *j)
{
    dataset_close(j->train);
    dataset_close(j->valid);
    lora_plan_free(j->plan);
    model_close(j->model);
    json_decref(j->job);
    json_decref(j->expected);
    scratch_remove(j->scratch);
}

void train_job_vary(struct train_job *j, const json_t *variant)
{
    j->options.batch_size = (int)number(variant, "batch_size", j->options.batch_size);
    j->options.accumulation = (int)number(variant, "gradient_accumulation_steps", j->options.accumulation);
}

/* ---- running ---- */

static int append(void *arg, const void *data, size_t length, struct err *e)
{
    return buf_append(arg, data, length) == 0 ? 0 : err_memory(e);
}

/* The adapter that the job goes on from. */
static struct train_params *first_params(const struct train_job *j)
{
    struct err e;
    struct peft *init = NULL;
    struct train_params *p = NULL;
    int config = open_file(j->directory, "init/adapter_config.json"),
        weights = open_file(j->directory, "init/adapter_model.safetensors");
    if (peft_load(&init, j->model, config, weights, PEFT_ALLOW_NO_EFFECT, &e) != 0 ||
        train_params_from(&p, j->model, &j->plan->peft.train, peft_source(init), &e) != 0)
        fail_msg("%s: %s: %s", j->directory, e.code, e.message);
    peft_free(init);
    close(config);
    close(weights);
    return p;
}

static struct trainer *start(const struct train_job *j)
{
    struct err e;
    struct trainer *t;
    if (trainer_new(&t, j->model, &j->options, first_params(j), &j->train->data, &j->valid->data, &e) != 0)
        fail_msg("%s: %s: %s", j->directory, e.code, e.message);
    return t;
}

struct course {
    const struct train_job *job;
    const struct train_job_way *way;
    struct train_job_result *out;
    struct trainer *trainer;
    struct train_pass *pass; /* NULL of a numeric base */
};

/* Another trainer goes on from what this one saves. */
static void die_and_live(struct course *r)
{
    struct err e;
    struct buf saved = {0};
    assert_true(trainer_can_save(r->trainer));
    assert_int_equal(trainer_save(r->trainer, append, &saved, &e), 0);
    trainer_free(r->trainer);
    r->trainer = start(r->job);
    if (trainer_restore(r->trainer, saved.data, saved.length, &e) != 0)
        fail_msg("%s: %s: %s", r->job->directory, e.code, e.message);
    buf_fini(&saved);
}

static void keep_gradients(struct course *r)
{
    struct err e;
    buf_clear(&r->out->gradients);
    assert_int_equal(lora_export_gradients(trainer_result(r->trainer), append, &r->out->gradients, &e), 0);
}

static int advance(struct course *r, struct train_report *report, struct err *e)
{
    struct train_example examples[TRAIN_PASS_EXAMPLES];
    if (!r->pass)
        return trainer_run_numeric(r->trainer, report, e);
    int max = r->way->examples ? r->way->examples : TRAIN_PASS_EXAMPLES,
        count = trainer_next(r->trainer, train_pass_tokens(r->pass), examples, max, e);
    if (count < 0)
        return -1;
    assert_true(count > 0);
    train_pass_run(r->pass, examples, count);
    if (trainer_step(r->trainer) == 0 && examples[0].params)
        keep_gradients(r);
    return trainer_give(r->trainer, examples, count, report, e);
}

static void keep_report(struct train_job_result *out, const struct train_report *report)
{
    if (report->kind == TRAIN_REPORT_EVALUATION && report->step == 0)
        out->before = report->loss;
    else if (report->kind == TRAIN_REPORT_EVALUATION)
        out->after = report->loss;
    else if (report->kind == TRAIN_REPORT_STEP && out->count < TRAIN_JOB_STEPS)
        out->steps[out->count++] = *report;
}

static void run_all(struct course *r)
{
    while (!trainer_is_done(r->trainer)) {
        struct train_report report;
        struct err e;
        if (advance(r, &report, &e) != 0)
            fail_msg("%s: %s: %s", r->job->directory, e.code, e.message);
        keep_report(r->out, &report);
        if (r->way->lives && report.kind != TRAIN_REPORT_NOTHING)
            die_and_live(r);
    }
}

void train_job_run(const struct train_job *j, const struct train_job_way *way, struct train_job_result *out)
{
    struct err e;
    struct pool *pool;
    struct course r = {.job = j, .way = way, .out = out, .trainer = start(j)};
    int longest =
        j->train->data.longest > j->valid->data.longest ? j->train->data.longest : j->valid->data.longest;
    *out = (struct train_job_result){.seconds = -clock_ms() / 1000};
    assert_int_equal(pool_new(&pool, way->threads, &e), 0);
    if (!model_info(j->model)->numeric &&
        train_pass_new(&r.pass, j->model, pool, NULL, way->tokens ? way->tokens : longest + 5, &e) != 0)
        fail_msg("%s: %s: %s", j->directory, e.code, e.message);
    run_all(&r);
    assert_int_equal(lora_export_weights(trainer_result(r.trainer), append, &out->weights, &e), 0);
    out->seconds += clock_ms() / 1000;
    train_pass_free(r.pass);
    trainer_free(r.trainer);
    pool_free(pool);
}

void train_job_result_fini(struct train_job_result *r)
{
    buf_fini(&r->weights);
    buf_fini(&r->gradients);
}
