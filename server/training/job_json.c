#include "server/training/job_json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *own_part(const struct job_row *j)
{
    return j->id + strlen("ftjob-");
}

static json_t *seconds(int64_t ms)
{
    return ms ? json_integer(ms / 1000) : json_null();
}

static json_t *text_or_null(const char *text)
{
    return text[0] ? json_string(text) : json_null();
}

/* ---- ids: of one's own job, so that they tell nothing of others ---- */

static void make_id(const struct job_row *j, const char *kind, int64_t number, char out[JOB_EVENT_ID_BYTES])
{
    snprintf(out, JOB_EVENT_ID_BYTES, "%s%s-%" PRId64, kind, own_part(j), number);
}

static int64_t number_in(const struct job_row *j, const char *kind, const char *id)
{
    char prefix[JOB_EVENT_ID_BYTES];
    int length = snprintf(prefix, sizeof prefix, "%s%s-", kind, own_part(j));
    if (strncmp(id, prefix, (size_t)length) != 0)
        return -1;
    const char *digits = id + length;
    size_t count = strspn(digits, "0123456789");
    return count > 0 && count <= 18 && !digits[count] ? strtoll(digits, NULL, 10) : -1;
}

static void write_event_id(const struct job_row *j, int64_t place, char out[JOB_EVENT_ID_BYTES])
{
    make_id(j, "ftevent-", place, out);
}

int64_t job_json_event_place(const struct job_row *j, const char *id)
{
    return number_in(j, "ftevent-", id);
}

int64_t job_json_checkpoint_step(const struct job_row *j, const char *id)
{
    return number_in(j, "ftckpt_", id);
}

/* ---- a job ---- */

/* A number, or "auto". */
static json_t *hyper(const json_t *given, const char *name)
{
    json_t *value = json_object_get(given, name);
    return value && !json_is_null(value) ? json_incref(value) : json_string("auto");
}

static const json_t *given_hyperparameters(const json_t *config, const char *type)
{
    const json_t *own =
        json_object_get(json_object_get(json_object_get(config, "method"), type), "hyperparameters");
    return own && !json_is_null(own) ? own : json_object_get(config, "hyperparameters");
}

static json_t *hyperparameters(const json_t *config, const char *type)
{
    const json_t *given = given_hyperparameters(config, type);
    json_t *o = json_pack("{s:o, s:o, s:o}", "n_epochs", hyper(given, "n_epochs"), "batch_size",
                          hyper(given, "batch_size"), "learning_rate_multiplier",
                          hyper(given, "learning_rate_multiplier"));
    if (o && strcmp(type, "dpo") == 0)
        json_object_set(o, "beta",
                        json_is_number(json_object_get(given, "beta"))
                            ? json_object_get(given, "beta")
                            : json_object_get(json_object_get(config, "training"), "beta"));
    return o;
}

static json_t *method(const json_t *config, const char *type)
{
    return json_pack("{s:s, s:{s:o}}", "type", type, type, "hyperparameters", hyperparameters(config, type));
}

/* As sent, and what it takes where nothing was. */
static json_t *lora(const json_t *config)
{
    json_t *given = json_object_get(config, "lora");
    if (given && json_is_null(given))
        return json_null();
    json_t *o = json_pack("{s:i, s:i, s:s, s:b, s:b, s:{}, s:{}, s:n, s:n, s:f}", "r", 16, "lora_alpha", 32,
                          "target_modules", "all-linear", "use_rslora", 0, "use_dora", 0, "rank_pattern",
                          "alpha_pattern", "modules_to_save", "layers_to_transform", "lora_dropout", 0.0);
    if (o && given)
        json_object_update(o, given);
    return o;
}

static json_t *error_json(const struct job_error *e)
{
    if (!e->code[0])
        return json_null();
    return json_pack("{s:s, s:s, s:o}", "code", e->code, "message", e->message, "param",
                     text_or_null(e->param));
}

static json_t *copy(const json_t *config, const char *name)
{
    json_t *value = json_object_get(config, name);
    return value ? json_incref(value) : json_null();
}

static json_t *files_json(const struct job_row *j)
{
    json_t *list = json_array();
    if (list && j->result_file[0])
        json_array_append_new(list, json_string(j->result_file));
    return list;
}

