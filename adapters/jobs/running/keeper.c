/* The thread that writes: takes jobs up from the registry and lets them go, decides who runs, writes down
 * what the others say. Everything here is done again after a crash, and comes to the same. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapters/jobs/checkpoint.h"
#include "adapters/jobs/running/keeper.h"
#include "adapters/jobs/running/publish.h"
#include "adapters/jobs/running/report.h"
#include "core/system/clock.h"

enum { LOOK_MS = 10000, RETRY_MS = 5000, FIRST_EVENTS = 64 };

static void log_line(const struct runner *r, const char *level, const struct live *l, const char *what,
                     const struct err *e)
{
    char line[JOB_MESSAGE_BYTES + 128];
    snprintf(line, sizeof line, "%s: %s%s%s", l->row.id, what, e ? ": " : "", e ? e->message : "");
    r->options.log(r->options.arg, level, line);
}

/* ---- states ---- */

static int become(struct runner *r, struct live *l, const struct job_change *c, struct err *e)
{
    struct job_row row = {0};
    if (job_rows_become(r->options.registry, l->row.tenant, l->row.id, c, &row, e) != 0)
        return -1;
    job_row_update(&l->row, &row);
    r->options.changed(r->options.arg, l->row.number);
    return 0;
}

/* Can it go on later, when somebody has made room? */
static bool is_pause(const struct err *e)
{
    static const char *const codes[] = {"storage_full", "quota_exceeded", "out_of_memory", NULL};
    for (int i = 0; codes[i]; i++)
        if (strcmp(e->code, codes[i]) == 0)
            return true;
    return false;
}

static void note_end(struct runner *r, enum job_status to)
{
    pthread_mutex_lock(&r->lock);
    r->stats.failed += to == JOB_FAILED;
    r->stats.succeeded += to == JOB_SUCCEEDED;
    pthread_mutex_unlock(&r->lock);
}

/* As whoever waits for the job reads it. */
static void describe(struct job_error *why, const struct err *error)
{
    static const char full[] = "the disk is full, make room and resume the job: ";
    size_t length = strcmp(error->code, "storage_full") == 0 ? sizeof full - 1 : 0;
    memcpy(why->message, full, length);
    snprintf(why->message + length, sizeof why->message - length, "%.400s", error->message);
}

/* Paused or failed, with what went wrong. -1: it could not be written. */
static int stop_for(struct runner *r, struct live *l, const struct err *error, struct err *e)
{
    char message[JOB_MESSAGE_BYTES + 64];
    struct job_error why = {.code = ""};
    bool pause = is_pause(error);
    snprintf(why.code, sizeof why.code, "%s", error->code);
    describe(&why, error);
    snprintf(why.param, sizeof why.param, "%s", error->param);
    snprintf(message, sizeof message, "The job %s: %s", pause ? "is paused" : "failed", why.message);
    const struct job_change c = {.to = pause ? JOB_PAUSED : JOB_FAILED,
                                 .error = &why,
                                 .level = pause ? "warn" : "error",
                                 .message = message};
    int result = become(r, l, &c, e);
    if (result == 0 && !pause) {
        checkpoint_remove(r->directory, l->row.id);
        note_end(r, JOB_FAILED);
    }
    return result == 0 || strcmp(e->code, "job_conflict") == 0 || strcmp(e->code, "job_not_found") == 0 ? 0
                                                                                                        : -1;
}

/* ---- taking up ---- */

static struct live *find_live(struct runner *r, const char *id)
{
    struct live *l;
    TAILQ_FOREACH(l, &r->lives, link)
        if (strcmp(l->row.id, id) == 0)
            return l;
    return NULL;
}

static int drop_reports(struct reports *reports)
{
    int count = 0;
    for (struct report *p; (p = STAILQ_FIRST(reports)); count++) {
        STAILQ_REMOVE_HEAD(reports, link);
        report_free(p);
    }
    return count;
}

