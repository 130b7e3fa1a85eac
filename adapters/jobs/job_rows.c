#include "adapters/jobs/job_rows.h"

#include <stdio.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "adapters/registry/registry_private.h"
#include "adapters/store/jobs.h"
#include "core/engine/engine_types.h"
#include "core/system/clock.h"

enum { DAY_TEXT = DAY_BYTES, TIME_TEXT = 32 };

static void today(char day[DAY_BYTES])
{
    char text[TIME_TEXT];
    clock_format(clock_unix_ms(), text, sizeof text);
    snprintf(day, DAY_BYTES, "%.10s", text);
}

static int not_found(const char *id, struct err *e)
{
    err_set(e, "job_not_found", "there is no fine-tuning job \"%.40s\"", id);
    return err_param(e, "fine_tuning_job_id");
}

static int find(struct registry *r, uint32_t tenant, const char *id, struct job_row *out, struct err *e)
{
    bool found = false;
    if (store_job_find(r->store, tenant, id, out, &found, e) != 0)
        return -1;
    return found ? 0 : not_found(id, e);
}

/* ---- quotas ---- */

static const struct tenant *find_owner(const struct registry *r, uint32_t tenant, struct err *e)
{
    const struct tenant *t = catalog_tenant_numbered(&r->catalog, tenant);
    if (!t)
        find_tenant_gone(e);
    return t;
}

static int exceeded(const struct tenant *t, enum quota_kind kind, int64_t found, const char *what,
                    struct err *e)
{
    err_set(e, "quota_exceeded", "tenant \"%s\": %s %lld, its quota %s is %lld", t->id, what,
            (long long)found, quota_bounds[kind].name, (long long)t->quota.of[kind]);
    return err_param(e, quota_bounds[kind].name);
}

static int count_left(struct registry *r, const struct tenant *t, int64_t *left, struct err *e)
{
    char day[DAY_BYTES];
    int64_t trained, most = t->quota.of[QUOTA_TRAINING_TOKENS_PER_DAY];
    *left = INT64_MAX;
    if (most == QUOTA_UNSET)
        return 0;
    today(day);
    if (store_job_trained(r->store, t->number, day, &trained, e) != 0)
        return -1;
    *left = trained < most ? most - trained : 0;
    return 0;
}

static int check_tokens(struct registry *r, const struct tenant *t, struct err *e)
{
    int64_t left;
    if (count_left(r, t, &left, e) != 0)
        return -1;
    if (left > 0)
        return 0;
    exceeded(t, QUOTA_TRAINING_TOKENS_PER_DAY, t->quota.of[QUOTA_TRAINING_TOKENS_PER_DAY],
             "trained tokens today", e);
    return err_hint(e, "resume tomorrow (UTC), or ask for a larger quota");
}

/* May one more wait or run? */
static int check_jobs(struct registry *r, const struct tenant *t, struct err *e)
{
    int64_t count, most = t->quota.of[QUOTA_TRAINING_JOBS_MAX];
    if (store_job_count(r->store, t->number, false, &count, e) != 0)
        return -1;
    if (most == QUOTA_UNSET || count < most)
        return 0;
    exceeded(t, QUOTA_TRAINING_JOBS_MAX, count, "jobs that wait or run", e);
    return err_hint(e, "wait until one is done, or cancel one");
}

/* However many are paused: nobody's jobs are in everybody's way. */
static int check_alive(struct registry *r, const struct tenant *t, struct err *e)
{
    int64_t own, all;
    if (store_job_count(r->store, t->number, true, &own, e) != 0 ||
        store_job_count(r->store, 0, true, &all, e) != 0)
        return -1;
    if (own >= JOBS_ALIVE_TENANT_MAX)
        return err_set(e, "limit_reached",
                       "%d jobs of tenant \"%s\" wait, run or are paused, the most that a tenant may have",
                       JOBS_ALIVE_TENANT_MAX, t->id);
    if (all >= JOBS_ALIVE_MAX)
        return err_set(e, "limit_reached", "%d jobs wait, run or are paused, the most that one daemon holds",
                       JOBS_ALIVE_MAX);
    return 0;
}

