#include "adapters/jobs/running/runner.h"

#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/jobs/checkpoint.h"
#include "adapters/jobs/running/keeper.h"
#include "adapters/jobs/running/prepare.h"
#include "adapters/jobs/running/train.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "core/system/pool.h"
#include "core/train/train_steps.h"

enum { AT_ONCE_BYTES_MAX = 4 << 20 }; /* files that are read before a job is answered for */
enum { MEASURED_SECONDS_MIN = 2 };

/* ---- between the threads ---- */

static void poke(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->poked = true;
    pthread_cond_signal(&r->keeper_wake);
    pthread_mutex_unlock(&r->lock);
}

/* ---- requests that read files ---- */

static int take_reading_locked(struct runner *r, uint32_t tenant, int *place, struct err *e)
{
    int own = 0;
    *place = -1;
    for (int i = 0; i < RUNNER_READING_MAX; i++)
        if (!r->reading[i])
            *place = i;
        else
            own += r->reading[i] == tenant;
    if (own >= READING_TENANT_MAX)
        return err_set(e, "too_many_in_flight",
                       "files are read for %d requests of this tenant already, the most at the same time",
                       own);
    if (*place < 0)
        return err_set(e, "overloaded", "files are read for %d requests already", RUNNER_READING_MAX);
    r->reading[*place] = tenant;
    return 0;
}

/* No tenant may keep all threads busy with what takes long. */
static int take_reading(struct runner *r, uint32_t tenant, int *place, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    int result = take_reading_locked(r, tenant, place, e);
    pthread_mutex_unlock(&r->lock);
    return result;
}

static void give_reading(struct runner *r, int place)
{
    pthread_mutex_lock(&r->lock);
    r->reading[place] = 0;
    pthread_mutex_unlock(&r->lock);
}

/* Who was stopped by the daemon's end hears so. */
static int end_of_reading(const struct runner *r, int result, struct err *e)
{
    if (result == 0 || !atomic_load(&r->ending) || strcmp(e->code, "cancelled") != 0)
        return result;
    return err_set(e, "shutting_down", "the daemon stops");
}

/* ---- a new job ---- */

static int draw_seed(const struct job_config *c, uint64_t *out)
{
    uint32_t drawn;
    random_bytes(&drawn, sizeof drawn);
    *out = c->seeded ? c->seed : drawn & INT32_MAX;
    return 0;
}

static int check_files(const struct runner *r, const struct work_source *s, struct work *w, struct err *e)
{
    if (work_read(w, s, e) != 0 || work_measure(w, s, e) != 0)
        return -1;
    return work_fits(w, r->info->numeric ? 0 : live_pass_bytes(r, live_pass_tokens(r, work_longest(w))),
                     r->options.memory, e);
}

/* Everything that can be wrong with a job whose files are short; of long ones, what takes no time. */
static int check(struct runner *r, const struct work_source *s, struct work *w, char digest[SHA256_HEX + 1],
                 struct err *e)
{
    uint64_t bytes;
    int place;
    if (work_look(s, &bytes, digest, e) != 0 || work_plan(w, s, e) != 0)
        return -1;
    if (bytes > AT_ONCE_BYTES_MAX)
        return 0;
    if (bytes <= READING_FREE_BYTES)
        return end_of_reading(r, check_files(r, s, w, e), e);
    if (take_reading(r, s->tenant, &place, e) != 0)
        return -1;
    int result = check_files(r, s, w, e);
    give_reading(r, place);
    return end_of_reading(r, result, e);
}

static int fill_row(const struct runner *r, const struct work_source *s, struct job_row *out, struct err *e)
{
    const struct job_config *c = s->config;
    *out = (struct job_row){.tenant = s->tenant, .seed = s->seed};
    strcpy(out->name, c->name);
    strcpy(out->base, r->base);
    strcpy(out->source, s->source ? s->source->digest : "");
    strcpy(out->training_file, c->training_file);
    strcpy(out->validation_file, c->validation_file ? c->validation_file : "");
    char *text = json_dumps(c->json, JSON_COMPACT);
    int failed = !text || buf_append_string(&out->config, text) != 0;
    free(text);
    if (!failed && out->config.length > JOB_CONFIG_BYTES_MAX)
        return err_set(e, "out_of_range", "the job's configuration has %zu bytes, it may have %d",
                       out->config.length, JOB_CONFIG_BYTES_MAX);
    return failed ? err_memory(e) : 0;
}