/* OpenAI's members. */
static json_t *openai_json(const struct job_row *j, const json_t *config, const char *type)
{
    bool done = j->status == JOB_SUCCEEDED;
    return json_pack(
        "{s:s, s:s, s:O?, s:o, s:o, s:o, s:s, s:o, s:s, s:s, s:o, s:o, s:o, s:I, s:o, s:[], s:o, s:o, s:o, "
        "s:o}",
        "id", j->id, "object", "fine_tuning.job", "model", json_object_get(config, "model"), "created_at",
        seconds(j->created_ms), "finished_at", seconds(j->finished_ms), "fine_tuned_model",
        done ? json_string(j->name) : json_null(), "organization_id", "", "result_files", files_json(j),
        "status", job_status_names[j->status], "training_file", j->training_file, "validation_file",
        text_or_null(j->validation_file), "hyperparameters", hyperparameters(config, type), "trained_tokens",
        j->status == JOB_VALIDATING || j->status == JOB_QUEUED ? json_null() : json_integer(j->tokens),
        "seed", (json_int_t)j->seed, "estimated_finish",
        j->status == JOB_RUNNING ? seconds(j->estimated_ms) : json_null(), "integrations", "error",
        error_json(&j->error), "user_provided_suffix", copy(config, "suffix"), "metadata",
        copy(config, "metadata"), "method", method(config, type));
}

/* And this daemon's. */
static int add_own(json_t *job, const struct job_row *j, const json_t *config)
{
    char version[SHA256_HEX + 8];
    snprintf(version, sizeof version, "sha256:%s", j->version);
    json_t *activate = json_object_get(config, "activate");
    json_t *own = json_pack("{s:s, s:o, s:o, s:o, s:o, s:O?, s:O, s:I, s:o, s:o, s:s}", "adapter", j->name,
                            "version", j->version[0] ? json_string(version) : json_null(), "suffix",
                            copy(config, "suffix"), "lora", lora(config), "modules_to_save",
                            copy(config, "modules_to_save"), "training", json_object_get(config, "training"),
                            "activate", json_is_boolean(activate) ? activate : json_true(), "step",
                            (json_int_t)j->step, "steps", j->steps ? json_integer(j->steps) : json_null(),
                            "started_at", seconds(j->started_ms), "training_file_digest", j->training_digest);
    int failed = !own || json_object_update(job, own) != 0;
    json_decref(own);
    return failed;
}

json_t *job_json(const struct job_row *j)
{
    json_t *config = json_loadb(j->config.data ? j->config.data : "", j->config.length, 0, NULL);
    const char *type = json_string_value(json_object_get(json_object_get(config, "training"), "method"));
    json_t *job = openai_json(j, config, type ? type : "supervised");
    if (job && add_own(job, j, config) != 0) {
        json_decref(job);
        job = NULL;
    }
    json_decref(config);
    return job;
}

/* ---- what belongs to one ---- */

static json_t *parsed(const struct buf *text)
{
    json_t *data = text->length ? json_loadb(text->data, text->length, 0, NULL) : NULL;
    return data ? data : json_null();
}

json_t *job_json_event(const struct job_row *j, const struct job_event *v)
{
    char id[JOB_EVENT_ID_BYTES];
    write_event_id(j, v->place, id);
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:s, s:o}", "id", id, "object", "fine_tuning.job.event",
                     "created_at", seconds(v->at_ms), "level", v->level, "type", v->type, "message",
                     v->message.length ? v->message.data : "", "data", parsed(&v->data));
}

json_t *job_json_checkpoint(const struct job_row *j, const struct job_checkpoint *c)
{
    char id[JOB_EVENT_ID_BYTES], model[NAME_MAX_BYTES + SHA256_HEX + 2], version[SHA256_HEX + 8];
    make_id(j, "ftckpt_", c->step, id);
    snprintf(model, sizeof model, "%s@%.16s", j->name, c->version);
    snprintf(version, sizeof version, "sha256:%s", c->version);
    return json_pack("{s:s, s:s, s:o, s:s, s:s, s:I, s:o, s:s}", "id", id, "object",
                     "fine_tuning.job.checkpoint", "created_at", seconds(c->at_ms), "fine_tuning_job_id",
                     j->id, "fine_tuned_model_checkpoint", model, "step_number", (json_int_t)c->step,
                     "metrics", parsed(&c->metrics), "version", version);
}

json_t *job_json_list(json_t *data, bool more)
{
    size_t count = json_array_size(data);
    json_t *first = json_object_get(json_array_get(data, 0), "id"),
           *last = count ? json_object_get(json_array_get(data, count - 1), "id") : NULL;
    json_t *list = json_pack("{s:s, s:O, s:b, s:O?, s:O?, s:O?}", "object", "list", "data", data, "has_more",
                             (int)more, "first_id", first, "last_id", last, "next", more ? last : NULL);
    json_decref(data);
    return list;
}