static int check_quota(struct registry *r, const struct tenant *t, int64_t rank, struct err *e)
{
    int64_t most = t->quota.of[QUOTA_TRAINING_RANK_MAX];
    if (most != QUOTA_UNSET && rank > most)
        return exceeded(t, QUOTA_TRAINING_RANK_MAX, rank, "the job's largest rank is", e);
    if (check_jobs(r, t, e) != 0 || check_tokens(r, t, e) != 0)
        return -1;
    return check_alive(r, t, e);
}

int job_rows_tokens_left(struct registry *r, uint32_t tenant, int64_t *left, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    const struct tenant *t = find_owner(r, tenant, e);
    int result = t ? count_left(r, t, left, e) : -1;
    pthread_mutex_unlock(&r->writer);
    return result;
}

int job_rows_weight(struct registry *r, uint32_t tenant, int *weight, struct err *e)
{
    catalog_read_lock(&r->catalog);
    const struct tenant *t = find_owner(r, tenant, e);
    int64_t set = t ? t->quota.of[QUOTA_WEIGHT] : QUOTA_UNSET;
    catalog_unlock(&r->catalog);
    *weight = set == QUOTA_UNSET ? ENGINE_WEIGHT_DEFAULT : (int)set;
    return t ? 0 : -1;
}

/* ---- events ---- */

static int add_message(struct registry *r, int64_t job, const char *level, const char *message,
                       const struct buf *data, struct err *e)
{
    struct job_event event = {.at_ms = clock_unix_ms(), .level = level, .type = "message"};
    bool whole = buf_append_string(&event.message, message) == 0 &&
                 (!data || !data->length || buf_append(&event.data, data->data, data->length) == 0);
    int result = whole ? store_job_event_add(r->store, job, &event, e) : err_memory(e);
    job_event_fini(&event);
    return result;
}

/* ---- making ---- */

static int insert(struct registry *r, const struct tenant *t, struct job_row *j, struct err *e)
{
    char message[JOB_ID_BYTES + 64], detail[160];
    snprintf(message, sizeof message, "Created fine-tuning job: %s", j->id);
    snprintf(detail, sizeof detail, "%s, adapter %s", j->id, j->name);
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_job_insert(r->store, j, e) == 0 &&
                add_message(r, j->number, "info", message, NULL, e) == 0 &&
                audit_add(r->store, "job.create", t->id, j->name, detail, e) == 0;
    return store_end(r->store, done, e);
}

static int create(struct registry *r, struct job_row *j, int64_t rank, struct err *e)
{
    const struct tenant *t = find_owner(r, j->tenant, e);
    return t && check_quota(r, t, rank, e) == 0 ? insert(r, t, j, e) : -1;
}

/* Nobody can guess one, and no two are the same. */
static void name_job(struct job_row *j)
{
    uint8_t random[12];
    char hex[2 * sizeof random + 1];
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, hex);
    snprintf(j->id, sizeof j->id, "ftjob-%s", hex);
    if (!j->name[0])
        snprintf(j->name, sizeof j->name, "ft-%s", hex);
}

int job_rows_create(struct registry *r, struct job_row *j, int64_t rank, struct err *e)
{
    name_job(j);
    j->status = JOB_VALIDATING;
    j->created_ms = clock_unix_ms();
    if (writer_begin(r, e) != 0)
        return -1;
    int result = create(r, j, rank, e);
    writer_end(r);
    return result;
}

/* ---- looking ---- */

int job_rows_find(struct registry *r, uint32_t tenant, const char *id, struct job_row *out, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = find(r, tenant, id, out, e);
    pthread_mutex_unlock(&r->writer);
    return result;
}

int job_rows_list(struct registry *r, uint32_t tenant, const char *after, size_t limit, struct job_row *out,
                  size_t *count, bool *more, struct err *e)
{
    struct job_row last = {0};
    pthread_mutex_lock(&r->writer);
    int result = after ? find(r, tenant, after, &last, e) : 0;
    if (result == 0)
        result = store_job_list(r->store, tenant, last.number, limit, out, count, more, e);
    pthread_mutex_unlock(&r->writer);
    job_row_fini(&last);
    return result;
}