static int create(struct runner *r, const struct work_source *s, struct work *w, struct job_row *out,
                  struct err *e)
{
    char digest[SHA256_HEX + 1];
    if (fill_row(r, s, out, e) != 0 || check(r, s, w, digest, e) != 0)
        return -1;
    strcpy(out->training_digest, digest);
    return job_rows_create(r->options.registry, out, lora_plan_rank(w->plan), e);
}

int runner_create(struct runner *r, uint32_t tenant, const struct job_config *c, const struct version *source,
                  struct job_row *out, struct err *e)
{
    struct work w = {0};
    struct work_source s = {
        .runner = &r->options, .tenant = tenant, .config = c, .source = source, .stop = &r->ending};
    draw_seed(c, &s.seed);
    int result = create(r, &s, &w, out, e);
    work_fini(&w);
    if (result == 0)
        poke(r);
    else
        job_row_fini(out);
    return result;
}

int runner_change(struct runner *r, uint32_t tenant, const char *id, const struct job_change *c,
                  struct job_row *out, struct err *e)
{
    pthread_mutex_lock(&r->states);
    int result = job_rows_become(r->options.registry, tenant, id, c, out, e);
    pthread_mutex_unlock(&r->states);
    if (result != 0)
        return -1;
    poke(r);
    r->options.changed(r->options.arg, out->number);
    return 0;
}

/* ---- what a job would take ---- */

/* Seconds of a token, by what was trained lately; 0: too little. */
static double token_seconds(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    double seconds =
        r->work_seconds > MEASURED_SECONDS_MIN && r->work_tokens > 0 ? r->work_seconds / r->work_tokens : 0;
    pthread_mutex_unlock(&r->lock);
    return seconds;
}

/* A few passes for this, behind those of the jobs that run. The first step is what is wanted, not a look
 * before it. */
static int measure(struct runner *r, const struct work_source *s, struct work *w, double *seconds,
                   struct err *e)
{
    struct measure m = {.work = w};
    w->options.eval_on_start = false;
    if (work_start(w, s, e) != 0)
        return -1;
    pthread_mutex_lock(&r->lock);
    m.next = r->measures;
    r->measures = &m;
    pthread_cond_broadcast(&r->trainer_wake);
    while (!m.done && !r->trainer_ended)
        pthread_cond_wait(&r->measured, &r->lock);
    pthread_mutex_unlock(&r->lock);
    if (!m.done)
        return err_set(e, "shutting_down", "the daemon stops");
    *seconds = m.token_seconds;
    return m.failed ? (*e = m.error, -1) : 0;
}

static int64_t steps_lines(const struct work *w, int64_t steps)
{
    size_t lines = w->data->data.count;
    int64_t epoch = train_steps_of_epoch(&w->options, lines), whole = steps / epoch, rest = 0;
    for (int64_t k = whole * epoch; k < steps; k++)
        rest += (int64_t)train_steps_span(&w->options, lines, k).count;
    return whole * (int64_t)lines + rest;
}

/* Tokens that are read in evaluations, as many as take so long as a trained one: those go forward and back,
 * which is three times as far. A preference is read by the reference, too. */
static double evaluated_tokens(const struct work *w, int64_t steps)
{
    const struct train_options *o = &w->options;
    if (!w->valid)
        return 0;
    int64_t every = o->eval_steps > 0 ? o->eval_steps : steps;
    int64_t looks = steps / every + (steps % every != 0) + o->eval_on_start;
    double reads = o->method == TRAIN_DPO ? 2 : 1;
    return reads / 3 * (double)w->valid->data.tokens * (double)looks;
}

