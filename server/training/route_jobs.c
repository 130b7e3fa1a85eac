/* /v1/fine_tuning/jobs, in OpenAI's shape, and POST /train/estimate. Rows are read from the disk: job
 * threads. */
#include <stdlib.h>
#include <string.h>

#include "adapters/jobs/running/runner.h"
#include "server/base/fields.h"
#include "server/admission/ability.h"
#include "server/http/list.h"
#include "server/http/reply.h"
#include "server/training/job_json.h"
#include "server/training/job_stream.h"
#include "server/training/jobs.h"

enum { JOBS_PAGE = 20, JOBS_PAGE_MAX = 100 };

static int check_trains(const struct request *r, struct err *e)
{
    if (r->server->runner)
        return 0;
    err_set(e, "training_off", "this daemon does not train: it was started with --training-memory 0");
    return -1;
}

/* As many as asked for, otherwise OpenAI's number. */
static size_t page_limit(const struct request *r)
{
    return query_text(&r->query, "limit") ? r->query.limit : JOBS_PAGE;
}

/* ---- a new one ---- */

static int check_generates(const struct request *r, const struct version *v, struct err *e)
{
    return ability_check(r->server, v, ABILITY_GENERATE, e) == 0 ? 0 : err_param(e, "model");
}

/* What `model` names: the base (*out NULL), or one of the tenant's adapters. What gives labels goes on from
 * nowhere here: its head would stand still. */
static int find_model(const struct request *r, const char *name, const struct version **out, struct err *e)
{
    *out = NULL;
    if (registry_resolve(r->server->registry, r->tenant.number, name, out, e) == 0)
        return check_generates(r, *out, e);
    if (strcmp(e->code, "adapter_not_found") != 0)
        return err_param(e, "model");
    if (strcmp(name, r->server->model_name) == 0)
        return check_generates(r, NULL, e);
    err_set(e, "model_not_found", "there is no model \"%.64s\": neither an adapter nor the base, \"%s\"",
            name, r->server->model_name);
    return err_param(e, "model");
}

/* The body's configuration, and where its job begins. Both are the caller's, also after an error. */
static int read_body(struct request *r, struct job_config *c, const struct version **source, struct err *e)
{
    json_t *body = check_trains(r, e) == 0 ? fields_parse(r->body.data, r->body.length, e) : NULL;
    if (!body)
        return -1;
    int result = request_body_tenant(r, body, e);
    if (result == 0)
        result = job_config_read(c, body, e);
    if (result == 0)
        result = find_model(r, c->model, source, e);
    json_decref(body);
    return result;
}

void route_jobs_create(struct request *r)
{
    struct err e;
    struct job_config c = {0};
    const struct version *source = NULL;
    struct job_row row = {0};
    if (read_body(r, &c, &source, &e) != 0 ||
        runner_create(r->server->runner, r->tenant.number, &c, source, &row, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, job_json(&row));
    job_row_fini(&row);
    version_unref(source);
    job_config_fini(&c);
}

static json_t *estimate_json(const struct runner_estimate *s)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:b}", "examples",
                     (json_int_t)s->examples, "tokens", (json_int_t)s->tokens, "target_tokens",
                     (json_int_t)s->targets, "steps", (json_int_t)s->steps, "trained_tokens",
                     (json_int_t)s->trained_tokens, "trainable_parameters", (json_int_t)s->parameters,
                     "memory_bytes", (json_int_t)s->memory_bytes, "seconds", s->seconds, "minutes",
                     s->seconds / 60, "measured", (int)s->measured);
}