int job_rows_alive(struct registry *r, struct job_row *out, size_t *count, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = store_job_alive(r->store, out, count, e);
    pthread_mutex_unlock(&r->writer);
    return result;
}

/* ---- from state to state ---- */

static const char *const said[JOB_STATUSES] = {
    [JOB_QUEUED] = "Files validated, the job waits for its turn",
    [JOB_RUNNING] = "Fine-tuning job started",
    [JOB_PAUSED] = "Fine-tuning job paused",
    [JOB_SUCCEEDED] = "The job has successfully completed",
    [JOB_FAILED] = "The job failed",
    [JOB_CANCELLED] = "Fine-tuning job cancelled",
};

static void apply(struct job_row *j, const struct job_change *c)
{
    int64_t now = clock_unix_ms();
    j->status = c->to;
    j->estimated_ms = 0;
    j->error = c->error ? *c->error : (struct job_error){0};
    if (c->to == JOB_RUNNING && !j->started_ms)
        j->started_ms = now;
    if (job_is_over(c->to))
        j->finished_ms = now;
    if (c->version)
        snprintf(j->version, sizeof j->version, "%s", c->version);
    if (c->result_file)
        snprintf(j->result_file, sizeof j->result_file, "%s", c->result_file);
}

/* Who waits for a turn again is asked for again whether it may. */
static int check_become(struct registry *r, const struct job_row *j, const struct job_change *c,
                        struct err *e)
{
    if (!job_may_become(j->status, c->to)) {
        err_set(e, "job_conflict", "the job is %s and cannot become %s", job_status_names[j->status],
                job_status_names[c->to]);
        return err_param(e, "status");
    }
    if (j->status != JOB_PAUSED || c->to != JOB_QUEUED)
        return 0;
    const struct tenant *t = find_owner(r, j->tenant, e);
    return t && check_jobs(r, t, e) == 0 ? check_tokens(r, t, e) : -1;
}

/* The audit log's word for what a job becomes. */
static const char *const actions[JOB_STATUSES] = {
    [JOB_VALIDATING] = "job.validate", [JOB_QUEUED] = "job.resume",     [JOB_RUNNING] = "job.run",
    [JOB_PAUSED] = "job.pause",        [JOB_SUCCEEDED] = "job.succeed", [JOB_FAILED] = "job.fail",
    [JOB_CANCELLED] = "job.cancel"};

static int write_state(struct registry *r, const struct job_row *j, const struct job_change *c, struct err *e)
{
    const struct tenant *t = find_owner(r, j->tenant, e);
    if (!t)
        return -1;
    if (store_begin(r->store, e) != 0)
        return -1;
    bool done = store_job_change(r->store, j, e) == 0 &&
                add_message(r, j->number, c->level ? c->level : "info", c->message ? c->message : said[c->to],
                            c->data, e) == 0 &&
                audit_add(r->store, actions[c->to], t->id, j->name, j->id, e) == 0;
    return store_end(r->store, done, e);
}

static int become(struct registry *r, uint32_t tenant, const char *id, const struct job_change *c,
                  struct job_row *out, struct err *e)
{
    if (find(r, tenant, id, out, e) != 0)
        return -1;
    if (out->status == c->to || (c->from && !job_is_over(out->status) && !(c->from >> out->status & 1)))
        return 0;
    int result = check_become(r, out, c, e);
    if (result == 0) {
        apply(out, c);
        result = write_state(r, out, c, e);
    }
    if (result != 0) {
        job_row_fini(out);
        *out = (struct job_row){0};
    }
    return result;
}

int job_rows_become(struct registry *r, uint32_t tenant, const char *id, const struct job_change *c,
                    struct job_row *out, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = become(r, tenant, id, c, out, e);
    writer_end(r);
    return result;
}

/* ---- on its way ---- */