static void live_free(struct live *l)
{
    drop_reports(&l->reports);
    work_fini(&l->work);
    version_unref(l->source);
    job_config_fini(&l->config);
    job_row_fini(&l->row);
    free(l);
}

static void drop(struct runner *r, struct live *l)
{
    pthread_mutex_lock(&r->lock);
    TAILQ_REMOVE(&r->lives, l, link);
    pthread_mutex_unlock(&r->lock);
    live_free(l);
    pthread_mutex_lock(&r->lock);
    r->poked = true; /* it may have been resumed meanwhile */
    pthread_cond_signal(&r->preparer_wake);
    pthread_mutex_unlock(&r->lock);
}

/* Which evaluations were written down before. */
static int find_evaluated(struct runner *r, struct live *l, struct err *e)
{
    struct job_event events[FIRST_EVENTS];
    size_t count;
    bool more;
    if (job_rows_events(r->options.registry, &l->row, 0, true, FIRST_EVENTS, events, &count, &more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        json_t *data = events[i].data.length ? json_loads(events[i].data.data, 0, NULL) : NULL;
        int64_t step = json_integer_value(json_object_get(data, "step"));
        if (json_object_get(data, "valid_loss") && step > l->evaluated)
            l->evaluated = step;
        json_decref(data);
        job_event_fini(&events[i]);
    }
    return 0;
}

/* Takes what is in the row. */
static struct live *live_new(struct runner *r, struct job_row *row, struct err *e)
{
    struct live *l = calloc(1, sizeof *l);
    if (!l) {
        job_row_fini(row);
        err_memory(e);
        return NULL;
    }
    l->row = *row;
    *row = (struct job_row){0};
    l->stage = STAGE_NEW;
    l->served = -1;
    l->evaluated = -1;
    STAILQ_INIT(&l->reports);
    if (find_evaluated(r, l, e) == 0 &&
        job_config_parse(&l->config, l->row.config.data, l->row.config.length, e) == 0 &&
        job_rows_weight(r->options.registry, l->row.tenant, &l->weight, e) == 0)
        return l;
    live_free(l);
    return NULL;
}

/* It ran when the daemon ended. */
static int take_again(struct runner *r, struct live *l, struct err *e)
{
    const struct job_change c = {
        .to = JOB_QUEUED,
        .from = 1 << JOB_RUNNING,
        .message = "The daemon was started again, the job goes on from its last checkpoint"};
    return l->row.status == JOB_RUNNING ? become(r, l, &c, e) : 0;
}

static void take_up(struct runner *r, struct job_row *row)
{
    struct err e;
    char id[JOB_ID_BYTES];
    strcpy(id, row->id);
    struct live *l = live_new(r, row, &e);
    if (l && take_again(r, l, &e) == 0) {
        pthread_mutex_lock(&r->lock);
        live_add_locked(r, l);
        pthread_mutex_unlock(&r->lock);
        return;
    }
    char line[JOB_MESSAGE_BYTES + 64];
    snprintf(line, sizeof line, "%s cannot be taken up: %s", id, e.message);
    r->options.log(r->options.arg, "error", line);
    if (l)
        live_free(l);
}

static bool is_wanted(const struct live *l, const struct job_row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (rows[i].number == l->row.number)
            return rows[i].status != JOB_PAUSED;
    return false; /* over, or gone with its tenant */
}

/* It was paused and resumed before it stopped: it never did. */
static void run_on(struct runner *r, const struct job_row *row)
{
    struct err e;
    struct live *l = find_live(r, row->id);
    pthread_mutex_lock(&r->lock);
    bool trains = l && l->stage == STAGE_TRAINING && !atomic_load(&l->stop);
    pthread_mutex_unlock(&r->lock);
    if (trains && row->status == JOB_QUEUED &&
        become(r, l, &(struct job_change){.to = JOB_RUNNING, .from = 1 << JOB_QUEUED}, &e) != 0)
        log_line(r, "warning", l, "it cannot be said that it runs", &e);
}

/* What the registry says, against what is in memory. */
static void compare(struct runner *r, struct job_row *rows, size_t count)
{
    struct live *l;
    pthread_mutex_lock(&r->lock);
    TAILQ_FOREACH(l, &r->lives, link)
        if (!is_wanted(l, rows, count) && !atomic_load(&l->stop)) {
            atomic_store(&l->stop, true);
            if (l->stage == STAGE_NEW || l->stage == STAGE_WAITING)
                live_pass_locked(r, l, STAGE_LEFT);
            pthread_cond_signal(&r->trainer_wake);
        }
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < count; i++) {
        run_on(r, &rows[i]);
        if (rows[i].status != JOB_PAUSED && !find_live(r, rows[i].id))
            take_up(r, &rows[i]);
    }
}

