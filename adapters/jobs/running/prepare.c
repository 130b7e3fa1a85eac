/* The thread that reads files: it looks whether a job can be trained, and when its turn has come makes its
 * trainer, as it stood at the last checkpoint. */
#include <stdio.h>
#include <string.h>

#include "adapters/jobs/checkpoint.h"
#include "adapters/jobs/running/prepare.h"

static int find_source(struct runner *r, struct live *l, struct err *e)
{
    char reference[NAME_MAX_BYTES + 1 + SHA256_HEX + 1];
    if (!l->row.source[0] || l->source)
        return 0;
    snprintf(reference, sizeof reference, "%.*s@%s", (int)strcspn(l->config.model, "@"), l->config.model,
             l->row.source);
    if (registry_resolve(r->options.registry, l->row.tenant, reference, &l->source, e) == 0)
        return 0;
    return err_param(e, "model");
}

/* On another base it would be another adapter. */
static int check_base(const struct runner *r, const struct live *l, struct err *e)
{
    if (strcmp(l->row.base, r->options.base) == 0)
        return 0;
    err_set(e, "base_changed", "the job began on another base model than the one that is served now");
    err_hint(e, "create the job anew, or serve the base that it began on");
    return err_param(e, "model");
}

/* The same name may be another content, after the file was deleted and sent again. */
static int check_file(const struct live *l, struct err *e)
{
    if (strcmp(l->work.training_digest, l->row.training_digest) == 0)
        return 0;
    err_set(e, "file_changed", "the training file is not the one that the job was created with");
    return err_param(e, "training_file");
}

static int check_size(const struct runner *r, const struct live *l, struct err *e)
{
    size_t pass = r->info->numeric ? 0 : live_pass_bytes(r, live_pass_tokens(r, work_longest(&l->work)));
    return work_fits(&l->work, pass, r->options.memory, e);
}

static int take_up(struct runner *r, struct live *l, struct err *e)
{
    bool found = false;
    if (checkpoint_read(r->directory, l->row.id, l->work.trainer, &found, e) == 0)
        return 0;
    if (strcmp(e->code, "checkpoint_malformed") != 0)
        return -1;
    char line[160]; /* the same bits come of the same data, only later */
    snprintf(line, sizeof line, "%s: its checkpoint is damaged, it begins again", l->row.id);
    r->options.log(r->options.arg, "warning", line);
    checkpoint_remove(r->directory, l->row.id);
    return 0;
}

static struct work_source source_of(struct runner *r, struct live *l)
{
    return (struct work_source){.runner = &r->options,
                                .tenant = l->row.tenant,
                                .config = &l->config,
                                .source = l->source,
                                .seed = l->row.seed,
                                .stop = &l->stop};
}

static int read(struct runner *r, struct live *l, struct err *e)
{
    if (check_base(r, l, e) != 0 || find_source(r, l, e) != 0)
        return -1;
    const struct work_source s = source_of(r, l);
    if (work_plan(&l->work, &s, e) != 0 || work_read(&l->work, &s, e) != 0 || check_file(l, e) != 0 ||
        work_measure(&l->work, &s, e) != 0)
        return -1;
    return check_size(r, l, e);
}

/* Its turn has come: it takes its memory. */
static int load(struct runner *r, struct live *l, struct err *e)
{
    if (!l->work.data && read(r, l, e) != 0)
        return -1;
    const struct work_source s = source_of(r, l);
    return work_start(&l->work, &s, e) == 0 ? take_up(r, l, e) : -1;
}

/* One job at most waits with its data at hand: the disk is not to hold what all that wait have sent a second
 * time, as tokens. */
static bool keeps_data_locked(const struct runner *r)
{
    const struct live *l;
    TAILQ_FOREACH(l, &r->lives, link)
        if ((l->stage == STAGE_CHECKED || l->stage == STAGE_WAITING) && l->work.data)
            return true;
    return false;
}

static void note_checked_locked(struct runner *r, struct live *l)
{
    l->bytes = l->work.bytes;
    l->longest = work_longest(&l->work);
    l->steps = trainer_steps_of(&l->work.options, l->work.data->data.count);
    if (keeps_data_locked(r))
        work_fini(&l->work);
}

static struct live *wait_for_job(struct runner *r)
{
    struct live *l = NULL;
    pthread_mutex_lock(&r->lock);
    while (!r->stopping && !(l = live_turn_locked(r)) && !(l = live_unread_locked(r)))
        pthread_cond_wait(&r->preparer_wake, &r->lock);
    if (l) {
        if (l->stage == STAGE_WAITING)
            live_take_locked(r, l);
        live_pass_locked(r, l, l->taken ? STAGE_LOADING : STAGE_READING);
    }
    pthread_mutex_unlock(&r->lock);
    return l;
}

static void pass_on(struct runner *r, struct live *l)
{
    pthread_mutex_lock(&r->lock);
    bool loaded = l->stage == STAGE_LOADING;
    if (!l->failed && !loaded)
        note_checked_locked(r, l);
    if (l->failed || atomic_load(&l->stop))
        live_pass_locked(r, l, STAGE_LEFT);
    else
        live_pass_locked(r, l, loaded ? STAGE_READY : STAGE_CHECKED);
    pthread_mutex_unlock(&r->lock);
}

void *prepare_main(void *arg)
{
    struct runner *r = arg;
    for (struct live *l; (l = wait_for_job(r));) {
        l->failed = (l->taken ? load(r, l, &l->error) : read(r, l, &l->error)) != 0;
        pass_on(r, l);
    }
    pthread_mutex_lock(&r->lock);
    r->preparer_ended = true;
    pthread_cond_signal(&r->keeper_wake);
    pthread_mutex_unlock(&r->lock);
    return NULL;
}
