#include "adapters/peft/peft_plan.h"

#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"

static int refuse(const char *field, const char *what, struct err *e)
{
    err_set(e, "adapter_unsupported_feature", "adapter_config.json: %s", what);
    return err_param(e, field);
}

static int refuse_untrained(const struct peft_load *l, struct err *e)
{
    if (l->config.tokens)
        return refuse("trainable_token_indices", "single rows (trainable_token_indices) are not trained", e);
    if (l->tied.saves || l->tied.targets)
        return refuse("ensure_weight_tying", "embedding and lm_head are not trained as one matrix", e);
    return 0;
}

/* The first one says it, its field in front: "FIELD: names: why; ignored, as by PEFT". */
static int refuse_warned(const struct warnings *w, struct err *e)
{
    if (w->count == 0)
        return 0;
    const char *text = w->texts[0], *ignored = strstr(text, "; ignored");
    char field[64];
    err_set(e, "adapter_unknown_module", "adapter_config.json: %.*s",
            ignored ? (int)(ignored - text) : (int)strlen(text), text);
    snprintf(field, sizeof field, "%.*s", (int)strcspn(text, ": "), text);
    return err_param(e, field);
}

static bool trains_bias(const struct peft_load *l, const struct parameter *s)
{
    if (strcmp(s->leaf, "bias") != 0 || l->config.bias == PEFT_BIAS_NONE)
        return false;
    return l->config.bias == PEFT_BIAS_ALL || (s->site >= 0 && l->targets[s->site].targeted);
}

static int fill(const struct peft_load *l, struct peft_plan *p, struct err *e)
{
    struct train_site_plan *sites = calloc(l->site_count + 1, sizeof *sites);
    int *whole = calloc(l->parameter_count + 1, sizeof *whole);
    p->train.sites = sites;
    p->train.whole = whole;
    if (!sites || !whole)
        return err_memory(e);
    for (size_t i = 0; i < l->site_count; i++)
        if (l->targets[i].targeted)
            sites[p->train.site_count++] = (struct train_site_plan){.site = (int)i,
                                                                    .rank = l->targets[i].rank,
                                                                    .scale = (float)l->targets[i].scale,
                                                                    .dora = l->config.dora};
    for (size_t i = 0; i < l->parameter_count; i++)
        if (l->saved[i] || trains_bias(l, &l->parameters[i]))
            whole[p->train.whole_count++] = (int)i;
    if (p->train.site_count + p->train.whole_count > 0)
        return 0;
    err_set(e, "adapter_unknown_module", "adapter_config.json: nothing of the base is to be trained");
    return err_param(e, "modules_to_save");
}

static int match(struct peft_load *l, struct peft_plan *p, bool strict, struct err *e)
{
    l->sites = model_sites(l->model, &l->site_count);
    l->parameters = model_parameters(l->model, &l->parameter_count);
    l->targets = calloc(l->site_count + 1, sizeof *l->targets);
    l->saved = calloc(l->parameter_count + 1, sizeof *l->saved);
    if (!l->targets || !l->saved)
        return err_memory(e);
    if (peft_match(l, e) != 0 || peft_saved(l, e) != 0 || refuse_untrained(l, e) != 0)
        return -1;
    return strict && refuse_warned(l->warnings, e) != 0 ? -1 : fill(l, p, e);
}

int peft_plan_init(struct peft_plan *p, const struct model *m, json_t *config, bool strict, struct err *e)
{
    struct warnings warnings = {0};
    struct peft_load l = {.model = m, .warnings = &warnings};
    *p = (struct peft_plan){0};
    int result = peft_config_take(&l.config, config, e) == 0 ? match(&l, p, strict, e) : -1;
    peft_config_fini(&l.config);
    free(l.targets);
    free(l.saved);
    warnings_fini(&warnings);
    if (result != 0)
        peft_plan_fini(p);
    return result;
}

void peft_plan_fini(struct peft_plan *p)
{
    free((void *)p->train.sites);
    free((void *)p->train.whole);
    *p = (struct peft_plan){0};
}

static bool has(const json_t *names, const char *name)
{
    size_t i;
    json_t *other;
    json_array_foreach(names, i, other)
    {
        if (strcmp(json_string_value(other), name) == 0)
            return true;
    }
    return false;
}

json_t *peft_plan_all_linear(const struct model *m)
{
    size_t count;
    const struct site *sites = model_sites(m, &count);
    json_t *names = json_array();
    for (size_t i = 0; names && i < count; i++) {
        const char *dot = strrchr(sites[i].path, '.'), *name = dot ? dot + 1 : sites[i].path;
        bool linear = sites[i].kind != SITE_LM_HEAD && sites[i].kind != SITE_EMBEDDING;
        if (linear && !has(names, name) && json_array_append_new(names, json_string(name)) != 0) {
            json_decref(names);
            return NULL;
        }
    }
    return names;
}
