/* adapterctl train: from a file of examples to an adapter that is served. */
#include <stdlib.h>
#include <string.h>

#include "cli/lib/path.h"
#include "cli/training/compare.h"
#include "cli/training/follow.h"
#include "cli/training/train_request.h"
#include "cli/training/training.h"

struct inputs { /* files of the daemon's; owned */
    char *training, *validation;
    bool sent[2];
};

static void inputs_fini(struct inputs *f)
{
    free(f->training);
    free(f->validation);
}

static int send_inputs(struct context *c, const struct args *a, struct inputs *f, json_t *request,
                       struct err *e)
{
    const char *tenant = args_get(a, "--tenant"), *valid = args_get(a, "--valid");
    if (files_have(c, a->operand[0], tenant, &f->training, &f->sent[0], e) != 0 ||
        (valid && files_have(c, valid, tenant, &f->validation, &f->sent[1], e) != 0))
        return -1;
    if (json_object_set_new(request, "training_file", json_string(f->training)) != 0 ||
        (valid && json_object_set_new(request, "validation_file", json_string(f->validation)) != 0))
        return err_memory(e);
    return 0;
}

/* ---- what it would take ---- */

static void add_duration(struct table *t, double seconds)
{
    char text[64];
    if (seconds < 120)
        snprintf(text, sizeof text, "%.0f s", seconds);
    else
        snprintf(text, sizeof text, "%.0f min", seconds / 60);
    table_add(t, text);
}

static int print_estimate(const json_t *estimate, struct err *e)
{
    static const char *const names[] = {"examples", "tokens",         "target_tokens",
                                        "steps",    "trained_tokens", "trainable_parameters"};
    struct table t;
    table_init(&t, "");
    t.columns = 2;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        table_add(&t, names[i]);
        table_add_member(&t, estimate, names[i]);
    }
    table_add(&t, "memory");
    table_add_bytes(&t, estimate, "memory_bytes");
    table_add(&t, "time");
    add_duration(&t, json_number_value(json_object_get(estimate, "seconds")));
    return table_print(&t, e);
}

/* What was sent for it alone goes again. */
static int drop_inputs(struct context *c, const struct args *a, const struct inputs *f, struct err *e)
{
    const char *tenant = args_get(a, "--tenant");
    if (f->sent[0] && files_drop(c, f->training, tenant, e) != 0)
        return -1;
    return f->sent[1] ? files_drop(c, f->validation, tenant, e) : 0;
}

static int dry_run(struct context *c, const json_t *request, struct err *e)
{
    struct answer answer;
    if (client_call_long(c->client, "POST", "/train/estimate", request, &answer, e) != 0)
        return -1;
    int result = 0;
    if (c->json)
        print_answer(&answer);
    else
        result = print_estimate(answer.json, e);
    answer_fini(&answer);
    return result;
}

/* ---- the job ---- */

static void add_change(struct table *t, const char *title, const struct curve *c)
{
    char text[64];
    if (c->count == 0)
        return;
    if (c->count == 1)
        snprintf(text, sizeof text, "%.4f", c->points[0].loss);
    else
        snprintf(text, sizeof text, "%.4f to %.4f", c->points[0].loss, c->points[c->count - 1].loss);
    table_add(t, title);
    table_add(t, text);
}

static int print_job(const struct follow *f, const json_t *job, struct err *e)
{
    struct table t;
    char text[32];
    double seconds = json_number_value(json_object_get(job, "finished_at")) -
                     json_number_value(json_object_get(job, "started_at"));
    table_init(&t, "");
    t.columns = 2;
    table_add(&t, "adapter");
    table_add_member(&t, job, "fine_tuned_model");
    table_add(&t, "version");
    table_add_member(&t, job, "version");
    table_add(&t, "job");
    table_add_member(&t, job, "id");
    table_add(&t, "steps");
    table_add_member(&t, job, "step");
    table_add(&t, "trained tokens");
    table_add_member(&t, job, "trained_tokens");
    add_change(&t, "training loss", &f->training);
    add_change(&t, "validation loss", &f->validation);
    if (f->accuracy >= 0) {
        snprintf(text, sizeof text, "%.1f %%", 100 * f->accuracy);
        table_add(&t, "validation tokens right");
        table_add(&t, text);
    }
    table_add(&t, "time");
    add_duration(&t, seconds);
    return table_print(&t, e);
}

