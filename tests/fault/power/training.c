/* Files and jobs of training: what is told of them, and lives in which they are made. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/files/files.h"
#include "adapters/jobs/checkpoint.h"
#include "adapters/jobs/job_rows.h"
#include "adapters/jobs/results.h"
#include "adapters/training/lora_plan.h"
#include "core/base/sha256.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "core/train/trainer.h"
#include "tests/fault/power/life.h"

enum { LIST_MAX = 64, INPUTS = 16, OUTPUTS = 10 };
#define TRAINING HISTORY_DATA "/training"

/* ---- what is there ---- */

static int describe_files(struct registry *r, uint32_t tenant, struct buf *out, struct err *e)
{
    static struct file_row rows[LIST_MAX];
    const struct file_query q = {.tenant = tenant, .now_ms = clock_unix_ms(), .limit = LIST_MAX};
    size_t count = 0;
    bool more;
    if (files_list(r, &q, rows, &count, &more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        buf_printf(out, " file %s %s %s %llu %lld %lld %s\n", rows[i].id, rows[i].name, rows[i].purpose,
                   (unsigned long long)rows[i].bytes, (long long)rows[i].examples,
                   (long long)rows[i].created_ms, rows[i].blob);
    return 0;
}

/* The checkpoint on the disk, whose bytes are those of one that was written; of a job that is over there may
 * be one that nobody reads any more. */
static int describe_state(const char *directory, const struct job_row *j, struct buf *out, struct err *e)
{
    char name[JOB_ID_BYTES + 8], hex[SHA256_HEX + 1] = "none";
    uint8_t digest[SHA256_BYTES];
    struct buf content = {0};
    if (job_is_over(j->status))
        return 0;
    snprintf(name, sizeof name, "%s.state", j->id);
    char *folder = file_join(directory, TRAINING), *path = folder ? file_join(folder, name) : NULL;
    int result = path ? 0 : err_memory(e);
    if (path && file_exists(path)) {
        result = file_read(path, 1 << 24, &content, e);
        sha256_of(content.data ? content.data : "", content.length, digest);
        hex_encode(digest, sizeof digest, hex);
    }
    buf_printf(out, "  state %s\n", hex);
    buf_fini(&content);
    free(path);
    free(folder);
    return result;
}

static int describe_events(struct registry *r, const struct job_row *j, struct buf *out, struct err *e)
{
    struct job_event events[LIST_MAX] = {0};
    size_t count = 0;
    bool more;
    if (job_rows_events(r, j, 0, false, LIST_MAX, events, &count, &more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "  event %lld %lld %s %s %.*s\n", (long long)events[i].place,
                   (long long)events[i].at_ms, events[i].level, events[i].type, (int)events[i].message.length,
                   events[i].message.data);
        job_event_fini(&events[i]);
    }
    return 0;
}

static int describe_checkpoints(struct registry *r, const struct job_row *j, struct buf *out, struct err *e)
{
    struct job_checkpoint rows[LIST_MAX] = {0};
    size_t count = 0;
    bool more;
    if (job_rows_checkpoints(r, j, 0, LIST_MAX, rows, &count, &more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        buf_printf(out, "  checkpoint %lld %s\n", (long long)rows[i].step, rows[i].version);
        job_checkpoint_fini(&rows[i]);
    }
    return 0;
}

static int describe_job(struct registry *r, const char *directory, const struct job_row *j, struct buf *out,
                        struct err *e)
{
    buf_printf(out, " job %s %s %s %lld/%lld %lld %s %s\n", j->id, job_status_names[j->status], j->name,
               (long long)j->step, (long long)j->steps, (long long)j->tokens, j->result_file, j->version);
    return describe_state(directory, j, out, e) == 0 && describe_events(r, j, out, e) == 0
               ? describe_checkpoints(r, j, out, e)
               : -1;
}

int training_describe(struct registry *r, const char *directory, uint32_t tenant, struct buf *out,
                      struct err *e)
{
    static struct job_row rows[LIST_MAX];
    size_t count = 0;
    bool more;
    if (describe_files(r, tenant, out, e) != 0 ||
        job_rows_list(r, tenant, NULL, LIST_MAX, rows, &count, &more, e) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count && result == 0; i++)
        result = describe_job(r, directory, &rows[i], out, e);
    job_rows_fini(rows, count);
    memset(rows, 0, sizeof rows);
    return result;
}

/* ---- changes of files ---- */

static uint32_t acme(const struct history *h)
{
    struct tenant_row row = {.number = 0};
    struct err ignored;
    return registry_tenant_find(h->registry, "acme", &row, &ignored) == 0 ? row.number : 0;
}

static int create_acme(struct history *h, struct err *e)
{
    struct tenant_row row;
    return registry_tenant_create(h->registry, "acme", NULL, &row, e);
}

/* *id "": there is none. */
static int find_named(struct history *h, const char *name, char id[FILE_ID_BYTES], struct err *e)
{
    static struct file_row rows[LIST_MAX];
    const struct file_query q = {.tenant = acme(h), .now_ms = clock_unix_ms(), .limit = LIST_MAX};
    size_t count = 0;
    bool more;
    id[0] = '\0';
    if (files_list(h->registry, &q, rows, &count, &more, e) != 0)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].name, name) == 0)
            strcpy(id, rows[i].id);
    return 0;
}

