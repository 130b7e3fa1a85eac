#include "core/train/trainer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/train/optimizer.h"
#include "core/train/trainer_private.h"

/* ---- beginning and end ---- */

static int trainer_init(struct trainer *t, struct err *e)
{
    t->steps = train_steps_all(&t->options, t->data->count);
    t->state.best_loss = INFINITY;
    t->state.phase = t->steps == 0                          ? TRAINER_DONE
                     : t->valid && t->options.eval_on_start ? TRAINER_EVALUATION
                                                            : TRAINER_STEP;
    if (t->options.patience > 0) {
        t->best = calloc(t->params->numbers + 1, sizeof *t->best);
        if (!t->best)
            return err_memory(e);
    }
    if (model_info(t->model)->numeric && train_numeric_new(&t->numeric, t->model, e) != 0)
        return -1;
    return train_params_delta(t->params, &t->delta, e);
}

int trainer_new(struct trainer **out, const struct model *m, const struct train_options *o,
                struct train_params *p, const struct train_data *data, const struct train_data *valid,
                struct err *e)
{
    struct trainer *t = calloc(1, sizeof *t);
    if (!t) {
        train_params_free(p);
        return err_memory(e);
    }
    *t = (struct trainer){.model = m,
                          .options = *o,
                          .params = p,
                          .data = data,
                          .valid = valid && valid->count > 0 ? valid : NULL};
    if (trainer_init(t, e) != 0) {
        trainer_free(t);
        return -1;
    }
    *out = t;
    return 0;
}

void trainer_free(struct trainer *t)
{
    if (!t)
        return;
    train_round_fini(&t->round);
    train_numeric_free(t->numeric);
    delta_unref(t->delta);
    train_params_free(t->params);
    free(t->best);
    free(t);
}

size_t trainer_bytes(const struct model *m, const struct train_options *o, const struct train_plan *plan)
{
    /* Of the arrays of params one holds the values, as the delta does and the best. */
    size_t params = train_params_bytes(m, plan);
    return sizeof(struct trainer) + params + params / 4 * (o->patience > 0 ? 2 : 1);
}

int64_t trainer_steps_of(const struct train_options *o, size_t lines)
{
    return train_steps_all(o, lines);
}

int64_t trainer_steps(const struct trainer *t)
{
    return t->steps;
}

int64_t trainer_step(const struct trainer *t)
{
    return t->state.step;
}

bool trainer_is_done(const struct trainer *t)
{
    return t->state.phase == TRAINER_DONE;
}

int64_t trainer_trained_tokens(const struct trainer *t)
{
    return t->state.tokens;
}

const struct train_params *trainer_result(const struct trainer *t)
{
    return t->params;
}

/* ---- from phase to phase ---- */

static int64_t steps_of_epoch(const struct trainer *t)
{
    return train_steps_of_epoch(&t->options, t->data->count);
}

static bool evaluates_now(const struct trainer *t)
{
    int64_t every = t->options.eval_steps, step = t->state.step;
    return t->valid && (step == t->steps || (every > 0 && step % every == 0));
}

/* At the end the best values are the result, where they were kept. */
static int go_on(struct trainer *t, enum trainer_phase phase, struct err *e)
{
    bool restores = phase == TRAINER_DONE && t->best && isfinite(t->state.best_loss);
    t->begun = false;
    t->state.phase = phase;
    if (!restores)
        return 0;
    memcpy(t->params->memory, t->best, t->params->numbers * sizeof *t->best);
    return train_params_refill(t->params, t->delta, e);
}

static int after_step(struct trainer *t, struct err *e)
{
    return go_on(t,
                 evaluates_now(t)            ? TRAINER_EVALUATION
                 : t->state.step == t->steps ? TRAINER_DONE
                                             : TRAINER_STEP,
                 e);
}

static int after_evaluation(struct trainer *t, struct err *e)
{
    bool enough = t->options.patience > 0 && t->state.worse >= t->options.patience;
    return go_on(t, enough || t->state.step == t->steps ? TRAINER_DONE : TRAINER_STEP, e);
}