static int job_failed(struct context *c, const json_t *job, struct err *e)
{
    const json_t *error = json_object_get(job, "error");
    const char *status = json_string_value(json_object_get(job, "status"));
    if (json_is_object(error))
        return client_refusal(c->client, error, e);
    return err_set(e, "job_not_done", "the job is %.32s", status ? status : "not done");
}

static int show_result(struct follow *f, const json_t *job, struct err *e)
{
    const char *status = json_string_value(json_object_get(job, "status"));
    const char *name = json_string_value(json_object_get(job, "fine_tuned_model"));
    int width = curve_terminal_width();
    if (!status || strcmp(status, "succeeded") != 0)
        return job_failed(f->context, job, e);
    if (f->context->json)
        return print_json(job, e);
    curve_print(stdout, &f->training, &f->validation, width);
    if (print_job(f, job, e) != 0)
        return -1;
    compare_print(stdout, f->samples, name ? name : "adapter", width);
    return 0;
}

static int follow(struct context *c, const struct args *a, const char *id, struct err *e)
{
    json_t *job = NULL;
    struct follow f = {.context = c, .job = id, .tenant = args_get(a, "--tenant")};
    int result = follow_run(&f, &job, e);
    if (result == 0)
        result = show_result(&f, job, e);
    json_decref(job);
    follow_fini(&f);
    return result;
}

static int start(struct context *c, const struct args *a, const json_t *request, struct err *e)
{
    struct answer answer;
    if (client_call_long(c->client, "POST", "/v1/fine_tuning/jobs", request, &answer, e) != 0)
        return -1;
    const char *id = json_string_value(json_object_get(answer.json, "id"));
    int result = 0;
    if (!id)
        result = err_set(e, "not_adapterd", "the new job has no id");
    else if (!args_get(a, "--detach"))
        result = follow(c, a, id, e);
    else if (c->json)
        print_answer(&answer);
    else
        printf("%s\n", id);
    answer_fini(&answer);
    return result;
}

/* ---- the command ---- */

/* With examples to measure with, their loss before the first step shows what was learnt. */
static int measure_before(json_t *request, struct err *e)
{
    json_t *training = json_object_get(request, "training");
    if (!training && json_object_set_new(request, "training", training = json_object()) != 0)
        return err_memory(e);
    if (json_object_get(training, "eval_on_start"))
        return 0;
    return json_object_set_new(training, "eval_on_start", json_true()) == 0 ? 0 : err_memory(e);
}

static int train(struct context *c, const struct args *a, json_t *request, struct err *e)
{
    struct inputs f = {0};
    int result = send_inputs(c, a, &f, request, e);
    if (result == 0 && f.validation)
        result = measure_before(request, e);
    if (result == 0 && args_get(a, "--dry-run")) {
        struct err dropped;
        result = dry_run(c, request, e);
        if (drop_inputs(c, a, &f, &dropped) != 0 && result == 0)
            result = -1, *e = dropped;
    } else if (result == 0) {
        result = args_get(a, "--sweep") ? sweep_run(c, a, request, args_get(a, "--valid"), e)
                                        : start(c, a, request, e);
    }
    inputs_fini(&f);
    return result;
}

static int check_options(const struct args *a, struct err *e)
{
    if (!args_get(a, "--name"))
        return err_set(e, "usage", "name the adapter: --name NAME");
    if (args_get(a, "--sweep") &&
        (args_get(a, "--dry-run") || args_get(a, "--detach") || args_get(a, "--rank") ||
         args_get(a, "--alpha") || args_get(a, "--targets") || args_get(a, "--model")))
        return err_set(e, "usage",
                       "--sweep goes without --dry-run, --detach, --model, --rank, --alpha and --targets");
    if (args_get(a, "--dry-run") && args_get(a, "--detach"))
        return err_set(e, "usage", "--dry-run and --detach exclude each other");
    return path_check_name("an adapter", args_get(a, "--name"), e) == 0 ? sweep_check(a, e) : -1;
}

int train_run(struct context *c, const struct args *a, struct err *e)
{
    json_t *request;
    if (check_options(a, e) != 0 || train_request_new(&request, c, a, args_get(a, "--name"), e) != 0)
        return -1;
    int result = train(c, a, request, e);
    json_decref(request);
    return result;
}