static void fill_estimate(const struct runner *r, const struct work *w, struct runner_estimate *out)
{
    const struct train_data *d = &w->data->data;
    *out = (struct runner_estimate){.examples = (int64_t)d->count,
                                    .tokens = d->tokens,
                                    .targets = w->data->targets,
                                    .steps = trainer_steps_of(&w->options, d->count),
                                    .memory_bytes = w->bytes};
    out->trained_tokens =
        (int64_t)((double)d->tokens / (double)d->count * (double)steps_lines(w, out->steps));
    out->parameters = work_parameters(w, r->options.model);
    if (!r->info->numeric)
        out->memory_bytes += live_pass_bytes(r, live_pass_tokens(r, work_longest(w)));
}

static int estimate(struct runner *r, const struct work_source *s, struct work *w,
                    struct runner_estimate *out, struct err *e)
{
    char digest[SHA256_HEX + 1];
    uint64_t bytes;
    double seconds = token_seconds(r);
    if (work_look(s, &bytes, digest, e) != 0 || work_plan(w, s, e) != 0 || work_read(w, s, e) != 0 ||
        work_measure(w, s, e) != 0)
        return -1;
    fill_estimate(r, w, out);
    double evaluated = evaluated_tokens(w, out->steps);
    out->measured = seconds > 0;
    size_t pass = r->info->numeric ? 0 : live_pass_bytes(r, live_pass_tokens(r, work_longest(w)));
    if (work_fits(w, pass, r->options.memory, e) != 0 || (seconds <= 0 && measure(r, s, w, &seconds, e) != 0))
        return -1;
    /* a preference is read three times, twice of them for the reference */
    double reads = w->options.method == TRAIN_DPO ? 5.0 / 3 : 1;
    out->seconds = seconds * (reads * (double)out->trained_tokens + evaluated);
    return 0;
}

int runner_estimate(struct runner *r, uint32_t tenant, const struct job_config *c,
                    const struct version *source, struct runner_estimate *out, struct err *e)
{
    struct work w = {0};
    const struct work_source s = {
        .runner = &r->options, .tenant = tenant, .config = c, .source = source, .stop = &r->ending};
    int place;
    if (take_reading(r, tenant, &place, e) != 0)
        return -1;
    int result = estimate(r, &s, &w, out, e);
    work_fini(&w);
    give_reading(r, place);
    return end_of_reading(r, result, e);
}

/* ---- what it does ---- */

void runner_stats(struct runner *r, struct runner_stats *out)
{
    const struct live *l;
    pthread_mutex_lock(&r->lock);
    *out = r->stats;
    out->memory = r->options.memory;
    TAILQ_FOREACH(l, &r->lives, link) {
        bool trains = l->stage == STAGE_TRAINING;
        out->running += trains;
        out->waiting += !trains && l->stage != STAGE_LEFT;
    }
    out->bytes = live_bytes_locked(r);
    pthread_mutex_unlock(&r->lock);
}

/* ---- life ---- */

/* Who is idle in the kernel's eyes gets what nobody else wants. Where that is not possible it trains as
 * everybody else runs. */
static void *start_idle(void *(*run)(void *), void *arg)
{
    struct sched_param none = {0};
    pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
    return run(arg);
}

/* The pool's threads are this one's children, and as idle as it is. */
static void *make_pool(void *arg)
{
    struct runner *r = arg;
    struct err e;
    struct pool *pool = NULL;
    bool made = pool_new(&pool, r->options.threads, &e) == 0;
    pthread_mutex_lock(&r->lock);
    r->pool = pool;
    r->pool_failed = !made;
    pthread_cond_broadcast(&r->trainer_wake);
    pthread_mutex_unlock(&r->lock);
    return made ? train_main(r) : NULL;
}

static void *trainer_begin(void *arg)
{
    return start_idle(make_pool, arg);
}

static int wait_for_pool(struct runner *r, struct err *e)
{
    pthread_mutex_lock(&r->lock);
    while (!r->pool && !r->pool_failed)
        pthread_cond_wait(&r->trainer_wake, &r->lock);
    bool failed = r->pool_failed;
    pthread_mutex_unlock(&r->lock);
    return failed ? err_set(e, "out_of_memory", "cannot start the threads that train") : 0;
}

