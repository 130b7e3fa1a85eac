#include "adapters/jobs/job_config.h"

#include <ctype.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "core/train/train_steps.h"

/* ---- refusals ---- */

static int wrong_type(const char *name, const char *expected, struct err *e)
{
    err_set(e, "invalid_type", "\"%s\" must be %s", name, expected);
    return err_param(e, name);
}

static int missing(const char *name, struct err *e)
{
    err_set(e, "missing_field", "\"%s\" is required", name);
    return err_param(e, name);
}

static int out_of_range(const char *name, double low, double high, double found, struct err *e)
{
    err_set(e, "out_of_range", "\"%s\" must be from %.10g to %.10g, found %.10g", name, low, high, found);
    return err_param(e, name);
}

static int check_known(const json_t *object, const char *where, const char *const *known, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0)
            k++;
        if (*k)
            continue;
        err_set(e, "unknown_field", "unknown field \"%.64s\" in %s", key, where);
        return err_param(e, key);
    }
    return 0;
}

/* ---- the fields of "training" ---- */

enum kind { NUMBER, INTEGER, SWITCH, WORD };

static const char *const schedules[] = {"constant", "linear", "cosine", NULL};
static const char *const optimizers[] = {"adamw", "sgd", NULL};
static const char *const losses[] = {"mse", "half_mse", "cross_entropy", NULL};
static const char *const methods[] = {"supervised", "dpo", NULL};
static const char *const turns[] = {"assistant", "last", "all", NULL};

static const struct field {
    const char *name;
    size_t at;
    enum kind kind;
    bool nullable;
    double initial; /* also what null means */
    double low, high;
    const char *const *words;
} fields[] = {
#define FIELD(name) #name, offsetof(struct job_training, name)
    {FIELD(learning_rate), NUMBER, false, 2e-4, 0, 100, NULL},
    {FIELD(schedule), WORD, false, TRAIN_COSINE, 0, 0, schedules},
    {FIELD(warmup_ratio), NUMBER, false, 0.06, 0, 1, NULL},
    {FIELD(warmup_steps), INTEGER, true, -1, 0, JOB_STEPS_MAX, NULL},
    {FIELD(optimizer), WORD, false, TRAIN_ADAMW, 0, 0, optimizers},
    {FIELD(weight_decay), NUMBER, false, 0, 0, 100, NULL},
    {FIELD(decay_all), SWITCH, false, false, 0, 0, NULL},
    {FIELD(adam_beta1), NUMBER, false, 0.9, 0, 0.9999999, NULL},
    {FIELD(adam_beta2), NUMBER, false, 0.999, 0, 0.9999999, NULL},
    {FIELD(adam_epsilon), NUMBER, false, 1e-8, 0, 1, NULL},
    {FIELD(max_grad_norm), NUMBER, true, 1, 0, 1e9, NULL},
    {FIELD(batch_size), INTEGER, true, 0, 1, JOB_BATCH_MAX, NULL},
    {FIELD(gradient_accumulation_steps), INTEGER, false, 1, 1, JOB_BATCH_MAX, NULL},
    {FIELD(n_epochs), NUMBER, true, 0, 0.001, JOB_EPOCHS_MAX, NULL},
    {FIELD(max_steps), INTEGER, true, 0, 1, JOB_STEPS_MAX, NULL},
    {FIELD(shuffle), SWITCH, false, true, 0, 0, NULL},
    {FIELD(packing), SWITCH, false, true, 0, 0, NULL},
    {FIELD(max_length), INTEGER, true, 0, 1, 1 << 21, NULL},
    {FIELD(eval_steps), INTEGER, true, 0, 1, JOB_STEPS_MAX, NULL},
    {FIELD(eval_on_start), SWITCH, false, false, 0, 0, NULL},
    {FIELD(checkpoint_steps), INTEGER, true, 0, 1, JOB_STEPS_MAX, NULL},
    {FIELD(early_stopping_patience), INTEGER, true, 0, 1, JOB_STEPS_MAX, NULL},
    {FIELD(train_on), WORD, false, ENCODE_ASSISTANT, 0, 0, turns},
    {FIELD(loss), WORD, true, TRAIN_MSE, 0, 0, losses},
    {FIELD(method), WORD, false, TRAIN_SUPERVISED, 0, 0, methods},
    {FIELD(beta), NUMBER, false, 0.1, 0, 1000, NULL},
#undef FIELD
};
enum { FIELDS = sizeof fields / sizeof *fields };

