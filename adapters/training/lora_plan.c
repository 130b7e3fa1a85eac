#include "adapters/training/lora_plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/config/peft_config.h"

enum { DEFAULT_RANK = 16, DEFAULT_ALPHA = 32 };
static const char no_module[] = "dummy-target-modules"; /* PEFT's word for no LoRA at all */

/* ---- errors in the words of the request ---- */

/* "adapter_config.json: r must be..." of the parameter r is about lora.r. */
static int of_request(struct err *e)
{
    static const char file[] = "adapter_config.json: ";
    char param[sizeof e->param];
    if (strncmp(e->message, file, sizeof file - 1) == 0)
        memmove(e->message, e->message + sizeof file - 1, strlen(e->message + sizeof file - 1) + 1);
    if (e->param[0]) {
        snprintf(param, sizeof param, "lora.%.80s", e->param);
        err_param(e, param);
    }
    return -1;
}

static int refuse(const char *code, const char *field, const char *what, struct err *e)
{
    err_set(e, code, "%s %s", field, what);
    return err_param(e, field);
}

/* ---- a whole config of the fields that were given ---- */

static bool is_nothing(const json_t *value)
{
    return json_is_null(value) || json_is_false(value) ||
           (json_is_array(value) && json_array_size(value) == 0) ||
           (json_is_object(value) && json_object_size(value) == 0);
}

/* PEFT passes over what it does not know; a name that is spelt wrong must not train something else. */
static int check_names(json_t *lora, struct err *e)
{
    const char *name;
    json_t *value;
    json_object_foreach(lora, name, value)
    {
        if (peft_config_knows(name))
            continue;
        err_set(e, "unknown_field", "unknown field \"%.64s\"", name);
        return err_param(e, name);
    }
    return 0;
}

/* First values are always ours: A uniform, B zero, as PEFT's true. */
static int check_init(json_t *lora, struct err *e)
{
    json_t *init = json_object_get(lora, "init_lora_weights");
    if (!init || json_is_null(init) || json_is_true(init))
        return 0;
    return refuse("adapter_unsupported_feature", "init_lora_weights", "must be true", e);
}

static int read_dropout(json_t *config, double *out, struct err *e)
{
    json_t *value = json_object_get(config, "lora_dropout");
    double dropout = value && !json_is_null(value) ? json_number_value(value) : 0;
    bool good = !value || json_is_null(value) || (json_is_number(value) && dropout >= 0 && dropout < 1);
    if (!good)
        return refuse("config_malformed", "lora_dropout", "must be a number from 0 to below 1", e);
    *out = dropout;
    return 0;
}

/* Steals the reference to `value`. */
static int set(json_t *config, const char *field, json_t *value, struct err *e)
{
    return json_object_set_new(config, field, value) == 0 ? 0 : err_memory(e);
}

/* Where the request has no value of its own. */
static int set_default(json_t *config, const char *field, json_t *value, struct err *e)
{
    json_t *own = json_object_get(config, field);
    if (!own || json_is_null(own))
        return set(config, field, value, e);
    json_decref(value);
    return 0;
}

/* "all-linear" by names: PEFT takes the word of transformers' models only, and not beside
 * layers_to_transform. */
static int set_targets(json_t *config, const struct model *m, struct err *e)
{
    json_t *own = json_object_get(config, "target_modules");
    bool all = !own || json_is_null(own) ||
               (json_is_string(own) && strcasecmp(json_string_value(own), "all-linear") == 0);
    return all ? set(config, "target_modules", peft_plan_all_linear(m), e) : 0;
}

static int set_kind(json_t *config, const struct model *m, struct err *e)
{
    bool numeric = model_info(m)->numeric, transposed = model_family(m)->transposed;
    if (set_default(config, "peft_type", json_string("LORA"), e) != 0 ||
        set_default(config, "fan_in_fan_out", json_boolean(transposed), e) != 0 ||
        set(config, "task_type", numeric ? json_null() : json_string("CAUSAL_LM"), e) != 0)
        return -1;
    return set(config, "inference_mode", json_true(), e);
}

