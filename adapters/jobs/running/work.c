#include "adapters/jobs/running/work.h"

#include <string.h>
#include <unistd.h>

#include "adapters/files/files.h"
#include "adapters/peft/peft.h"
#include "adapters/types/files.h"
#include "core/format/json_file.h"
#include "core/system/file.h"
#include "core/train/train_steps.h"

/* ---- the plan ---- */

static int read_config(const struct work_source *s, int fd, json_t **out, struct err *e)
{
    const struct json_file file = {.name = "adapter_config.json", .code = "config_malformed"};
    struct buf text = {0};
    size_t bytes = s->source->config_bytes;
    int result = buf_reserve(&text, bytes + 1) == 0 ? file_pread(fd, text.data, bytes, 0, e) : err_memory(e);
    if (result == 0)
        result = json_file_parse(&file, text.data, bytes, out, e);
    buf_fini(&text);
    return result;
}

static bool is_nothing(const json_t *value)
{
    return !value || json_is_null(value) || json_is_false(value) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0) ||
           (json_is_number(value) && json_number_value(value) == 0);
}

static bool holds(const json_t *list, const json_t *item)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_equal(json_array_get(list, i), (json_t *)item))
            return true;
    return false;
}

/* Lists of names are sets. */
static bool means_the_same(const json_t *a, const json_t *b)
{
    if (is_nothing(a) || is_nothing(b))
        return is_nothing(a) && is_nothing(b);
    if (json_is_number(a) && json_is_number(b))
        return json_number_value(a) == json_number_value(b);
    if (!json_is_array(a) || !json_is_array(b))
        return json_equal((json_t *)a, (json_t *)b);
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!holds(b, json_array_get(a, i)))
            return false;
    for (size_t i = 0; i < json_array_size(b); i++)
        if (!holds(a, json_array_get(b, i)))
            return false;
    return true;
}

/* A job that goes on from an adapter has that one's configuration: what is sent beside may only repeat it. */
static int check_repeated(const struct job_config *c, json_t *config, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(c->lora, key, value)
    {
        if (strcmp(key, "lora_dropout") == 0 || means_the_same(value, json_object_get(config, key)))
            continue;
        err_set(e, "field_conflict",
                "training goes on from an adapter, whose \"%.64s\" is another than the one in \"lora\"", key);
        err_hint(e, "leave \"lora\" out, or begin with the base");
        return err_param(e, "lora");
    }
    return 0;
}

static int plan_of_config(struct work *w, const struct work_source *s, int fd, struct err *e)
{
    json_t *config = NULL;
    int result = read_config(s, fd, &config, e);
    if (result == 0)
        result = check_repeated(s->config, config, e);
    if (result == 0)
        result = lora_plan_of_adapter(&w->plan, s->runner->model, config, e);
    json_decref(config);
    return result;
}

static int plan_of_adapter(struct work *w, const struct work_source *s, struct err *e)
{
    int config_fd, weights_fd;
    if (registry_open_blobs(s->runner->registry, s->source, &config_fd, &weights_fd, e) != 0)
        return -1;
    int result = plan_of_config(w, s, config_fd, e);
    close(config_fd);
    close(weights_fd);
    return result;
}

/* Of words there is one. */
static int check_loss(const struct work_source *s, struct err *e)
{
    const char *loss =
        json_string_value(json_object_get(json_object_get(s->config->json, "training"), "loss"));
    if (!loss || model_info(s->runner->model)->numeric || strcmp(loss, "cross_entropy") == 0)
        return 0;
    err_set(e, "unsupported_value", "\"loss\" of a language model is cross_entropy, found \"%.32s\"", loss);
    return err_param(e, "loss");
}

int work_plan(struct work *w, const struct work_source *s, struct err *e)
{
    const struct job_config *c = s->config;
    if (check_loss(s, e) != 0)
        return -1;
    if (s->source)
        return plan_of_adapter(w, s, e);
    return lora_plan_new(&w->plan, s->runner->model, c->lora, json_object_get(c->json, "modules_to_save"), e);
}

/* ---- the data ---- */

static int read_file(const struct work_source *s, const char *id, const char *param,
                     char digest[SHA256_HEX + 1], struct dataset **out, struct err *e)
{
    const struct runner_options *r = s->runner;
    const struct job_training *t = &s->config->training;
    const struct encode_options o = {.info = model_info(r->model),
                                     .tokenizer = r->tokenizer,
                                     .chat = r->chat,
                                     .method = (enum train_method)t->method,
                                     .turns = (enum encode_turns)t->train_on,
                                     .loss = (enum train_loss)t->loss,
                                     .max_length = (int)t->max_length};
    struct file_row row;
    int fd;
    if (files_open(r->registry, s->tenant, id, &row, &fd, e) != 0)
        return err_param(e, param);
    strcpy(digest, row.blob);
    int result = dataset_open(out, fd, r->directory, &o, s->stop, e);
    close(fd);
    return result == 0 ? 0 : err_param(e, param);
}