static void put(struct job_training *t, const struct field *f, double value)
{
    void *at = (char *)t + f->at;
    if (f->kind == NUMBER)
        *(double *)at = value;
    else if (f->kind == SWITCH)
        *(bool *)at = value != 0;
    else
        *(int64_t *)at = (int64_t)value;
}

static int read_word(const struct field *f, const json_t *value, double *out, struct err *e)
{
    char list[128] = "";
    size_t used = 0;
    if (!json_is_string(value))
        return wrong_type(f->name, "a string", e);
    for (int i = 0; f->words[i]; i++) {
        *out = i;
        if (strcmp(json_string_value(value), f->words[i]) == 0)
            return 0;
        used += (size_t)snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", f->words[i]);
    }
    err_set(e, "unsupported_value", "\"%s\" must be one of %s, found \"%.64s\"", f->name, list,
            json_string_value(value));
    return err_param(e, f->name);
}

/* 5.0 is as good as 5. */
static int read_number(const struct field *f, const json_t *value, double *out, struct err *e)
{
    if (!json_is_number(value))
        return wrong_type(f->name, f->nullable ? "a number or null" : "a number", e);
    *out = json_number_value(value);
    if (!(*out >= f->low && *out <= f->high))
        return out_of_range(f->name, f->low, f->high, *out, e);
    if (f->kind == INTEGER && *out != floor(*out))
        return wrong_type(f->name, "a whole number", e);
    return 0;
}

static int read_value(const struct field *f, const json_t *value, double *out, struct err *e)
{
    if (json_is_null(value) && f->nullable)
        return 0;
    if (f->kind == WORD)
        return read_word(f, value, out, e);
    if (f->kind != SWITCH)
        return read_number(f, value, out, e);
    if (!json_is_boolean(value))
        return wrong_type(f->name, "true or false", e);
    *out = json_is_true(value);
    return 0;
}

static json_t *shown(const struct field *f, double value)
{
    if (f->nullable && value == f->initial && (value < f->low || f->kind == WORD))
        return json_null();
    switch (f->kind) {
    case NUMBER:
        return json_real(value);
    case INTEGER:
        return json_integer((json_int_t)value);
    case SWITCH:
        return json_boolean(value != 0);
    default:
        return json_string(f->words[(int)value]);
    }
}

static const struct field *find_field(const char *name)
{
    for (int i = 0; i < FIELDS; i++)
        if (strcmp(fields[i].name, name) == 0)
            return &fields[i];
    return NULL;
}

static int check_training_names(const json_t *given, struct err *e)
{
    const char *known[FIELDS + 1] = {NULL};
    for (int i = 0; i < FIELDS; i++)
        known[i] = fields[i].name;
    return check_known(given, "\"training\"", known, e);
}

/* Every field, as sent or by default; *object has them all. */
static int read_training(struct job_training *t, const json_t *given, json_t **object, struct err *e)
{
    if (given && !json_is_object(given))
        return wrong_type("training", "an object", e);
    if (given && check_training_names(given, e) != 0)
        return -1;
    *object = json_object();
    for (int i = 0; i < FIELDS; i++) {
        double value = fields[i].initial;
        const json_t *sent = json_object_get(given, fields[i].name);
        if (sent && read_value(&fields[i], sent, &value, e) != 0)
            return -1;
        put(t, &fields[i], value);
        if (json_object_set_new(*object, fields[i].name,
                                sent ? json_deep_copy(sent) : shown(&fields[i], value)) != 0)
            return err_memory(e);
    }
    return 0;
}

/* ---- hyperparameters, OpenAI's way ---- */

/* A number or "auto": *out is left alone then. */
static int read_auto(const json_t *object, const char *name, const struct field *f, double *out,
                     struct err *e)
{
    const json_t *value = json_object_get(object, name);
    if (!value || json_is_null(value) ||
        (json_is_string(value) && strcmp(json_string_value(value), "auto") == 0))
        return 0;
    if (json_is_string(value))
        return wrong_type(name, "a number or \"auto\"", e);
    return read_number(f, value, out, e) == 0 ? 1 : -1;
}