/* What is there already was done by a process that died. */
static int upload(struct history *h, const char *name, const char *text, struct err *e)
{
    char id[FILE_ID_BYTES];
    struct files_upload *u;
    struct file_row row;
    const struct files_new n = {.tenant = acme(h), .name = name, .purpose = FILE_PURPOSE_TRAINING};
    int found = find_named(h, name, id, e);
    if (found != 0 || id[0])
        return found;
    if (files_upload_new(&u, h->registry, true, e) != 0)
        return -1;
    if (files_upload_write(u, text, strlen(text), e) != 0) {
        files_upload_free(u);
        return -1;
    }
    return files_upload_accept(u, &n, &row, e);
}

static int upload_first(struct history *h, struct err *e)
{
    return upload(h, "first.jsonl", "{\"text\": \"first\"}\n", e);
}

static int upload_second(struct history *h, struct err *e)
{
    return upload(h, "second.jsonl", "{\"text\": \"second\"}\n", e);
}

static int upload_shared(struct history *h, struct err *e)
{
    return upload(h, "shared.jsonl", "{\"text\": \"first\"}\n", e);
}

static int delete_named(struct history *h, const char *name, struct err *e)
{
    char id[FILE_ID_BYTES];
    int found = find_named(h, name, id, e);
    return found == 0 && id[0] ? files_delete(h->registry, acme(h), id, e) : found;
}

static int delete_first(struct history *h, struct err *e)
{
    return delete_named(h, "first.jsonl", e);
}

static int delete_second(struct history *h, struct err *e)
{
    return delete_named(h, "second.jsonl", e);
}

static int delete_shared(struct history *h, struct err *e)
{
    return delete_named(h, "shared.jsonl", e);
}

/* ---- a job ---- */

/* What the runner has in memory, beside the registry. One life at a time. */
static struct {
    struct model *model;
    struct lora_plan *plan;
    struct trainer *trainer;
    struct job_row row;
} job;

static int one_line(const struct train_data *d, size_t index, struct train_line *out, struct err *e)
{
    static const float input[INPUTS] = {1, -1, 0.5f}, target[OUTPUTS] = {0.25f, -2};
    (void)d, (void)index, (void)e;
    *out = (struct train_line){.input = input, .target = target};
    return 0;
}

static const struct train_data data = {.count = 4, .line = one_line};

static void must(int result, const struct err *e)
{
    if (result != 0)
        fail_msg("%s: %s", e->code, e->message);
}

/* Small, and trained for real: what is saved changes with each step. */
static void make_trainer(void)
{
    static const struct train_options o = {.loss = TRAIN_MSE,
                                           .learning_rate = 1e-2,
                                           .adam_beta1 = 0.9,
                                           .adam_beta2 = 0.999,
                                           .adam_epsilon = 1e-8,
                                           .max_steps = 1000,
                                           .batch_size = 2,
                                           .accumulation = 1};
    struct train_params *params;
    struct err e = {.code = ""};
    const char *path = "tests/fixtures/models/mlp";
    must(model_open(&job.model, path, &(struct model_options){.threads = 1}, &e), &e);
    json_t *lora = json_pack("{s:i}", "r", 2);
    must(lora_plan_new(&job.plan, job.model, lora, NULL, &e), &e);
    json_decref(lora);
    must(train_params_new(&params, job.model, &job.plan->peft.train, 7, &e), &e);
    must(trainer_new(&job.trainer, job.model, &o, params, &data, NULL, &e), &e);
}

static void free_trainer(void)
{
    trainer_free(job.trainer);
    lora_plan_free(job.plan);
    model_close(job.model);
    job_row_fini(&job.row);
    memset(&job, 0, sizeof job);
}

static char *folder(const struct history *h)
{
    return file_join(h->root, TRAINING);
}

static bool is_own(void *arg, const char *id)
{
    (void)arg;
    return strcmp(id, job.row.id) == 0;
}

/* As the runner does when it starts. */
static int make_folder(struct history *h, struct err *e)
{
    char *path = folder(h);
    int result = path ? file_make_directories(path, e) : err_memory(e);
    if (result == 0)
        result = checkpoint_sweep(path, is_own, NULL, e);
    free(path);
    return result;
}