static void look(struct runner *r)
{
    size_t count = 0;
    struct err e;
    struct job_row *rows = calloc(JOBS_ALIVE_MAX, sizeof *rows);
    if (!rows)
        return;
    if (job_rows_alive(r->options.registry, rows, &count, &e) == 0)
        compare(r, rows, count);
    job_rows_fini(rows, count);
    free(rows);
}

/* ---- who runs ---- */

static struct live *find_stage(struct runner *r, enum stage stage)
{
    struct live *l;
    pthread_mutex_lock(&r->lock);
    TAILQ_FOREACH(l, &r->lives, link)
        if (l->stage == stage)
            break;
    pthread_mutex_unlock(&r->lock);
    return l;
}

/* What somebody asked for meanwhile stays: a job that was paused no longer waits, and goes. */
static void pass_on(struct runner *r, struct live *l, const struct err *error, enum job_status is,
                    enum stage to)
{
    if (error && strcmp(error->code, "job_conflict") != 0) {
        l->failed = true;
        l->error = *error;
    }
    pthread_mutex_lock(&r->lock);
    bool goes_on = !error && l->row.status == is && !atomic_load(&l->stop);
    live_pass_locked(r, l, goes_on ? to : STAGE_LEFT);
    pthread_mutex_unlock(&r->lock);
}

static void let_wait(struct runner *r, struct live *l)
{
    struct err e;
    const struct job_change queued = {.to = JOB_QUEUED, .from = 1 << JOB_VALIDATING};
    bool done =
        job_rows_set_steps(r->options.registry, &l->row, l->steps, &e) == 0 && become(r, l, &queued, &e) == 0;
    pass_on(r, l, done ? NULL : &e, JOB_QUEUED, STAGE_WAITING);
}

static int start(struct runner *r, struct live *l, struct err *e)
{
    int64_t left;
    if (job_rows_tokens_left(r->options.registry, l->row.tenant, &left, e) != 0)
        return -1;
    if (left == 0)
        return err_set(e, "quota_exceeded", "the tenant's training_tokens_per_day are used up");
    return become(r, l, &(struct job_change){.to = JOB_RUNNING, .from = 1 << JOB_QUEUED}, e);
}

static void start_training(struct runner *r, struct live *l)
{
    struct err e;
    int result = start(r, l, &e);
    l->saved_us = l->step_us = l->began_us = clock_us();
    pass_on(r, l, result == 0 ? NULL : &e, JOB_RUNNING, STAGE_TRAINING);
}

/* ---- what the others say ---- */

/* One that has reports, with all of them; NULL: nobody has. */
static struct live *take_reports(struct runner *r, struct reports *out)
{
    struct live *l;
    pthread_mutex_lock(&r->lock);
    TAILQ_FOREACH(l, &r->lives, link)
        if (!STAILQ_EMPTY(&l->reports))
            break;
    if (l) {
        STAILQ_CONCAT(out, &l->reports);
        l->report_count = 0;
        pthread_cond_signal(&r->trainer_wake);
    }
    pthread_mutex_unlock(&r->lock);
    return l;
}