int work_read(struct work *w, const struct work_source *s, struct err *e)
{
    char ignored[SHA256_HEX + 1];
    const struct job_config *c = s->config;
    if (read_file(s, c->training_file, "training_file", w->training_digest, &w->data, e) != 0)
        return -1;
    return c->validation_file ? read_file(s, c->validation_file, "validation_file", ignored, &w->valid, e)
                              : 0;
}

static int check_purpose(const struct file_row *f, struct err *e)
{
    if (strcmp(f->purpose, FILE_PURPOSE_TRAINING) == 0)
        return 0;
    return err_set(e, "unsupported_value", "%s is of the purpose \"%s\", expected \"%s\"", f->id, f->purpose,
                   FILE_PURPOSE_TRAINING);
}

int work_look(const struct work_source *s, uint64_t *out, char digest[SHA256_HEX + 1], struct err *e)
{
    const char *ids[] = {s->config->training_file, s->config->validation_file};
    static const char *const params[] = {"training_file", "validation_file"};
    *out = 0;
    for (int i = 0; i < 2; i++) {
        struct file_row row = {.bytes = 0};
        if (ids[i] &&
            (files_find(s->runner->registry, s->tenant, ids[i], &row, e) != 0 || check_purpose(&row, e) != 0))
            return err_param(e, params[i]);
        *out += row.bytes;
        if (i == 0)
            strcpy(digest, row.blob);
    }
    return 0;
}

int work_longest(const struct work *w)
{
    int longest = w->data->data.longest;
    return w->valid && w->valid->data.longest > longest ? w->valid->data.longest : longest;
}

int64_t work_parameters(const struct work *w, const struct model *m)
{
    return (int64_t)(train_params_bytes(m, &w->plan->peft.train) / (4 * sizeof(float)));
}

/* ---- the trainer ---- */

static int params_from(const struct work *w, const struct work_source *s, struct train_params **out,
                       struct err *e)
{
    int config_fd, weights_fd;
    struct peft *p = NULL;
    if (registry_open_blobs(s->runner->registry, s->source, &config_fd, &weights_fd, e) != 0)
        return -1;
    int result = peft_load(&p, s->runner->model, config_fd, weights_fd, PEFT_STORED, e);
    if (result == 0)
        result = train_params_from(out, s->runner->model, &w->plan->peft.train, peft_source(p), e);
    peft_free(p);
    close(config_fd);
    close(weights_fd);
    return result;
}

int work_measure(struct work *w, const struct work_source *s, struct err *e)
{
    job_config_options(s->config, s->seed, w->data->data.count, &w->options);
    w->options.dropout = w->plan->dropout;
    if (w->valid && !w->options.eval_steps) /* a look at each epoch's end */
        w->options.eval_steps = train_steps_of_epoch(&w->options, w->data->data.count);
    w->bytes = trainer_bytes(s->runner->model, &w->options, &w->plan->peft.train);
    if (trainer_steps_of(&w->options, w->data->data.count) > 0)
        return 0;
    err_set(e, "out_of_range", "the job has no step");
    return err_param(e, "n_epochs");
}

int work_fits(const struct work *w, size_t pass_bytes, size_t memory, struct err *e)
{
    if (w->bytes + pass_bytes <= memory)
        return 0;
    err_set(
        e, "training_too_large",
        "the job takes %zu MiB, %zu of them for its longest example of %d tokens; all training may take %zu",
        (w->bytes + pass_bytes) >> 20, pass_bytes >> 20, work_longest(w), memory >> 20);
    return err_hint(
        e, "a smaller rank or fewer target modules, training.max_length, or a larger --training-memory");
}

int work_start(struct work *w, const struct work_source *s, struct err *e)
{
    struct train_params *params = NULL;
    int result = s->source ? params_from(w, s, &params, e)
                           : train_params_new(&params, s->runner->model, &w->plan->peft.train, s->seed, e);
    if (result != 0)
        return -1;
    return trainer_new(&w->trainer, s->runner->model, &w->options, params, &w->data->data,
                       w->valid ? &w->valid->data : NULL, e);
}

void work_fini(struct work *w)
{
    trainer_free(w->trainer);
    dataset_close(w->valid);
    dataset_close(w->data);
    lora_plan_free(w->plan);
    *w = (struct work){0};
}