static int create_job(struct history *h, struct err *e)
{
    job.row = (struct job_row){.tenant = acme(h), .name = "made", .training_file = "file-1", .seed = 7};
    buf_append_string(&job.row.config, "{}");
    return job_rows_create(h->registry, &job.row, 2, e);
}

static int become(struct history *h, const struct job_change *c, struct err *e)
{
    struct job_row row = {0};
    int result = job_rows_become(h->registry, job.row.tenant, job.row.id, c, &row, e);
    job_row_fini(&row);
    return result;
}

static int queue_job(struct history *h, struct err *e)
{
    return become(h, &(struct job_change){.to = JOB_QUEUED}, e);
}

static int run_job(struct history *h, struct err *e)
{
    return become(h, &(struct job_change){.to = JOB_RUNNING}, e);
}

static int pause_job(struct history *h, struct err *e)
{
    return become(h, &(struct job_change){.to = JOB_PAUSED}, e);
}

/* A step, told with its event and what it is charged. */
static int tell_step(struct history *h, struct err *e)
{
    struct train_report said = {.kind = TRAIN_REPORT_NOTHING};
    struct job_event event = {.at_ms = clock_unix_ms(), .level = "info", .type = "metrics"};
    bool over;
    if (trainer_run_numeric(job.trainer, &said, e) != 0)
        return -1;
    buf_printf(&event.message, "step %lld: %.9g", (long long)said.step, said.loss);
    buf_printf(&event.data, "{\"step\": %lld, \"train_loss\": %.9g}", (long long)said.step, said.loss);
    const struct job_progress p = {said.step, 10 * said.step, 0};
    int result = job_rows_advance(h->registry, &job.row, &p, &event, 1, &over, e);
    job_event_fini(&event);
    return result;
}

static int save(struct history *h, struct err *e)
{
    char *path = folder(h);
    int result = path ? checkpoint_write(path, job.row.id, job.trainer, e) : err_memory(e);
    free(path);
    return result;
}

static int note_checkpoint(struct history *h, struct err *e)
{
    struct job_checkpoint c = {.step = trainer_step(job.trainer), .at_ms = clock_unix_ms()};
    memset(c.version, 'a', SHA256_HEX);
    buf_append_string(&c.metrics, "{}");
    int result = job_rows_add_checkpoint(h->registry, &job.row, &c, e);
    job_checkpoint_fini(&c);
    return result;
}

static int drop_checkpoint(struct history *h, struct err *e)
{
    return job_rows_drop_checkpoint(h->registry, &job.row, 2, e);
}

/* Its table and its end, which is acknowledged: what is left of the state is nobody's. */
static int write_results(struct history *h, struct err *e)
{
    char file[FILE_ID_BYTES];
    return results_write(h->registry, &job.row, file, e);
}

static int end_job(struct history *h, struct err *e)
{
    char *path = folder(h);
    int result = become(h, &(struct job_change){.to = JOB_SUCCEEDED}, e);
    if (result == 0)
        checkpoint_remove(path, job.row.id);
    free(path);
    return result;
}

/* ---- lives ---- */

typedef int change(struct history *h, struct err *e);

static void change_all(struct history *h, change *const *changes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        life_change(h, changes[i]);
}

void history_of_training(struct history *h)
{
    static change *const all[] = {
        life_open,     make_folder,  create_acme,   upload_first,    upload_second,   upload_shared,
        create_job,    delete_first, queue_job,     run_job,         tell_step,       tell_step,
        save,          tell_step,    save,          note_checkpoint, delete_second,   pause_job,
        life_close,    life_open,    queue_job,     run_job,         tell_step,       save,
        delete_shared, tell_step,    write_results, write_results,   drop_checkpoint, end_job,
        upload_second};
    h->tidy = true;
    make_trainer();
    recorder_begin(h->root);
    change_all(h, all, sizeof all / sizeof *all);
    free_trainer();
}

/* Dies at each operation of a change, does it again, undoes it. */
static void kill_everywhere(struct history *h, change *doing, change *undoing)
{
    int after = 0;
    for (bool died = true; died; after++) {
        died = life_kill(h, doing, after);
        life_change(h, doing);
        life_change(h, undoing);
    }
    assert_in_range(after, 5, 200);
}

void history_of_killed_files(struct history *h)
{
    static change *const first[] = {life_open, create_acme};
    recorder_begin(h->root);
    change_all(h, first, sizeof first / sizeof *first);
    kill_everywhere(h, upload_first, delete_first);
    life_change(h, upload_shared);
    life_change(h, upload_second);
    kill_everywhere(h, delete_second, upload_second);
}

void history_of_killed_checkpoints(struct history *h)
{
    static change *const first[] = {life_open, make_folder, create_acme, create_job, queue_job, run_job};
    make_trainer();
    recorder_begin(h->root);
    change_all(h, first, sizeof first / sizeof *first);
    h->start = make_folder;
    kill_everywhere(h, save, tell_step);
    free_trainer();
}
