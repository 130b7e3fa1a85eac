#include "adapters/store/jobs.h"

#include <string.h>

#include "adapters/store/store_private.h"

#define FIXED                                                                                         \
    "id, tenant, name, base, source, training_file, validation_file, training_digest, seed, config, " \
    "created_ms"
#define MOVING                                                                                               \
    "status, started_ms, finished_ms, estimated_ms, steps, step, tokens, version, result_file, error_code, " \
    "error_message,"                                                                                         \
    " error_param"
#define ALIVE "status IN ('validating_files', 'queued', 'running', 'paused')"

static const char INSERT[] =
    "INSERT INTO jobs (" FIXED ", status) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number";
static const char CHANGE[] =
    "UPDATE jobs SET status = ?, started_ms = ?, finished_ms = ?, estimated_ms = ?, steps = ?, step = ?,"
    " tokens = ?, version = ?, result_file = ?, error_code = ?, error_message = ?, error_param = ? WHERE "
    "number = ?";
static const char FIND[] =
    "SELECT number, " FIXED ", " MOVING " FROM jobs WHERE id = ?1 AND (?2 = 0 OR tenant = ?2)";
static const char LIST[] =
    "SELECT number, " FIXED ", " MOVING " FROM jobs WHERE tenant = ?1 AND (?2 = 0 OR number < ?2)"
    " ORDER BY number DESC LIMIT ?3";
static const char LIST_ALIVE[] =
    "SELECT number, " FIXED ", " MOVING " FROM jobs WHERE " ALIVE " ORDER BY number LIMIT ?1";
static const char COUNT[] =
    "SELECT count(*) FROM jobs WHERE " ALIVE " AND (?1 = 0 OR tenant = ?1) AND (?2 OR status <> 'paused')";
static const char TRAINED[] =
    "SELECT coalesce(sum(trained_tokens), 0) FROM usage WHERE tenant = ? AND day = ?";

static const char EVENT_ADD[] =
    "INSERT INTO job_events (job, place, at_ms, level, type, message, data)"
    " SELECT ?1, coalesce(max(place), 0) + 1, ?2, ?3, ?4, ?5, ?6 FROM job_events WHERE job = ?1"
    " RETURNING place";
static const char EVENTS_BACK[] = "SELECT place, at_ms, level, type, message, data FROM job_events"
                                  " WHERE job = ?1 AND (?2 = 0 OR place < ?2) ORDER BY place DESC LIMIT ?3";
static const char EVENTS_ON[] = "SELECT place, at_ms, level, type, message, data FROM job_events"
                                " WHERE job = ?1 AND place > ?2 ORDER BY place LIMIT ?3";

static const char CHECKPOINT_PUT[] =
    "INSERT INTO job_checkpoints (job, step, at_ms, version, metrics)"
    " VALUES (?, ?, ?, ?, ?) ON CONFLICT (job, step) DO UPDATE SET"
    " at_ms = excluded.at_ms, version = excluded.version, metrics = excluded.metrics";
static const char CHECKPOINT_DELETE[] = "DELETE FROM job_checkpoints WHERE job = ? AND step = ?";
static const char CHECKPOINTS[] = "SELECT step, at_ms, version, metrics FROM job_checkpoints"
                                  " WHERE job = ?1 AND (?2 = 0 OR step < ?2) ORDER BY step DESC LIMIT ?3";

static const char *text_of(const struct buf *b)
{
    return b->length ? b->data : "";
}

/* ---- jobs ---- */

int store_job_insert(struct store *s, struct job_row *j, struct err *e)
{
    struct query q = query_start(s->database, INSERT);
    query_bind_text(&q, j->id);
    query_bind_integer(&q, j->tenant);
    query_bind_text(&q, j->name);
    query_bind_text(&q, j->base);
    query_bind_text(&q, j->source);
    query_bind_text(&q, j->training_file);
    query_bind_text(&q, j->validation_file);
    query_bind_text(&q, j->training_digest);
    query_bind_integer(&q, (int64_t)j->seed);
    query_bind_text(&q, text_of(&j->config));
    query_bind_integer(&q, j->created_ms);
    query_bind_text(&q, job_status_names[j->status]);
    return query_insert(&q, &j->number, "add a job", e);
}

int store_job_change(struct store *s, const struct job_row *j, struct err *e)
{
    struct query q = query_start(s->database, CHANGE);
    query_bind_text(&q, job_status_names[j->status]);
    query_bind_time(&q, j->started_ms);
    query_bind_time(&q, j->finished_ms);
    query_bind_time(&q, j->estimated_ms);
    query_bind_integer(&q, j->steps);
    query_bind_integer(&q, j->step);
    query_bind_integer(&q, j->tokens);
    query_bind_text(&q, j->version);
    query_bind_text(&q, j->result_file);
    query_bind_text(&q, j->error.code);
    query_bind_text(&q, j->error.message);
    query_bind_text(&q, j->error.param);
    query_bind_integer(&q, j->number);
    return query_run(&q, "change a job", e);
}