static void *preparer_begin(void *arg)
{
    return start_idle(prepare_main, arg);
}

static bool keep(void *arg, const char *id)
{
    struct registry *r = arg;
    struct job_row row = {0};
    struct err e;
    int found = job_rows_find(r, 0, id, &row, &e);
    bool kept = found == 0 ? !job_is_over(row.status) : strcmp(e.code, "job_not_found") != 0;
    job_row_fini(&row);
    return kept;
}

static int prepare(struct runner *r, const struct runner_options *o, struct err *e)
{
    r->directory = strdup(o->directory);
    r->base = strdup(o->base);
    r->examples = calloc(TRAIN_PASS_EXAMPLES, sizeof *r->examples);
    if (!r->directory || !r->base || !r->examples)
        return err_memory(e);
    r->options.directory = r->directory;
    r->options.base = r->base;
    return file_make_directories(r->directory, e) == 0 ? checkpoint_sweep(r->directory, keep, o->registry, e)
                                                       : -1;
}

static int start_thread(pthread_t *thread, void *(*run)(void *), struct runner *r, const char *name,
                        struct err *e)
{
    if (pthread_create(thread, NULL, run, r) != 0)
        return err_set(e, "out_of_memory", "cannot start the thread %s", name);
    pthread_setname_np(*thread, name);
    return 0;
}

/* What was started ends again. The trainer is first: its pool says what a pass takes. */
static int start(struct runner *r, struct err *e)
{
    r->preparer_ended = r->trainer_ended = true;
    if (start_thread(&r->trainer, trainer_begin, r, "trainer", e) != 0)
        return -1;
    r->trainer_ended = false;
    r->threads_started = 1;
    if (wait_for_pool(r, e) != 0 || start_thread(&r->preparer, preparer_begin, r, "job files", e) != 0)
        return -1;
    r->preparer_ended = false;
    r->threads_started = 2;
    if (start_thread(&r->keeper, keeper_main, r, "job keeper", e) != 0)
        return -1;
    r->threads_started = 3;
    return 0;
}

int runner_new(struct runner **out, const struct runner_options *o, struct err *e)
{
    struct runner *r = calloc(1, sizeof *r);
    if (!r)
        return err_memory(e);
    r->options = *o;
    r->info = model_info(o->model);
    r->poked = true;
    TAILQ_INIT(&r->lives);
    pthread_mutex_init(&r->states, NULL);
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->keeper_wake, NULL);
    pthread_cond_init(&r->trainer_wake, NULL);
    pthread_cond_init(&r->preparer_wake, NULL);
    pthread_cond_init(&r->measured, NULL);
    pthread_cond_init(&r->written, NULL);
    if (prepare(r, o, e) != 0 || start(r, e) != 0) {
        runner_free(r);
        return -1;
    }
    *out = r;
    return 0;
}

void runner_quiesce(struct runner *r)
{
    if (r)
        atomic_store(&r->ending, true);
}

static void stop(struct runner *r)
{
    struct live *l;
    pthread_mutex_lock(&r->lock);
    r->stopping = true;
    TAILQ_FOREACH(l, &r->lives, link)
        atomic_store(&l->stop, true);
    pthread_cond_broadcast(&r->keeper_wake);
    pthread_cond_broadcast(&r->trainer_wake);
    pthread_cond_broadcast(&r->preparer_wake);
    pthread_mutex_unlock(&r->lock);
}

void runner_free(struct runner *r)
{
    if (!r)
        return;
    stop(r);
    if (r->threads_started > 0)
        pthread_join(r->trainer, NULL);
    if (r->threads_started > 1)
        pthread_join(r->preparer, NULL);
    if (r->threads_started > 2)
        pthread_join(r->keeper, NULL);
    pool_free(r->pool);
    pthread_mutex_destroy(&r->states);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->keeper_wake);
    pthread_cond_destroy(&r->trainer_wake);
    pthread_cond_destroy(&r->preparer_wake);
    pthread_cond_destroy(&r->measured);
    pthread_cond_destroy(&r->written);
    free(r->examples);
    free(r->directory);
    free(r->base);
    free(r);
}
