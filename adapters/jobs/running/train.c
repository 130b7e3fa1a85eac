/* The thread that computes: asks the jobs that run for examples, puts those of as many as fit into one pass,
 * and gives them back. */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/jobs/checkpoint.h"
#include "adapters/jobs/running/train.h"
#include "adapters/jobs/running/publish.h"
#include "adapters/jobs/running/report.h"
#include "core/system/clock.h"
#include "core/train/train_steps.h"

enum { MEASURE_US = 1000000, LATELY_SECONDS = 60 };

/* ---- letting go of a job ---- */

static void leave(struct runner *r, struct live *l, const struct err *error)
{
    l->failed = error != NULL;
    if (error)
        l->error = *error;
    pthread_mutex_lock(&r->lock);
    live_pass_locked(r, l, STAGE_LEFT);
    pthread_mutex_unlock(&r->lock);
}

/* What a checkpoint has behind it is never computed again: it must have been told before. */
static int wait_written(struct runner *r, struct live *l, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    while (l->unwritten > 0 && !r->write_failed)
        pthread_cond_wait(&r->written, &r->lock);
    bool failed = l->unwritten > 0;
    pthread_mutex_unlock(&r->lock);
    return failed ? err_set(e, "storage_full", "the job's progress cannot be written to the disk") : 0;
}

static int save(struct runner *r, struct live *l, struct err *e)
{
    if (wait_written(r, l, e) != 0)
        return -1;
    l->saved_us = clock_us();
    if (checkpoint_write(r->directory, l->row.id, l->work.trainer, e) != 0)
        return -1;
    pthread_mutex_lock(&r->lock);
    r->stats.checkpoints++;
    pthread_mutex_unlock(&r->lock);
    return 0;
}

/* What was asked for in between, or is due. */
static void settle(struct runner *r, struct live *l)
{
    struct err e;
    bool stop = atomic_load(&l->stop), due = clock_us() - l->saved_us >= SAVE_INTERVAL_US;
    if (trainer_is_done(l->work.trainer)) {
        leave(r, l, NULL);
    } else if ((stop || due) && trainer_can_save(l->work.trainer)) {
        if (save(r, l, &e) != 0)
            leave(r, l, &e);
        else if (stop)
            leave(r, l, NULL);
    }
}

/* ---- what a job says ---- */

static bool ends_epoch(const struct live *l, int64_t step)
{
    const struct train_options *o = &l->work.options;
    size_t lines = l->work.data->data.count;
    return train_steps_span(o, lines, step - 1).epoch != train_steps_span(o, lines, step).epoch;
}

/* Is the adapter as it is now to be kept? The last one is the result. */
static bool is_checkpoint(const struct live *l, const struct train_report *said)
{
    int64_t every = l->config.training.checkpoint_steps;
    if (said->kind != TRAIN_REPORT_STEP || said->step >= trainer_steps(l->work.trainer))
        return false;
    return every ? said->step % every == 0 : ends_epoch(l, said->step);
}

static struct report *report_new(struct live *l, const struct train_report *said)
{
    struct report *p = calloc(1, sizeof *p);
    uint64_t now = clock_us();
    if (!p)
        return NULL;
    p->said = *said;
    p->at_ms = clock_unix_ms();
    p->tokens = trainer_trained_tokens(l->work.trainer);
    if (said->kind == TRAIN_REPORT_STEP && now > l->step_us)
        p->tokens_per_second = (double)said->tokens * 1e6 / (double)(now - l->step_us);
    l->step_us = now;
    return p;
}

static void tell(struct runner *r, struct live *l, struct report *p)
{
    pthread_mutex_lock(&r->lock);
    STAILQ_INSERT_TAIL(&l->reports, p, link);
    l->report_count++;
    l->unwritten++;
    if (p->said.kind == TRAIN_REPORT_STEP) {
        r->stats.steps++;
        r->stats.tokens += (uint64_t)p->said.tokens;
    }
    pthread_cond_signal(&r->keeper_wake);
    pthread_mutex_unlock(&r->lock);
}