static void note_written(struct runner *r, struct live *l, int count, bool failed)
{
    pthread_mutex_lock(&r->lock);
    l->unwritten -= count;
    r->write_failed = failed;
    pthread_cond_broadcast(&r->written);
    pthread_mutex_unlock(&r->lock);
}

/* It could not be written: come back to it. */
static void return_reports(struct runner *r, struct live *l, struct reports *reports)
{
    pthread_mutex_lock(&r->lock);
    STAILQ_CONCAT(reports, &l->reports);
    STAILQ_CONCAT(&l->reports, reports);
    l->report_count = 0;
    struct report *p;
    STAILQ_FOREACH(p, &l->reports, link)
        l->report_count++;
    pthread_mutex_unlock(&r->lock);
}

static void check_tokens(struct runner *r, struct live *l)
{
    int64_t left;
    struct err e;
    if (job_rows_tokens_left(r->options.registry, l->row.tenant, &left, &e) != 0 || left > 0)
        return;
    err_set(&e, "quota_exceeded",
            "the tenant's training_tokens_per_day are used up; resume it tomorrow (UTC), or ask for a larger "
            "quota");
    if (stop_for(r, l, &e, &e) == 0)
        atomic_store(&l->stop, true);
}

static void publish_checkpoints(struct runner *r, struct live *l, struct reports *reports)
{
    struct report *p;
    struct err e;
    STAILQ_FOREACH(p, reports, link)
        if (p->staged && publish_checkpoint(r, l, p, &e) != 0)
            log_line(r, "warning", l, "a checkpoint is not kept as a version", &e);
}

/* False: the disk refuses, try again later. */
static bool write_reports(struct runner *r)
{
    struct reports reports = STAILQ_HEAD_INITIALIZER(reports);
    struct err e;
    bool over = false;
    struct live *l = take_reports(r, &reports);
    if (!l)
        return true;
    if (report_write(r, l, &reports, &over, &e) != 0) {
        log_line(r, "error", l, "its progress cannot be written down", &e);
        if (strcmp(e.code, "job_not_found") != 0 && strcmp(e.code, "tenant_not_found") != 0) {
            return_reports(r, l, &reports);
            note_written(r, l, 0, true);
            return false;
        }
        over = true;
    }
    if (over)
        atomic_store(&l->stop, true);
    else
        publish_checkpoints(r, l, &reports);
    note_written(r, l, drop_reports(&reports), false);
    if (!over)
        check_tokens(r, l);
    r->options.changed(r->options.arg, l->row.number);
    return true;
}

static bool has_reports(struct runner *r)
{
    struct live *l;
    pthread_mutex_lock(&r->lock);
    TAILQ_FOREACH(l, &r->lives, link)
        if (!STAILQ_EMPTY(&l->reports))
            break;
    pthread_mutex_unlock(&r->lock);
    return l != NULL;
}

/* Its tenant's next turn is when the others have had theirs. */
static int wait_again(struct runner *r, struct live *l, struct err *e)
{
    const struct job_change c = {
        .to = JOB_QUEUED,
        .from = 1 << JOB_RUNNING,
        .message = "Another tenant's job has its turn; this one goes on from here when its own comes"};
    int result = become(r, l, &c, e);
    return result == 0 || strcmp(e->code, "job_conflict") == 0 || strcmp(e->code, "job_not_found") == 0 ? 0
                                                                                                        : -1;
}

static void end_turns(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    struct live *l = live_to_yield_locked(r, clock_us());
    if (l) {
        l->yields = true;
        atomic_store(&l->stop, true);
        pthread_cond_signal(&r->trainer_wake);
    }
    pthread_mutex_unlock(&r->lock);
}

/* One whose last words are written down: they may have come while another's end was. */
static struct live *find_left(struct runner *r)
{
    struct live *l;
    pthread_mutex_lock(&r->lock);
    TAILQ_FOREACH(l, &r->lives, link)
        if (l->stage == STAGE_LEFT && STAILQ_EMPTY(&l->reports))
            break;
    pthread_mutex_unlock(&r->lock);
    return l;
}