static int read_hyperparameters(struct job_config *c, const json_t *object, bool dpo, struct err *e)
{
    static const char *const known[] = {"n_epochs", "batch_size", "learning_rate_multiplier", "beta", NULL};
    static const struct field multiplier = {"learning_rate_multiplier", 0, NUMBER, false, 1, 1e-6, 1e6, NULL};
    double epochs = 0, batch = 0, beta = 0;
    if (!object || json_is_null(object))
        return 0;
    if (!json_is_object(object))
        return wrong_type("hyperparameters", "an object", e);
    if (check_known(object, "\"hyperparameters\"", known, e) != 0)
        return -1;
    if (!dpo && json_object_get(object, "beta") && !json_is_null(json_object_get(object, "beta"))) {
        err_set(e, "field_conflict", "\"beta\" belongs to the method \"dpo\"");
        return err_param(e, "beta");
    }
    if (read_auto(object, "n_epochs", find_field("n_epochs"), &epochs, e) < 0 ||
        read_auto(object, "batch_size", find_field("batch_size"), &batch, e) < 0 ||
        read_auto(object, "learning_rate_multiplier", &multiplier, &c->multiplier, e) < 0)
        return -1;
    int has_beta = read_auto(object, "beta", find_field("beta"), &beta, e);
    if (has_beta < 0)
        return -1;
    if (has_beta)
        c->training.beta = beta;
    /* those of "training" win */
    if (c->training.n_epochs == 0)
        c->training.n_epochs = epochs;
    if (c->training.batch_size == 0)
        c->training.batch_size = (int64_t)batch;
    return 0;
}

static int unsupported_method(const char *type, struct err *e)
{
    err_set(e, "unsupported_value", "\"method.type\" must be supervised or dpo, found \"%.64s\"", type);
    return err_param(e, "method.type");
}

/* The type, and the object of its own beside it. */
static int read_method(struct job_config *c, const json_t *body, struct err *e)
{
    static const char *const known[] = {"type", "supervised", "dpo", NULL};
    const json_t *method = json_object_get(body, "method"), *older = json_object_get(body, "hyperparameters");
    bool has_method = method && !json_is_null(method), has_older = older && !json_is_null(older);
    if (!has_method)
        return read_hyperparameters(c, older, c->training.method == TRAIN_DPO, e);
    if (!json_is_object(method))
        return wrong_type("method", "an object", e);
    const json_t *type = json_object_get(method, "type");
    if (!json_is_string(type))
        return type ? wrong_type("method.type", "a string", e) : missing("method.type", e);
    const char *name = json_string_value(type);
    bool dpo = strcmp(name, "dpo") == 0;
    if (!dpo && strcmp(name, "supervised") != 0)
        return unsupported_method(name, e);
    if (check_known(method, "\"method\"", known, e) != 0)
        return -1;
    if (json_object_get(method, dpo ? "supervised" : "dpo") &&
        !json_is_null(json_object_get(method, dpo ? "supervised" : "dpo"))) {
        err_set(e, "field_conflict", "\"method\" is of the type \"%s\" and has the object of another", name);
        return err_param(e, "method");
    }
    c->training.method = dpo ? TRAIN_DPO : TRAIN_SUPERVISED;
    const json_t *own = json_object_get(method, name);
    if (own && !json_is_null(own) && !json_is_object(own))
        return wrong_type("method", "an object with an object in it", e);
    static const char *const inner[] = {"hyperparameters", NULL};
    if (json_is_object(own) && check_known(own, "\"method\"", inner, e) != 0)
        return -1;
    const json_t *hyper = json_object_get(own, "hyperparameters");
    if (hyper && !json_is_null(hyper) && has_older && !json_equal((json_t *)hyper, (json_t *)older)) {
        err_set(e, "field_conflict", "\"hyperparameters\" stand in \"method\" and beside it");
        return err_param(e, "hyperparameters");
    }
    return read_hyperparameters(c, hyper && !json_is_null(hyper) ? hyper : older, dpo, e);
}

/* ---- names ---- */