static int hear(struct runner *r, struct live *l, const struct train_report *said, struct err *e)
{
    if (said->kind == TRAIN_REPORT_NOTHING)
        return 0;
    struct report *p = report_new(l, said);
    if (!p)
        return err_memory(e);
    bool keep = is_checkpoint(l, said);
    if (keep && publish_stage(r, l, &p->staged, e) != 0) {
        report_free(p);
        return -1;
    }
    tell(r, l, p);
    return keep ? save(r, l, e) : 0;
}

/* ---- a pass ---- */

static int tokens_of(const struct train_example *examples, int count)
{
    int tokens = 0;
    for (int i = 0; i < count; i++)
        tokens += examples[i].sequence->count;
    return tokens;
}

/* One job's part of a pass. */
struct share {
    struct live *live; /* NULL: it left */
    int given;         /* examples */
};

static int by_served(const void *a, const void *b)
{
    const struct live *x = ((const struct share *)a)->live, *y = ((const struct share *)b)->live;
    if (x->served != y->served)
        return x->served < y->served ? -1 : 1;
    return (x->row.number > y->row.number) - (x->row.number < y->row.number);
}

/* The examples of one job that fit into what is left of the pass. */
static void ask(struct runner *r, struct share *s, int first, int *room)
{
    struct err e;
    int tokens = 0, count = trainer_next(s->live->work.trainer, *room, r->examples + first,
                                         TRAIN_PASS_EXAMPLES - first, &e);
    if (count < 0) {
        leave(r, s->live, &e);
        s->live = NULL;
        return;
    }
    s->given = count;
    tokens = tokens_of(r->examples + first, count);
    *room -= tokens;
    s->live->served += (double)tokens / s->live->weight;
}

/* Those who had least for their weight come first; what they do not fill is the next ones'. */
static int ask_all(struct runner *r, struct share *shares, int count)
{
    int room = train_pass_tokens(r->pass), given = 0;
    qsort(shares, (size_t)count, sizeof *shares, by_served);
    for (int i = 0; i < count && given < TRAIN_PASS_EXAMPLES && room > 0; i++) {
        ask(r, &shares[i], given, &room);
        given += shares[i].given;
    }
    return given;
}

static void give_back(struct runner *r, const struct share *s, const struct train_example *examples)
{
    struct err e;
    struct live *l = s->live;
    struct train_report said = {.kind = TRAIN_REPORT_NOTHING};
    if (trainer_give(l->work.trainer, examples, s->given, &said, &e) != 0 || hear(r, l, &said, &e) != 0)
        leave(r, l, &e);
    else
        settle(r, l);
}

static void give_all(struct runner *r, const struct share *shares, int count)
{
    const struct train_example *own = r->examples;
    for (int i = 0; i < count; i++) {
        if (shares[i].live && shares[i].given > 0)
            give_back(r, &shares[i], own);
        own += shares[i].given;
    }
}

static void note_pass(struct runner *r, uint64_t us)
{
    pthread_mutex_lock(&r->lock);
    r->stats.passes++;
    r->stats.busy_us += us;
    pthread_mutex_unlock(&r->lock);
}

/* What is only read forward takes a third of the time. */
static double work_of(const struct train_example *examples, int count)
{
    double tokens = 0;
    for (int i = 0; i < count; i++)
        tokens += examples[i].sequence->count / (examples[i].params ? 1.0 : 3.0);
    return tokens;
}

/* The whole of it, with the optimizer's steps and what is written on the way. The machine's other work
 * changes: what was long ago counts less and less. */
static void note_work(struct runner *r, double tokens, uint64_t us)
{
    pthread_mutex_lock(&r->lock);
    if (r->work_seconds > LATELY_SECONDS) {
        r->work_seconds /= 2;
        r->work_tokens /= 2;
    }
    r->work_seconds += (double)us / 1e6;
    r->work_tokens += tokens;
    pthread_mutex_unlock(&r->lock);
}