/* What became of a job that was let go: it was stopped by somebody, it is done, or something went wrong. */
static int settle(struct runner *r, struct live *l, struct err *e)
{
    if (l->failed && strcmp(l->error.code, "cancelled") != 0)
        return stop_for(r, l, &l->error, e);
    if (!l->work.trainer || !trainer_is_done(l->work.trainer))
        return l->yields ? wait_again(r, l, e) : 0;
    struct err why;
    if (publish_result(r, l, &why) == 0) { /* or somebody has paused or cancelled it */
        note_end(r, l->row.status);
        r->options.changed(r->options.arg, l->row.number);
        return 0;
    }
    return stop_for(r, l, &why, e);
}

/* Of a job that is over nothing stays but its rows. */
static void clean(struct runner *r, const struct live *l)
{
    struct job_row now = {0};
    struct err e;
    int found = job_rows_find(r->options.registry, 0, l->row.id, &now, &e);
    if (found != 0 && strcmp(e.code, "job_not_found") != 0)
        return;
    if (found != 0 || job_is_over(now.status))
        checkpoint_remove(r->directory, l->row.id);
    if (found == 0 && now.status == JOB_CANCELLED)
        publish_take_back(r, &now);
    job_row_fini(&now);
}

static bool settle_one(struct runner *r, struct live *l)
{
    struct err e;
    if (settle(r, l, &e) != 0) {
        log_line(r, "error", l, "its end cannot be written down", &e);
        return false;
    }
    clean(r, l);
    drop(r, l);
    return true;
}

/* ---- the thread ---- */

/* All that can be done now; false: the disk refuses. */
static bool work(struct runner *r)
{
    struct live *l;
    bool said;
    pthread_mutex_lock(&r->lock);
    bool poked = r->poked, stopping = r->stopping;
    r->poked = false;
    pthread_mutex_unlock(&r->lock);
    if (poked && !stopping)
        look(r);
    while ((said = has_reports(r)) || (l = find_left(r)))
        if (!(said ? write_reports(r) : settle_one(r, l)))
            return false;
    while (!stopping && (l = find_stage(r, STAGE_CHECKED)))
        let_wait(r, l);
    while (!stopping && (l = find_stage(r, STAGE_READY)))
        start_training(r, l);
    if (!stopping)
        end_turns(r);
    return true;
}

static bool has_work_locked(const struct runner *r)
{
    const struct live *l;
    TAILQ_FOREACH(l, &r->lives, link) {
        bool begins = l->stage == STAGE_CHECKED || l->stage == STAGE_READY;
        if (l->stage == STAGE_LEFT || (begins && !r->stopping) || !STAILQ_EMPTY(&l->reports))
            return true;
    }
    return r->poked;
}

static void wait_ms(struct runner *r, long ms)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += ms / 1000;
    pthread_cond_timedwait(&r->keeper_wake, &r->lock, &until);
}

/* True: go on. After a failure of the disk nothing is tried for a while. */
static bool wait_for_work(struct runner *r, bool failed)
{
    pthread_mutex_lock(&r->lock);
    bool ended = r->stopping && r->trainer_ended && r->preparer_ended;
    if (failed && !ended)
        wait_ms(r, RETRY_MS);
    else if (!has_work_locked(r) && !ended)
        wait_ms(r, LOOK_MS);
    if (!r->stopping && !has_work_locked(r))
        r->poked = true; /* a look now and then: a tenant may be gone */
    pthread_mutex_unlock(&r->lock);
    return !ended;
}

void *keeper_main(void *arg)
{
    struct runner *r = arg;
    bool ok = true;
    do
        ok = work(r);
    while (wait_for_work(r, !ok));
    work(r); /* what was said while they ended */
    for (struct live *l; (l = TAILQ_FIRST(&r->lives));) {
        TAILQ_REMOVE(&r->lives, l, link);
        live_free(l);
    }
    return NULL;
}