/* Required and optional texts of the request. */
static int read_text(const json_t *body, const char *name, size_t max, const char **out, struct err *e)
{
    const json_t *value = json_object_get(body, name);
    *out = NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return wrong_type(name, "a string", e);
    if (json_string_length(value) > max || strlen(json_string_value(value)) != json_string_length(value) ||
        json_string_length(value) == 0) {
        err_set(e, "out_of_range", "\"%s\" must have 1 to %zu bytes", name, max);
        return err_param(e, name);
    }
    *out = json_string_value(value);
    return 0;
}

/* OpenAI's suffixes may have capitals; names of adapters have none. */
static int read_suffix(struct job_config *c, const json_t *body, struct err *e)
{
    const char *suffix;
    if (read_text(body, "suffix", JOB_SUFFIX_BYTES_MAX, &suffix, e) != 0)
        return -1;
    if (!suffix)
        return 0;
    for (size_t i = 0; i <= strlen(suffix); i++)
        c->name[i] = (char)tolower((unsigned char)suffix[i]);
    if (name_valid(c->name))
        return 0;
    err_set(e, "invalid_name",
            "\"suffix\" names the adapter: it must match [a-z0-9][a-z0-9._-]{0,63}, found \"%.64s\"", suffix);
    return err_param(e, "suffix");
}

static int read_seed(struct job_config *c, const json_t *body, struct err *e)
{
    const json_t *value = json_object_get(body, "seed");
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value))
        return wrong_type("seed", "an integer", e);
    if (json_integer_value(value) < 0)
        return out_of_range("seed", 0, 9223372036854775807.0, (double)json_integer_value(value), e);
    c->seed = (uint64_t)json_integer_value(value);
    c->seeded = true;
    return 0;
}

static int check_metadata(const json_t *body, struct err *e)
{
    json_t *metadata = json_object_get(body, "metadata"), *value;
    const char *key;
    if (!metadata || json_is_null(metadata))
        return 0;
    if (!json_is_object(metadata))
        return wrong_type("metadata", "an object of strings", e);
    if (json_object_size(metadata) > JOB_METADATA_MAX) {
        err_set(e, "out_of_range", "\"metadata\" may have %d pairs at most", JOB_METADATA_MAX);
        return err_param(e, "metadata");
    }
    json_object_foreach(metadata, key, value)
    {
        if (!json_is_string(value))
            return wrong_type("metadata", "an object of strings", e);
        if (strlen(key) > JOB_METADATA_KEY_MAX || json_string_length(value) > JOB_METADATA_VALUE_MAX) {
            err_set(e, "out_of_range", "keys of \"metadata\" have %d bytes at most, values %d",
                    JOB_METADATA_KEY_MAX, JOB_METADATA_VALUE_MAX);
            return err_param(e, "metadata");
        }
    }
    return 0;
}

static int check_integrations(const json_t *body, struct err *e)
{
    const json_t *value = json_object_get(body, "integrations");
    if (!value || json_is_null(value) || (json_is_array(value) && json_array_size(value) == 0))
        return 0;
    const json_t *type = json_object_get(json_array_get(value, 0), "type");
    err_set(e, "unsupported_value", "integrations are not supported, found \"%.64s\"",
            json_is_string(type) ? json_string_value(type) : "?");
    return err_param(e, "integrations");
}

/* ---- lora ---- */

/* null: no low rank at all, only modules_to_save, which stands beside it then. What is in it is PEFT's, and
 * checked where PEFT's files are (adapters/training/lora_plan.h). */
static int read_lora(struct job_config *c, struct err *e)
{
    c->lora = json_object_get(c->json, "lora");
    return !c->lora || json_is_object(c->lora) || json_is_null(c->lora)
               ? 0
               : wrong_type("lora", "an object or null", e);
}

/* ---- all of it ---- */

static const char *const known[] = {
    "tenant", "model",           "training_file", "validation_file", "suffix",
    "seed",   "metadata",        "method",        "hyperparameters", "integrations",
    "lora",   "modules_to_save", "training",      "activate",        NULL};

static int read_activate(struct job_config *c, const json_t *body, struct err *e)
{
    const json_t *value = json_object_get(body, "activate");
    c->activate = !value || json_is_null(value) || json_is_true(value);
    return !value || json_is_null(value) || json_is_boolean(value)
               ? 0
               : wrong_type("activate", "true or false", e);
}

