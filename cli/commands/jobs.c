/* Training jobs: what there is, how they go, and what is asked of one. */
#include <stdio.h>
#include <string.h>

#include "cli/lib/commands.h"
#include "cli/lib/list.h"
#include "cli/lib/path.h"
#include "cli/lib/sse.h"

/* /v1/fine_tuning/jobs[/ID[/what]], of the tenant that --tenant names. */
static int job_path(const struct args *a, const char *id, const char *what, struct buf *path, struct err *e)
{
    if (id && path_check_name("a job", id, e) != 0)
        return -1;
    const char *tenant = args_get(a, "--tenant");
    bool failed = buf_append_string(path, "/v1/fine_tuning/jobs") != 0 ||
                  (id && path_segment(path, id) != 0) || (what && path_segment(path, what) != 0) ||
                  (tenant && path_query(path, "tenant", tenant) != 0);
    return failed ? err_memory(e) : 0;
}

/* ---- lists ---- */

static int print_jobs(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "JOB|STATUS|ADAPTER|>STEP|>STEPS|>TOKENS|MODEL");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "id");
        table_add_member(&t, row, "status");
        table_add_member(&t, row, "adapter");
        table_add_member(&t, row, "step");
        table_add_member(&t, row, "steps");
        table_add_member(&t, row, "trained_tokens");
        table_add_member(&t, row, "model");
    }
    return table_print(&t, e);
}

static int print_checkpoints(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, ">STEP|MODEL|>LOSS");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "step_number");
        table_add_member(&t, row, "fine_tuned_model_checkpoint");
        table_add_member(&t, json_object_get(row, "metrics"), "train_loss");
    }
    return table_print(&t, e);
}

static int print_events(const json_t *rows, struct err *e)
{
    struct table t;
    size_t i;
    const json_t *row;
    table_init(&t, "LEVEL|EVENT");
    json_array_foreach(rows, i, row)
    {
        table_add_member(&t, row, "level");
        table_add_member(&t, row, "message");
    }
    return table_print(&t, e);
}

static const char *const job_columns[] = {"id",    "status",         "adapter", "step",
                                          "steps", "trained_tokens", "model"};
static const char *const event_columns[] = {"id", "created_at", "level", "type", "message"};
static const char *const checkpoint_columns[] = {"id", "step_number", "fine_tuned_model_checkpoint"};
static const struct list_view jobs_view = {print_jobs, job_columns, 7};
static const struct list_view events_view = {print_events, event_columns, 5};
static const struct list_view checkpoints_view = {print_checkpoints, checkpoint_columns, 3};

static int show_list(struct context *c, const struct args *a, const char *id, const char *what,
                     const struct list_view *view, struct err *e)
{
    struct buf path = {0};
    int result = job_path(a, id, what, &path, e);
    if (result == 0)
        result = list_show(c, a, path.data, view, e);
    buf_fini(&path);
    return result;
}

int jobs_list(struct context *c, const struct args *a, struct err *e)
{
    return show_list(c, a, NULL, NULL, &jobs_view, e);
}

int jobs_checkpoints(struct context *c, const struct args *a, struct err *e)
{
    return show_list(c, a, a->operand[0], "checkpoints", &checkpoints_view, e);
}

/* ---- events as they come ---- */

struct follower {
    struct context *context;
    struct sse sse;
};

static int on_event(void *arg, const char *name, const char *data, size_t length, struct err *e)
{
    struct follower *f = arg;
    (void)name;
    if (length == 6 && memcmp(data, "[DONE]", 6) == 0)
        return 0;
    json_t *event = json_loadb(data, length, JSON_REJECT_DUPLICATES, NULL);
    const json_t *message = json_object_get(event, "message");
    int result = 0;
    if (!json_is_string(message)) {
        result = err_set(e, "not_json", "an event of the stream is not as expected");
    } else if (f->context->json) {
        print_output(stdout, data, length);
        putchar('\n');
    } else {
        print_text(stdout, json_string_value(message), json_string_length(message), 0);
        putchar('\n');
    }
    fflush(stdout);
    json_decref(event);
    return result;
}

static int on_data(void *arg, const char *data, size_t length, struct err *e)
{
    struct follower *f = arg;
    return sse_feed(&f->sse, data, length, on_event, f, e);
}

static int follow(struct context *c, const struct args *a, struct err *e)
{
    struct buf path = {0};
    struct follower f = {.context = c};
    int result = job_path(a, a->operand[0], "events", &path, e);
    if (result == 0 && path_query(&path, "stream", "true") != 0)
        result = err_memory(e);
    if (result == 0)
        result = client_fetch(c->client, path.data, on_data, &f, e);
    sse_fini(&f.sse);
    buf_fini(&path);
    return result;
}

int jobs_events(struct context *c, const struct args *a, struct err *e)
{
    if (args_get(a, "--follow"))
        return follow(c, a, e);
    return show_list(c, a, a->operand[0], "events", &events_view, e);
}

/* ---- one job ---- */

static int print_job(const json_t *job, struct err *e)
{
    static const char *const members[] = {
        "id",   "status", "adapter",        "version", "model", "training_file",
        "step", "steps",  "trained_tokens", "seed"};
    struct table t;
    const json_t *error = json_object_get(job, "error");
    table_init(&t, "JOB|VALUE");
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        table_add(&t, members[i]);
        table_add_member(&t, job, members[i]);
    }
    if (json_is_object(error)) {
        table_add(&t, "error");
        table_add_member(&t, error, "message");
    }
    return table_print(&t, e);
}

static int ask(struct context *c, const struct args *a, const char *method, const char *what, struct err *e)
{
    struct buf path = {0};
    struct answer answer;
    int result = job_path(a, a->operand[0], what, &path, e);
    if (result == 0)
        result = client_call(c->client, method, path.data, NULL, &answer, e);
    if (result == 0) {
        result = c->json ? print_json(answer.json, e) : print_job(answer.json, e);
        answer_fini(&answer);
    }
    buf_fini(&path);
    return result;
}

int jobs_show(struct context *c, const struct args *a, struct err *e)
{
    return ask(c, a, "GET", NULL, e);
}

int jobs_cancel(struct context *c, const struct args *a, struct err *e)
{
    return ask(c, a, "POST", "cancel", e);
}

int jobs_pause(struct context *c, const struct args *a, struct err *e)
{
    return ask(c, a, "POST", "pause", e);
}

int jobs_resume(struct context *c, const struct args *a, struct err *e)
{
    return ask(c, a, "POST", "resume", e);
}