static int read_fixed(struct query *q, struct job_row *out)
{
    out->number = query_column_integer(q);
    query_copy_text(q, out->id, sizeof out->id);
    out->tenant = (uint32_t)query_column_integer(q);
    int bad = column_name(q, out->name);
    query_copy_text(q, out->base, sizeof out->base);
    query_copy_text(q, out->source, sizeof out->source);
    query_copy_text(q, out->training_file, sizeof out->training_file);
    query_copy_text(q, out->validation_file, sizeof out->validation_file);
    query_copy_text(q, out->training_digest, sizeof out->training_digest);
    out->seed = (uint64_t)query_column_integer(q);
    return bad;
}

static void read_moving(struct query *q, struct job_row *out)
{
    out->started_ms = query_column_integer(q);
    out->finished_ms = query_column_integer(q);
    out->estimated_ms = query_column_integer(q);
    out->steps = query_column_integer(q);
    out->step = query_column_integer(q);
    out->tokens = query_column_integer(q);
    query_copy_text(q, out->version, sizeof out->version);
    query_copy_text(q, out->result_file, sizeof out->result_file);
    query_copy_text(q, out->error.code, sizeof out->error.code);
    query_copy_text(q, out->error.message, sizeof out->error.message);
    query_copy_text(q, out->error.param, sizeof out->error.param);
}

static int read_job(struct query *q, struct job_row *out, struct err *e)
{
    int bad = read_fixed(q, out);
    if (query_column_bytes(q, &out->config) != 0)
        return err_memory(e);
    out->created_ms = query_column_integer(q);
    int status = job_status_named(query_column_text(q));
    read_moving(q, out);
    if (bad || status < 0)
        return column_malformed("jobs", e);
    out->status = (enum job_status)status;
    return 0;
}

struct jobs_page {
    struct job_row *rows;
    size_t count, limit;
    bool more;
};

static int read_jobs(struct query *q, void *arg, struct err *e)
{
    struct jobs_page *p = arg;
    p->more = p->count == p->limit;
    if (p->more)
        return 0;
    struct job_row *row = &p->rows[p->count++];
    *row = (struct job_row){0};
    return read_job(q, row, e);
}

static int list_jobs(struct query *q, struct jobs_page *p, struct err *e)
{
    if (query_each(q, read_jobs, p, "read the jobs", e) == 0)
        return 0;
    job_rows_fini(p->rows, p->count);
    return -1;
}

int store_job_find(struct store *s, uint32_t tenant, const char *id, struct job_row *out, bool *found,
                   struct err *e)
{
    struct jobs_page p = {.rows = out, .limit = 1};
    struct query q = query_start(s->database, FIND);
    query_bind_text(&q, id);
    query_bind_integer(&q, tenant);
    if (list_jobs(&q, &p, e) != 0)
        return -1;
    *found = p.count == 1;
    return 0;
}

int store_job_list(struct store *s, uint32_t tenant, int64_t before, size_t limit, struct job_row *out,
                   size_t *count, bool *more, struct err *e)
{
    struct jobs_page p = {.rows = out, .limit = limit};
    struct query q = query_start(s->database, LIST);
    query_bind_integer(&q, tenant);
    query_bind_integer(&q, before);
    query_bind_integer(&q, (int64_t)limit + 1);
    if (list_jobs(&q, &p, e) != 0)
        return -1;
    *count = p.count;
    *more = p.more;
    return 0;
}

int store_job_alive(struct store *s, struct job_row *out, size_t *count, struct err *e)
{
    struct jobs_page p = {.rows = out, .limit = JOBS_ALIVE_MAX};
    struct query q = query_start(s->database, LIST_ALIVE);
    query_bind_integer(&q, JOBS_ALIVE_MAX);
    if (list_jobs(&q, &p, e) != 0)
        return -1;
    *count = p.count;
    return 0;
}

static int read_number(struct query *q, int64_t *out, const char *doing, struct err *e)
{
    if (query_step(q) != SQL_ROW)
        return query_fail(q, doing, e);
    *out = query_column_integer(q);
    query_end(q);
    return 0;
}

int store_job_count(struct store *s, uint32_t tenant, bool paused, int64_t *count, struct err *e)
{
    struct query q = query_start(s->database, COUNT);
    query_bind_integer(&q, tenant);
    query_bind_integer(&q, paused);
    return read_number(&q, count, "count the jobs", e);
}