/* Fields that PEFT's own files always have. */
static int set_rest(json_t *config, struct err *e)
{
    if (set_default(config, "base_model_name_or_path", json_null(), e) != 0 ||
        set_default(config, "bias", json_string("none"), e) != 0 ||
        set_default(config, "init_lora_weights", json_true(), e) != 0 ||
        set_default(config, "lora_dropout", json_real(0), e) != 0 ||
        set_default(config, "modules_to_save", json_null(), e) != 0 ||
        set_default(config, "rank_pattern", json_object(), e) != 0 ||
        set_default(config, "alpha_pattern", json_object(), e) != 0 ||
        set_default(config, "use_dora", json_false(), e) != 0)
        return -1;
    return set_default(config, "use_rslora", json_false(), e);
}

static int complete(json_t *config, const struct model *m, struct err *e)
{
    if (set_default(config, "r", json_integer(DEFAULT_RANK), e) != 0 ||
        set_default(config, "lora_alpha", json_integer(DEFAULT_ALPHA), e) != 0)
        return -1;
    return set_targets(config, m, e) == 0 && set_kind(config, m, e) == 0 ? set_rest(config, e) : -1;
}

/* Of a request without LoRA. */
static int without_lora(json_t *config, json_t *modules_to_save, struct err *e)
{
    if (!modules_to_save || is_nothing(modules_to_save))
        return err_set(e, "config_malformed",
                       "without lora, modules_to_save must name what is to be trained");
    if (set(config, "target_modules", json_string(no_module), e) != 0)
        return -1;
    return set(config, "modules_to_save", json_incref(modules_to_save), e);
}

static int fill_config(json_t *config, json_t *lora, json_t *modules_to_save, struct err *e)
{
    if (json_is_null(lora))
        return without_lora(config, modules_to_save, e);
    if (lora && !json_is_object(lora))
        return err_set(e, "config_malformed", "lora must be an object or null");
    if (modules_to_save && !is_nothing(modules_to_save))
        return err_set(e, "config_malformed", "modules_to_save is a field of lora where there is one");
    if (lora && (check_names(lora, e) != 0 || check_init(lora, e) != 0))
        return -1;
    return !lora || json_object_update(config, lora) == 0 ? 0 : err_memory(e);
}

/* ---- the whole ---- */

static int allocate(struct lora_plan **out, json_t *config, struct err *e)
{
    struct lora_plan *p = calloc(1, sizeof *p);
    if (p)
        p->config = config;
    if (!p || !config) {
        json_decref(config);
        free(p);
        return err_memory(e);
    }
    *out = p;
    return 0;
}

int lora_plan_new(struct lora_plan **out, const struct model *m, json_t *lora, json_t *modules_to_save,
                  struct err *e)
{
    struct lora_plan *p;
    if (allocate(&p, json_object(), e) != 0)
        return -1;
    int result = fill_config(p->config, lora, modules_to_save, e);
    if (result == 0 && (complete(p->config, m, e) != 0 || read_dropout(p->config, &p->dropout, e) != 0 ||
                        peft_plan_init(&p->peft, m, p->config, true, e) != 0))
        result = -1;
    if (result == 0) {
        *out = p;
        return 0;
    }
    lora_plan_free(p);
    return of_request(e);
}

int lora_plan_of_adapter(struct lora_plan **out, const struct model *m, json_t *config, struct err *e)
{
    struct lora_plan *p;
    if (allocate(&p, json_copy(config), e) != 0)
        return -1;
    if (read_dropout(p->config, &p->dropout, e) != 0 ||
        peft_plan_init(&p->peft, m, p->config, false, e) != 0) {
        lora_plan_free(p);
        return -1;
    }
    *out = p;
    return 0;
}

void lora_plan_free(struct lora_plan *p)
{
    if (!p)
        return;
    peft_plan_fini(&p->peft);
    json_decref(p->config);
    free(p);
}

int lora_plan_rank(const struct lora_plan *p)
{
    int rank = 0;
    for (size_t i = 0; i < p->peft.train.site_count; i++)
        if (p->peft.train.sites[i].rank > rank)
            rank = p->peft.train.sites[i].rank;
    return rank;
}
