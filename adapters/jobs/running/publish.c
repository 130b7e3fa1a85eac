/* What a job made becomes versions of its adapter: proved, stored and served as any upload. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/jobs/checkpoint.h"
#include "adapters/jobs/running/publish.h"
#include "adapters/jobs/results.h"
#include "adapters/jobs/running/samples.h"
#include "adapters/serving/upload.h"
#include "adapters/training/lora_export.h"
#include "core/system/clock.h"

/* ---- into files ---- */

static int put_config(void *arg, const void *data, size_t length, struct err *e)
{
    return staged_write(arg, STAGED_CONFIG, data, length, e);
}

static int put_weights(void *arg, const void *data, size_t length, struct err *e)
{
    return staged_write(arg, STAGED_WEIGHTS, data, length, e);
}

int publish_stage(struct runner *r, const struct live *l, struct staged **out, struct err *e)
{
    struct staged *s;
    if (staged_new(&s, r->options.registry, e) != 0)
        return -1;
    if (lora_export_config(l->work.plan, put_config, s, e) != 0 ||
        lora_export_weights(trainer_result(l->work.trainer), put_weights, s, e) != 0) {
        staged_free(s);
        return -1;
    }
    *out = s;
    return 0;
}

/* Consumes `staged`. */
static int publish(struct runner *r, const struct live *l, struct staged *staged, bool activate,
                   char digest[SHA256_HEX + 1], struct err *e)
{
    const struct runner_options *o = &r->options;
    const struct upload u = {
        .tenant = l->row.tenant, .name = l->row.name, .activate = activate, .allow_no_effect = true};
    struct upload_result made = {0};
    if (upload_accept(o->registry, o->cache, o->engine, o->model, staged, &u, &made, e) != 0)
        return -1;
    strcpy(digest, made.version->digest);
    version_unref(made.version);
    proof_fini(&made.proof);
    warnings_fini(&made.warnings);
    return 0;
}

/* ---- on the way ---- */

static int drop_version(struct runner *r, const struct job_row *j, const char *digest, struct err *e)
{
    struct version_expected any = {0};
    return registry_version_delete(r->options.registry, j->tenant, j->name, digest, false, &any, e);
}

/* The version of a checkpoint, and its row. One that was made the active one, or a canary, stays. */
static void drop_checkpoint(struct runner *r, const struct job_row *j, const struct job_checkpoint *c)
{
    struct err e;
    if (drop_version(r, j, c->version, &e) != 0 && strcmp(e.code, "version_not_found") != 0 &&
        strcmp(e.code, "adapter_not_found") != 0)
        return;
    if (job_rows_drop_checkpoint(r->options.registry, j, c->step, &e) != 0)
        r->options.log(r->options.arg, "warning", e.message); /* the row tells of a version that is gone */
}

/* All but the newest so many. */
static void drop_all_but(struct runner *r, const struct job_row *j, size_t keep)
{
    struct job_checkpoint rows[CHECKPOINTS_KEPT + 1] = {0};
    size_t count = 0;
    bool more;
    struct err ignored;
    if (job_rows_checkpoints(r->options.registry, j, 0, CHECKPOINTS_KEPT + 1, rows, &count, &more,
                             &ignored) != 0)
        return;
    for (size_t i = 0; i < count; i++) {
        if (i >= keep)
            drop_checkpoint(r, j, &rows[i]);
        job_checkpoint_fini(&rows[i]);
    }
}

static int note_checkpoint(struct runner *r, struct live *l, const struct report *p, struct job_checkpoint *c,
                           struct err *e)
{
    struct job_event event = {.at_ms = p->at_ms, .level = "info", .type = "message"};
    int result =
        buf_printf(&c->metrics, "{\"step\":%lld,\"train_loss\":%.9g,\"train_mean_token_accuracy\":%.9g}",
                   (long long)p->said.step, p->said.loss, p->said.accuracy) == 0 &&
                buf_printf(&event.message, "Checkpoint created at step %lld: %s@%.12s",
                           (long long)p->said.step, l->row.name, c->version) == 0
            ? job_rows_add_checkpoint(r->options.registry, &l->row, c, e)
            : err_memory(e);
    if (result == 0)
        result = job_rows_add_event(r->options.registry, &l->row, &event, e);
    job_event_fini(&event);
    return result;
}