static int prepare_pass(struct runner *r, struct live **jobs, int count, struct err *e)
{
    int longest = 0;
    for (int i = 0; i < count; i++)
        if (work_longest(&jobs[i]->work) > longest)
            longest = work_longest(&jobs[i]->work);
    int tokens = live_pass_tokens(r, longest);
    if (r->pass && train_pass_tokens(r->pass) >= tokens)
        return 0;
    train_pass_free(r->pass);
    r->pass = NULL;
    return train_pass_new(&r->pass, r->options.model, r->pool, r->options.gate, tokens, e);
}

/* Nobody has an example that fits an empty pass: that cannot be, and would be for ever. */
static void give_up(struct runner *r, const struct share *shares, int count)
{
    struct err e;
    err_set(&e, "internal_error", "no example fits a pass of %d tokens", train_pass_tokens(r->pass));
    for (int i = 0; i < count; i++) {
        if (shares[i].live && trainer_is_done(shares[i].live->work.trainer))
            leave(r, shares[i].live, NULL);
        else if (shares[i].live)
            leave(r, shares[i].live, &e);
    }
}

static void run_pass(struct runner *r, struct live **jobs, int count)
{
    struct err e;
    struct share shares[RUNNING_MAX];
    if (prepare_pass(r, jobs, count, &e) != 0) {
        for (int i = 0; i < count; i++)
            leave(r, jobs[i], &e);
        return;
    }
    for (int i = 0; i < count; i++)
        shares[i] = (struct share){.live = jobs[i]};
    int given = ask_all(r, shares, count);
    if (given == 0) {
        give_up(r, shares, count);
        return;
    }
    uint64_t before = clock_us();
    double work = work_of(r->examples, given);
    train_pass_run(r->pass, r->examples, given);
    note_pass(r, clock_us() - before);
    give_all(r, shares, count);
    note_work(r, work, clock_us() - before);
}

/* A step of each: numeric bases are small. */
static void run_numeric(struct runner *r, struct live **jobs, int count)
{
    struct err e;
    for (int i = 0; i < count; i++) {
        struct train_report said = {.kind = TRAIN_REPORT_NOTHING};
        gate_pass(r->options.gate);
        if (trainer_run_numeric(jobs[i]->work.trainer, &said, &e) != 0 || hear(r, jobs[i], &said, &e) != 0)
            leave(r, jobs[i], &e);
        else
            settle(r, jobs[i]);
    }
}

/* ---- how long a pass takes ---- */

static int time_numeric(struct work *w, double *token_seconds, struct err *e)
{
    struct train_report said = {.kind = TRAIN_REPORT_NOTHING};
    uint64_t before = clock_us();
    if (trainer_run_numeric(w->trainer, &said, e) != 0)
        return -1;
    size_t lines = train_steps_span(&w->options, w->data->data.count, 0).count;
    *token_seconds = (double)(clock_us() - before) / 1e6 / (double)(lines ? lines : 1);
    return 0;
}

/* One pass of the trainer's, and what comes of it. 0: it has none. */
static int measured_pass(struct runner *r, struct train_pass *pass, struct work *w, double *tokens,
                         struct err *e)
{
    struct train_report ignored;
    int given = trainer_next(w->trainer, train_pass_tokens(pass), r->examples, TRAIN_PASS_EXAMPLES, e);
    if (given <= 0)
        return given;
    *tokens += work_of(r->examples, given);
    train_pass_run(pass, r->examples, given);
    return trainer_give(w->trainer, r->examples, given, &ignored, e) == 0 ? given : -1;
}

/* For as long as says something. Where passes are short the first is slower than all others. */
static int time_passes(struct runner *r, struct train_pass *pass, struct work *w, double *token_seconds,
                       struct err *e)
{
    double tokens = 0;
    int given = 1;
    uint64_t before = clock_us(), spent = 0;
    for (int passes = 0; given > 0 && spent < MEASURE_US && !trainer_is_done(w->trainer); passes++) {
        if (passes == 1 && spent < MEASURE_US / 4) {
            tokens = 0;
            before = clock_us();
        }
        given = measured_pass(r, pass, w, &tokens, e);
        spent = clock_us() - before;
    }
    if (tokens > 0)
        *token_seconds = (double)spent / 1e6 / tokens;
    return given < 0 ? -1 : 0;
}