static int read_names(struct job_config *c, struct err *e)
{
    if (read_text(c->json, "model", 2 * NAME_MAX_BYTES + SHA256_HEX, &c->model, e) != 0 ||
        read_text(c->json, "training_file", NAME_MAX_BYTES, &c->training_file, e) != 0 ||
        read_text(c->json, "validation_file", NAME_MAX_BYTES, &c->validation_file, e) != 0)
        return -1;
    if (!c->model)
        return missing("model", e);
    return c->training_file ? 0 : missing("training_file", e);
}

/* Filled in, for whoever reads it back. */
static int fill_training(struct job_config *c, const json_t *body, struct err *e)
{
    json_t *training = NULL;
    int result = read_training(&c->training, json_object_get(body, "training"), &training, e);
    if (training && json_object_set_new(c->json, "training", training) != 0 && result == 0)
        result = err_memory(e);
    if (result != 0 || read_method(c, body, e) != 0)
        return -1;
    json_t *method = json_string(methods[c->training.method]);
    return json_object_set_new(training, "method", method) == 0 ? 0 : err_memory(e);
}

static int fill(struct job_config *c, const json_t *body, struct err *e)
{
    c->json = json_deep_copy(body);
    if (!c->json)
        return err_memory(e);
    json_object_del(c->json, "tenant");
    if (check_known(body, "the request", known, e) != 0 || read_names(c, e) != 0 ||
        read_suffix(c, body, e) != 0 || read_seed(c, body, e) != 0 || check_metadata(body, e) != 0 ||
        check_integrations(body, e) != 0 || read_activate(c, body, e) != 0 || read_lora(c, e) != 0)
        return -1;
    return fill_training(c, body, e);
}

int job_config_read(struct job_config *out, const json_t *body, struct err *e)
{
    struct job_config c = {.multiplier = 1};
    if (fill(&c, body, e) != 0) {
        job_config_fini(&c);
        return -1;
    }
    *out = c;
    return 0;
}

int job_config_parse(struct job_config *out, const char *text, size_t length, struct err *e)
{
    json_error_t error;
    json_t *body = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(body)) {
        json_decref(body);
        return err_set(e, "registry_malformed", "the configuration of a job cannot be read: %s", error.text);
    }
    int result = job_config_read(out, body, e);
    json_decref(body);
    return result;
}

void job_config_fini(struct job_config *c)
{
    json_decref(c->json);
    *c = (struct job_config){0};
}

/* ---- for the trainer ---- */

/* Sixteen; of few lines so many that an epoch has ten steps, but for the fewest. */
static int batch_of(const struct job_training *t, size_t lines)
{
    if (t->batch_size)
        return (int)t->batch_size;
    size_t tenth = lines / 10;
    return tenth >= JOB_BATCH_AUTO ? JOB_BATCH_AUTO : tenth > 1 ? (int)tenth : 1;
}

void job_config_options(const struct job_config *c, uint64_t seed, size_t lines, struct train_options *out)
{
    const struct job_training *t = &c->training;
    *out = (struct train_options){.method = (enum train_method)t->method,
                                  .beta = t->beta,
                                  .schedule = (enum train_schedule)t->schedule,
                                  .optimizer = (enum train_optimizer)t->optimizer,
                                  .loss = (enum train_loss)t->loss,
                                  .learning_rate = t->learning_rate * c->multiplier,
                                  .weight_decay = t->weight_decay,
                                  .adam_beta1 = t->adam_beta1,
                                  .adam_beta2 = t->adam_beta2,
                                  .adam_epsilon = t->adam_epsilon,
                                  .max_grad_norm = t->max_grad_norm,
                                  .epochs = t->n_epochs > 0 ? t->n_epochs : JOB_EPOCHS_AUTO,
                                  .max_steps = t->max_steps,
                                  .batch_size = batch_of(t, lines),
                                  .accumulation = (int)t->gradient_accumulation_steps,
                                  .shuffle = t->shuffle,
                                  .decay_all = t->decay_all,
                                  .eval_steps = t->eval_steps,
                                  .eval_on_start = t->eval_on_start,
                                  .patience = (int)t->early_stopping_patience,
                                  .seed = seed};
    out->warmup_steps = t->warmup_steps >= 0
                            ? t->warmup_steps
                            : (int64_t)ceil(t->warmup_ratio * (double)train_steps_all(out, lines));
}