int publish_checkpoint(struct runner *r, struct live *l, struct report *p, struct err *e)
{
    struct job_checkpoint c = {.step = p->said.step, .at_ms = p->at_ms};
    struct staged *staged = p->staged;
    p->staged = NULL;
    if (publish(r, l, staged, false, c.version, e) != 0)
        return -1;
    int result = note_checkpoint(r, l, p, &c, e);
    job_checkpoint_fini(&c);
    if (result == 0)
        drop_all_but(r, &l->row, CHECKPOINTS_KEPT);
    return result;
}

void publish_take_back(struct runner *r, const struct job_row *j)
{
    drop_all_but(r, j, 0);
}

/* ---- the end ---- */

static int succeed(struct runner *r, struct live *l, const char *digest, const struct buf *samples,
                   struct err *e)
{
    char file[FILE_ID_BYTES];
    const struct job_change c = {
        .to = JOB_SUCCEEDED, .version = digest, .result_file = file, .data = samples};
    struct job_row row = {0};
    if (results_write(r->options.registry, &l->row, file, e) != 0 ||
        job_rows_become(r->options.registry, l->row.tenant, l->row.id, &c, &row, e) != 0)
        return -1;
    job_row_update(&l->row, &row);
    checkpoint_remove(r->directory, l->row.id);
    return 0;
}

static int announce(struct runner *r, struct live *l, const char *digest, struct err *e)
{
    struct job_event event = {.at_ms = clock_unix_ms(), .level = "info", .type = "message"};
    int result = buf_printf(&event.message, "New fine-tuned model created: %s, version sha256:%s",
                            l->row.name, digest) == 0
                     ? job_rows_add_event(r->options.registry, &l->row, &event, e)
                     : err_memory(e);
    job_event_fini(&event);
    return result;
}

static int publish_all(struct runner *r, struct live *l, const struct buf *samples, struct err *e)
{
    char digest[SHA256_HEX + 1];
    struct staged *staged;
    if (publish_stage(r, l, &staged, e) != 0 || publish(r, l, staged, l->config.activate, digest, e) != 0)
        return -1;
    return announce(r, l, digest, e) == 0 ? succeed(r, l, digest, samples, e) : -1;
}

/* Who cancels waits until it is published, or has cancelled before. */
static int publish_unless_stopped(struct runner *r, struct live *l, const struct buf *samples, struct err *e)
{
    struct job_row now = {0};
    pthread_mutex_lock(&r->states);
    int result = job_rows_find(r->options.registry, l->row.tenant, l->row.id, &now, e);
    if (result == 0 && now.status == JOB_QUEUED) { /* resumed while it came to its end */
        job_row_fini(&now);
        result = job_rows_become(r->options.registry, l->row.tenant, l->row.id,
                                 &(struct job_change){.to = JOB_RUNNING}, &now, e);
    }
    if (result == 0 && now.status == JOB_RUNNING)
        result = publish_all(r, l, samples, e);
    pthread_mutex_unlock(&r->states);
    job_row_fini(&now);
    return result;
}

/* Answering takes long on a busy machine, and is done before anybody has to wait for it. */
int publish_result(struct runner *r, struct live *l, struct err *e)
{
    struct buf samples = {0};
    int result = atomic_load(&l->stop) ? 0 : samples_run(r, l, &samples, e);
    if (result == 0)
        result = publish_unless_stopped(r, l, &samples, e);
    buf_fini(&samples);
    return result;
}