int store_job_trained(struct store *s, uint32_t tenant, const char *day, int64_t *tokens, struct err *e)
{
    struct query q = query_start(s->database, TRAINED);
    query_bind_integer(&q, tenant);
    query_bind_text(&q, day);
    return read_number(&q, tokens, "add up the trained tokens", e);
}

/* ---- events ---- */

int store_job_event_add(struct store *s, int64_t job, struct job_event *event, struct err *e)
{
    struct query q = query_start(s->database, EVENT_ADD);
    query_bind_integer(&q, job);
    query_bind_integer(&q, event->at_ms);
    query_bind_text(&q, event->level);
    query_bind_text(&q, event->type);
    query_bind_text(&q, text_of(&event->message));
    query_bind_text(&q, text_of(&event->data));
    return query_insert(&q, &event->place, "add an event of a job", e);
}

static const char *one_of(const char *text, const char *const *known)
{
    while (known[1] && strcmp(text, *known) != 0)
        known++;
    return *known;
}

struct events_page {
    struct job_event *rows;
    size_t count, limit;
    bool more;
};

static int read_event(struct query *q, void *arg, struct err *e)
{
    static const char *const levels[] = {"warn", "error", "info", NULL}, *const types[] = {"metrics",
                                                                                           "message", NULL};
    struct events_page *p = arg;
    p->more = p->count == p->limit;
    if (p->more)
        return 0;
    struct job_event *row = &p->rows[p->count++];
    *row = (struct job_event){.place = query_column_integer(q)};
    row->at_ms = query_column_integer(q);
    row->level = one_of(query_column_text(q), levels);
    row->type = one_of(query_column_text(q), types);
    bool whole = query_column_bytes(q, &row->message) == 0 && query_column_bytes(q, &row->data) == 0;
    return whole ? 0 : err_memory(e);
}

int store_job_event_list(struct store *s, int64_t job, int64_t from, bool newest_first, size_t limit,
                         struct job_event *out, size_t *count, bool *more, struct err *e)
{
    struct events_page p = {.rows = out, .limit = limit};
    struct query q = query_start(s->database, newest_first ? EVENTS_BACK : EVENTS_ON);
    query_bind_integer(&q, job);
    query_bind_integer(&q, from);
    query_bind_integer(&q, (int64_t)limit + 1);
    if (query_each(&q, read_event, &p, "read the events of a job", e) != 0) {
        for (size_t i = 0; i < p.count; i++)
            job_event_fini(&out[i]);
        return -1;
    }
    *count = p.count;
    *more = p.more;
    return 0;
}

/* ---- checkpoints ---- */

int store_job_checkpoint_put(struct store *s, int64_t job, const struct job_checkpoint *c, struct err *e)
{
    struct query q = query_start(s->database, CHECKPOINT_PUT);
    query_bind_integer(&q, job);
    query_bind_integer(&q, c->step);
    query_bind_integer(&q, c->at_ms);
    query_bind_text(&q, c->version);
    query_bind_text(&q, text_of(&c->metrics));
    return query_run(&q, "add a checkpoint of a job", e);
}

int store_job_checkpoint_delete(struct store *s, int64_t job, int64_t step, struct err *e)
{
    struct query q = query_start(s->database, CHECKPOINT_DELETE);
    query_bind_integer(&q, job);
    query_bind_integer(&q, step);
    return query_run(&q, "remove a checkpoint of a job", e);
}

struct checkpoints_page {
    struct job_checkpoint *rows;
    size_t count, limit;
    bool more;
};

static int read_checkpoint(struct query *q, void *arg, struct err *e)
{
    struct checkpoints_page *p = arg;
    p->more = p->count == p->limit;
    if (p->more)
        return 0;
    struct job_checkpoint *row = &p->rows[p->count++];
    *row = (struct job_checkpoint){.step = query_column_integer(q)};
    row->at_ms = query_column_integer(q);
    int bad = column_digest(q, row->version);
    if (query_column_bytes(q, &row->metrics) != 0)
        return err_memory(e);
    return bad ? column_malformed("job_checkpoints", e) : 0;
}

int store_job_checkpoint_list(struct store *s, int64_t job, int64_t before, size_t limit,
                              struct job_checkpoint *out, size_t *count, bool *more, struct err *e)
{
    struct checkpoints_page p = {.rows = out, .limit = limit};
    struct query q = query_start(s->database, CHECKPOINTS);
    query_bind_integer(&q, job);
    query_bind_integer(&q, before);
    query_bind_integer(&q, (int64_t)limit + 1);
    if (query_each(&q, read_checkpoint, &p, "read the checkpoints of a job", e) != 0) {
        for (size_t i = 0; i < p.count; i++)
            job_checkpoint_fini(&out[i]);
        return -1;
    }
    *count = p.count;
    *more = p.more;
    return 0;
}