static int diverged(const struct trainer *t, const char *what, double value, struct err *e)
{
    err_set(e, "training_diverged", "step %lld: the %s is %g", (long long)t->state.step + 1, what, value);
    return err_hint(e, "A smaller learning_rate, or max_grad_norm, keeps it finite.");
}

static int finish_step(struct trainer *t, struct train_report *out, struct err *e)
{
    double norm = optimizer_norm(t->params), rate = train_steps_rate(&t->options, t->state.step, t->steps);
    if (!isfinite(train_round_loss(&t->round)))
        return diverged(t, "loss", train_round_loss(&t->round), e);
    if (!isfinite(norm))
        return diverged(t, "norm of the gradients", norm, e);
    t->state.step++;
    t->state.tokens += t->round.tokens;
    optimizer_step(t->params, &t->options, t->state.step, rate, optimizer_clip(&t->options, norm));
    train_params_clear(t->params);
    if (train_params_refill(t->params, t->delta, e) != 0)
        return -1;
    *out = (struct train_report){.kind = TRAIN_REPORT_STEP, .gradient_norm = norm, .learning_rate = rate};
    return after_step(t, e);
}

static int finish_evaluation(struct trainer *t, struct train_report *out, struct err *e)
{
    double loss = train_round_loss(&t->round);
    bool best = loss < t->state.best_loss;
    if (best)
        t->state.best_loss = loss;
    if (best && t->best)
        memcpy(t->best, t->params->memory, t->params->numbers * sizeof *t->best);
    t->state.worse = best ? 0 : t->state.worse + 1;
    *out = (struct train_report){.kind = TRAIN_REPORT_EVALUATION, .best = best};
    return after_evaluation(t, e);
}

static int finish_round(struct trainer *t, struct train_report *out, struct err *e)
{
    struct train_report report;
    int result = t->round.evaluates ? finish_evaluation(t, &report, e) : finish_step(t, &report, e);
    if (result != 0)
        return -1;
    report.step = t->state.step;
    report.loss = train_round_loss(&t->round);
    report.accuracy = train_round_accuracy(&t->round);
    report.tokens = t->round.tokens;
    report.targets = t->round.targets;
    report.epoch = (double)t->state.step / (double)steps_of_epoch(t);
    *out = report;
    return 0;
}

static int begin_round(struct trainer *t, struct err *e)
{
    if (t->begun)
        return 0;
    int result = t->state.phase == TRAINER_EVALUATION
                     ? train_round_begin_evaluation(&t->round, &t->options, t->valid, e)
                     : train_round_begin_step(&t->round, &t->options, t->data, t->state.step, e);
    t->begun = result == 0;
    return result;
}

/* ---- language models ---- */

int trainer_next(struct trainer *t, int room, struct train_example *out, int max, struct err *e)
{
    if (trainer_is_done(t))
        return 0;
    if (begin_round(t, e) != 0)
        return -1;
    return train_round_next(&t->round, (struct train_round_with){t->delta, t->params}, room, out, max, e);
}

int trainer_give(struct trainer *t, const struct train_example *examples, int count, struct train_report *out,
                 struct err *e)
{
    *out = (struct train_report){.kind = TRAIN_REPORT_NOTHING};
    train_round_give(&t->round, examples, count);
    return train_round_is_done(&t->round) ? finish_round(t, out, e) : 0;
}

bool trainer_can_save(const struct trainer *t)
{
    return !t->begun || t->round.next == t->round.done;
}

/* ---- numeric models ---- */

int trainer_run_numeric(struct trainer *t, struct train_report *out, struct err *e)
{
    *out = (struct train_report){.kind = TRAIN_REPORT_NOTHING};
    if (trainer_is_done(t))
        return 0;
    if (begin_round(t, e) != 0 ||
        train_round_numeric(&t->round, (struct train_round_with){t->delta, t->params}, t->numeric, e) != 0)
        return -1;
    return finish_round(t, out, e);
}