void route_jobs_estimate(struct request *r)
{
    struct err e;
    struct job_config c = {0};
    const struct version *source = NULL;
    struct runner_estimate found;
    if (read_body(r, &c, &source, &e) != 0 ||
        runner_estimate(r->server->runner, r->tenant.number, &c, source, &found, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, estimate_json(&found));
    version_unref(source);
    job_config_fini(&c);
}

/* ---- those that are there ---- */

/* Each has all that was sent with it: a page has fewer, and says that there are more. */
static size_t jobs_limit(const struct request *r)
{
    return page_limit(r) < JOBS_PAGE_MAX ? page_limit(r) : JOBS_PAGE_MAX;
}

static int list(struct request *r, struct job_row *rows, struct err *e)
{
    size_t count = 0;
    bool more = false;
    if (request_tenant(r, NULL, e) != 0)
        return -1;
    if (job_rows_list(r->server->registry, r->tenant.number, query_text(&r->query, "after"), jobs_limit(r),
                      rows, &count, &more, e) != 0)
        return query_text(&r->query, "after") && strcmp(e->code, "job_not_found") == 0 ? err_param(e, "after")
                                                                                       : -1;
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        list_add(&data, job_json(&rows[i]));
    job_rows_fini(rows, count);
    reply_json(r, 200, data ? job_json_list(data, more) : NULL);
    return 0;
}

void route_jobs_list(struct request *r)
{
    struct err e;
    struct job_row *rows = calloc(jobs_limit(r), sizeof *rows);
    if (!rows)
        err_memory(&e);
    if (!rows || list(r, rows, &e) != 0)
        reply_error(r, &e);
    free(rows);
}

static int find(struct request *r, struct job_row *out, struct err *e)
{
    if (request_tenant(r, NULL, e) != 0)
        return -1;
    return job_rows_find(r->server->registry, r->tenant.number, r->match.parameter[0], out, e);
}

void route_jobs_show(struct request *r)
{
    struct err e;
    struct job_row row = {0};
    if (find(r, &row, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, job_json(&row));
    job_row_fini(&row);
}

/* ---- what is asked of one ---- */

/* Clients send no body, or an empty object. */
static int read_empty(struct request *r, struct err *e)
{
    static const char *const known[] = {"tenant", NULL};
    if (r->body.length == 0)
        return request_tenant(r, NULL, e);
    json_t *body = fields_parse(r->body.data, r->body.length, e);
    if (!body)
        return -1;
    int result = fields_known(body, known, e);
    if (result == 0)
        result = request_body_tenant(r, body, e);
    json_decref(body);
    return result;
}

static void become(struct request *r, const struct job_change *c)
{
    struct err e;
    struct job_row row = {0};
    if (check_trains(r, &e) != 0 || read_empty(r, &e) != 0 ||
        runner_change(r->server->runner, r->tenant.number, r->match.parameter[0], c, &row, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, job_json(&row));
    job_row_fini(&row);
}

void route_jobs_cancel(struct request *r)
{
    become(r, &(struct job_change){.to = JOB_CANCELLED});
}

void route_jobs_pause(struct request *r)
{
    become(r, &(struct job_change){.to = JOB_PAUSED});
}

void route_jobs_resume(struct request *r)
{
    become(r, &(struct job_change){
                  .to = JOB_QUEUED, .from = 1 << JOB_PAUSED, .message = "Fine-tuning job resumed"});
}

/* ---- events ---- */

static int bad_cursor(struct err *e)
{
    err_set(e, "invalid_parameter",
            "the query parameter \"after\" must be the id of one of this job's entries");
    return err_param(e, "after");
}

static json_t *events_json(const struct job_row *j, struct job_event *events, size_t count)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++) {
        list_add(&data, job_json_event(j, &events[i]));
        job_event_fini(&events[i]);
    }
    return data;
}

static int list_events(struct request *r, const struct job_row *j, int64_t after, struct err *e)
{
    size_t count = 0;
    bool more = false;
    struct job_event *events = calloc(page_limit(r), sizeof *events);
    if (!events)
        return err_memory(e);
    int result =
        job_rows_events(r->server->registry, j, after, true, page_limit(r), events, &count, &more, e);
    if (result == 0) {
        json_t *data = events_json(j, events, count);
        reply_json(r, 200, data ? job_json_list(data, more) : NULL);
    }
    free(events);
    return result;
}

static bool wants_stream(const struct request *r)
{
    const char *stream = query_text(&r->query, "stream");
    return stream && strcmp(stream, "true") == 0;
}

static int show_events(struct request *r, struct job_row *j, struct err *e)
{
    const char *after = query_text(&r->query, "after");
    int64_t place = 0;
    if (find(r, j, e) != 0)
        return -1;
    if (after && (place = job_json_event_place(j, after)) < 1)
        return bad_cursor(e);
    if (!wants_stream(r))
        return list_events(r, j, place, e);
    return job_stream_start(r, j, place, e);
}

void route_jobs_events(struct request *r)
{
    struct err e;
    struct job_row row = {0};
    if (show_events(r, &row, &e) != 0)
        reply_error(r, &e);
    job_row_fini(&row);
}

/* ---- checkpoints ---- */

static json_t *checkpoints_json(const struct job_row *j, struct job_checkpoint *rows, size_t count)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++) {
        list_add(&data, job_json_checkpoint(j, &rows[i]));
        job_checkpoint_fini(&rows[i]);
    }
    return data;
}

static int list_checkpoints(struct request *r, struct job_row *j, struct err *e)
{
    const char *after = query_text(&r->query, "after");
    int64_t step = 0;
    size_t count = 0, limit = page_limit(r);
    bool more = false;
    if (find(r, j, e) != 0)
        return -1;
    if (after && (step = job_json_checkpoint_step(j, after)) < 1)
        return bad_cursor(e);
    struct job_checkpoint *rows = calloc(limit, sizeof *rows);
    if (!rows)
        return err_memory(e);
    int result = job_rows_checkpoints(r->server->registry, j, step, limit, rows, &count, &more, e);
    if (result == 0) {
        json_t *data = checkpoints_json(j, rows, count);
        reply_json(r, 200, data ? job_json_list(data, more) : NULL);
    }
    free(rows);
    return result;
}

void route_jobs_checkpoints(struct request *r)
{
    struct err e;
    struct job_row row = {0};
    if (list_checkpoints(r, &row, &e) != 0)
        reply_error(r, &e);
    job_row_fini(&row);
}
