/* What trainers say becomes events and progress. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/jobs/running/report.h"
#include "core/system/clock.h"

void report_free(struct report *p)
{
    if (!p)
        return;
    staged_free(p->staged);
    free(p);
}

/* Of jobs with very many steps every step is counted, and a share of them told. */
static bool is_told(const struct live *l, const struct train_report *said)
{
    int64_t steps = trainer_steps(l->work.trainer), every = (steps + EVENTS_MAX - 1) / EVENTS_MAX;
    return said->kind == TRAIN_REPORT_EVALUATION || said->step == 1 || said->step == steps ||
           said->step % every == 0;
}

/* Steps and evaluations that were written down before the job's last end come once more, with the same
 * numbers. */
static bool is_new(const struct live *l, const struct train_report *said)
{
    return said->kind == TRAIN_REPORT_STEP ? said->step > l->row.step : said->step > l->evaluated;
}

/* When it will be done, at the speed of the last steps. */
static int64_t estimate(struct live *l, const struct report *p)
{
    double ms = (double)(p->at_ms - l->step_ms);
    if (p->said.kind != TRAIN_REPORT_STEP)
        return l->row.estimated_ms;
    if (l->step_ms && ms >= 0)
        l->ms_per_step = l->ms_per_step > 0 ? 0.8 * l->ms_per_step + 0.2 * ms : ms;
    l->step_ms = p->at_ms;
    if (l->ms_per_step <= 0)
        return 0;
    return p->at_ms + (int64_t)(l->ms_per_step * (double)(trainer_steps(l->work.trainer) - p->said.step));
}

static int set_number(json_t *o, const char *name, double value)
{
    return json_object_set_new(o, name, isfinite(value) ? json_real(value) : json_null());
}

static json_t *step_json(const struct live *l, const struct report *p, int64_t estimated_ms)
{
    const struct train_report *s = &p->said;
    json_t *o = json_pack("{s:I, s:I, s:I}", "step", (json_int_t)s->step, "total_steps",
                          (json_int_t)trainer_steps(l->work.trainer), "tokens", (json_int_t)s->tokens);
    int failed = !o || set_number(o, "train_loss", s->loss) || set_number(o, "train_accuracy", s->accuracy) ||
                 set_number(o, "grad_norm", s->gradient_norm) ||
                 set_number(o, "learning_rate", s->learning_rate) || set_number(o, "epoch", s->epoch) ||
                 set_number(o, "tokens_per_second", p->tokens_per_second) ||
                 json_object_set_new(o, "estimated_finish",
                                     estimated_ms ? json_integer(estimated_ms / 1000) : json_null());
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *evaluation_json(const struct live *l, const struct report *p)
{
    const struct train_report *s = &p->said;
    json_t *o = json_pack("{s:I, s:I}", "step", (json_int_t)s->step, "total_steps",
                          (json_int_t)trainer_steps(l->work.trainer));
    if (o && !set_number(o, "valid_loss", s->loss) &&
        !set_number(o, "valid_mean_token_accuracy", s->accuracy) &&
        !json_object_set_new(o, "best", json_boolean(s->best)))
        return o;
    json_decref(o);
    return NULL;
}

static int put(const char *bytes, size_t length, void *out)
{
    return buf_append(out, bytes, length);
}

static int fill_event(const struct live *l, const struct report *p, int64_t estimated_ms,
                      struct job_event *out, struct err *e)
{
    bool step = p->said.kind == TRAIN_REPORT_STEP;
    json_t *data = step ? step_json(l, p, estimated_ms) : evaluation_json(l, p);
    *out = (struct job_event){.at_ms = p->at_ms, .level = "info", .type = "metrics"};
    int failed = !data || json_dump_callback(data, put, &out->data, JSON_COMPACT) != 0 ||
                 buf_printf(&out->message, "Step %lld/%lld: %s loss=%.4f", (long long)p->said.step,
                            (long long)trainer_steps(l->work.trainer), step ? "training" : "validation",
                            p->said.loss) != 0;
    json_decref(data);
    return failed ? err_memory(e) : 0;
}

struct batch {
    struct job_event events[REPORTS_MAX];
    size_t count;
    struct job_progress progress;
    int64_t evaluated;
};

static int gather(struct live *l, struct reports *reports, struct batch *b, struct err *e)
{
    struct report *p;
    b->progress = (struct job_progress){l->row.step, l->row.tokens, l->row.estimated_ms};
    b->evaluated = l->evaluated;
    STAILQ_FOREACH(p, reports, link) {
        int64_t estimated_ms = estimate(l, p);
        if (!is_new(l, &p->said))
            continue;
        b->progress.estimated_ms = estimated_ms;
        if (p->said.kind == TRAIN_REPORT_EVALUATION)
            b->evaluated = p->said.step;
        else
            b->progress.step = p->said.step;
        b->progress.tokens = p->tokens > b->progress.tokens ? p->tokens : b->progress.tokens;
        if (is_told(l, &p->said) && b->count < REPORTS_MAX &&
            fill_event(l, p, estimated_ms, &b->events[b->count++], e) != 0)
            return -1;
    }
    return 0;
}

static int write_batch(struct runner *r, struct live *l, struct reports *reports, struct batch *b, bool *over,
                       struct err *e)
{
    if (gather(l, reports, b, e) != 0 ||
        job_rows_advance(r->options.registry, &l->row, &b->progress, b->events, b->count, over, e) != 0)
        return -1;
    l->row.step = b->progress.step;
    l->row.tokens = b->progress.tokens;
    l->row.estimated_ms = b->progress.estimated_ms;
    l->evaluated = b->evaluated;
    return 0;
}

int report_write(struct runner *r, struct live *l, struct reports *reports, bool *over, struct err *e)
{
    struct batch *b = calloc(1, sizeof *b);
    int result = b ? write_batch(r, l, reports, b, over, e) : err_memory(e);
    for (size_t i = 0; b && i < b->count; i++)
        job_event_fini(&b->events[i]);
    free(b);
    return result;
}