static int charge(struct registry *r, const struct tenant *t, const struct job_row *j, int64_t tokens,
                  struct err *e)
{
    struct usage_row row = {.tenant = t->number, .count = {[USAGE_TRAINED_TOKENS] = tokens}};
    today(row.day);
    snprintf(row.tenant_id, sizeof row.tenant_id, "%s", t->id);
    snprintf(row.adapter, sizeof row.adapter, "%s", j->name);
    return tokens > 0 ? store_usage_add(r->store, &row, e) : 0;
}

static int write_progress(struct registry *r, const struct tenant *t, struct job_row *row,
                          const struct job_progress *p, struct job_event *events, size_t count, struct err *e)
{
    int64_t more = p->tokens - row->tokens;
    if (p->step > row->step)
        row->step = p->step;
    if (more > 0)
        row->tokens = p->tokens;
    row->estimated_ms = p->estimated_ms;
    if (store_job_change(r->store, row, e) != 0 || charge(r, t, row, more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (store_job_event_add(r->store, row->number, &events[i], e) != 0)
            return -1;
    return 0;
}

static int advance(struct registry *r, const struct job_row *j, const struct job_progress *p,
                   struct job_event *events, size_t count, bool *over, struct err *e)
{
    struct job_row row = {0};
    const struct tenant *t = find_owner(r, j->tenant, e);
    if (!t || find(r, j->tenant, j->id, &row, e) != 0)
        return -1;
    int result = 0;
    *over = job_is_over(row.status);
    if (!*over)
        result = store_begin(r->store, e) == 0
                     ? store_end(r->store, write_progress(r, t, &row, p, events, count, e) == 0, e)
                     : -1;
    job_row_fini(&row);
    return result;
}

int job_rows_advance(struct registry *r, const struct job_row *j, const struct job_progress *p,
                     struct job_event *events, size_t count, bool *over, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = advance(r, j, p, events, count, over, e);
    writer_end(r);
    return result;
}

static int set_steps(struct registry *r, const struct job_row *j, int64_t steps, struct err *e)
{
    struct job_row row = {0};
    if (find(r, j->tenant, j->id, &row, e) != 0)
        return -1;
    row.steps = steps;
    int result =
        store_begin(r->store, e) == 0 ? store_end(r->store, store_job_change(r->store, &row, e) == 0, e) : -1;
    job_row_fini(&row);
    return result;
}

int job_rows_set_steps(struct registry *r, const struct job_row *j, int64_t steps, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = set_steps(r, j, steps, e);
    writer_end(r);
    return result;
}

int job_rows_add_event(struct registry *r, const struct job_row *j, struct job_event *event, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = store_begin(r->store, e) == 0
                     ? store_end(r->store, store_job_event_add(r->store, j->number, event, e) == 0, e)
                     : -1;
    writer_end(r);
    return result;
}

int job_rows_events(struct registry *r, const struct job_row *j, int64_t from, bool newest_first,
                    size_t limit, struct job_event *out, size_t *count, bool *more, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = store_job_event_list(r->store, j->number, from, newest_first, limit, out, count, more, e);
    pthread_mutex_unlock(&r->writer);
    return result;
}

/* ---- checkpoints ---- */

int job_rows_add_checkpoint(struct registry *r, const struct job_row *j, const struct job_checkpoint *c,
                            struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = store_begin(r->store, e) == 0
                     ? store_end(r->store, store_job_checkpoint_put(r->store, j->number, c, e) == 0, e)
                     : -1;
    writer_end(r);
    return result;
}

int job_rows_drop_checkpoint(struct registry *r, const struct job_row *j, int64_t step, struct err *e)
{
    if (writer_begin(r, e) != 0)
        return -1;
    int result = store_begin(r->store, e) == 0
                     ? store_end(r->store, store_job_checkpoint_delete(r->store, j->number, step, e) == 0, e)
                     : -1;
    writer_end(r);
    return result;
}

int job_rows_checkpoints(struct registry *r, const struct job_row *j, int64_t before, size_t limit,
                         struct job_checkpoint *out, size_t *count, bool *more, struct err *e)
{
    pthread_mutex_lock(&r->writer);
    int result = store_job_checkpoint_list(r->store, j->number, before, limit, out, count, more, e);
    pthread_mutex_unlock(&r->writer);
    return result;
}