static int time_pass(struct runner *r, struct work *w, double *token_seconds, struct err *e)
{
    struct train_pass *pass;
    int tokens = live_pass_tokens(r, work_longest(w));
    if (train_pass_new(&pass, r->options.model, r->pool, r->options.gate, tokens, e) != 0)
        return -1;
    int result = time_passes(r, pass, w, token_seconds, e);
    train_pass_free(pass);
    return result;
}

static void run_measure(struct runner *r, struct measure *m)
{
    m->failed = (r->info->numeric ? time_numeric(m->work, &m->token_seconds, &m->error)
                                  : time_pass(r, m->work, &m->token_seconds, &m->error)) != 0;
    pthread_mutex_lock(&r->lock);
    m->done = true;
    pthread_cond_broadcast(&r->measured);
    pthread_mutex_unlock(&r->lock);
}

static void run_measures(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    struct measure *m = r->measures;
    r->measures = NULL;
    pthread_mutex_unlock(&r->lock);
    for (struct measure *next; m; m = next) {
        next = m->next;
        run_measure(r, m);
    }
}

/* ---- the thread ---- */

/* Whose stage it is, but for those whose reports nobody takes away. A job that comes new is not behind for
 * what it missed. */
static int collect_locked(struct runner *r, struct live *out[RUNNING_MAX])
{
    struct live *l;
    double least = -1;
    int count = 0;
    TAILQ_FOREACH(l, &r->lives, link)
        if (l->stage == STAGE_TRAINING && l->served >= 0 && (least < 0 || l->served < least))
            least = l->served;
    TAILQ_FOREACH(l, &r->lives, link) {
        if (l->stage != STAGE_TRAINING || count == RUNNING_MAX)
            continue;
        if (l->served < 0)
            l->served = least > 0 ? least : 0;
        if (l->report_count < REPORTS_MAX || atomic_load(&l->stop))
            out[count++] = l;
    }
    return count;
}

/* Waits until there is something to compute. False: the runner stops, and nobody trains any more. */
static bool wait_for_jobs(struct runner *r, struct live *out[RUNNING_MAX], int *count)
{
    pthread_mutex_lock(&r->lock);
    while ((*count = collect_locked(r, out)) == 0 && !r->stopping && !r->measures) {
        if (r->pass) { /* its memory goes back while nobody needs it */
            pthread_mutex_unlock(&r->lock);
            train_pass_free(r->pass);
            r->pass = NULL;
            pthread_mutex_lock(&r->lock);
            continue;
        }
        pthread_cond_wait(&r->trainer_wake, &r->lock);
    }
    bool more = *count > 0 || !r->stopping;
    pthread_mutex_unlock(&r->lock);
    return more;
}

/* Those that are to stop do so before another pass. */
static int drop_stopped(struct runner *r, struct live **jobs, int count)
{
    int left = 0;
    for (int i = 0; i < count; i++)
        if (atomic_load(&jobs[i]->stop))
            settle(r, jobs[i]);
        else
            jobs[left++] = jobs[i];
    return left;
}

void *train_main(void *arg)
{
    struct runner *r = arg;
    struct live *jobs[RUNNING_MAX];
    for (int count; wait_for_jobs(r, jobs, &count);) {
        run_measures(r);
        count = drop_stopped(r, jobs, count);
        if (count == 0)
            continue;
        if (r->info->numeric)
            run_numeric(r, jobs, count);
        else
            run_pass(r, jobs, count);
    }
    train_pass_free(r->pass);
    r->pass = NULL;
    pthread_mutex_lock(&r->lock);
    r->trainer_ended = true;
    pthread_cond_broadcast(&r->measured);
    pthread_cond_signal(&r->keeper_wake);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
