/* r, lora_alpha and the patterns that give some modules others: rank and scale of each target. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"

/* One of the two fields. */
struct keys {
    const char *field;
    json_t *object;
    json_t **chosen; /* [site_count]: the value of the first key that matches the site, or NULL */
    struct warning_names unused;
};

/* Give the value to each targeted site that `key` matches and no earlier key did. */
static int apply_key(const struct peft_load *l, struct peft_patterns *patterns, struct keys *k,
                     const char *key, json_t *value, struct err *e)
{
    bool literal = peft_literal(key), used = false;
    struct peft_pattern pattern = {0};
    if (!literal &&
        peft_pattern_init(&pattern, patterns, k->field, "(.*\\.)?(", key, ")$", PEFT_START, e) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < l->site_count && result >= 0; i++) {
        const char *path = peft_path(l, l->sites[i].path);
        if (!l->targets[i].targeted || k->chosen[i])
            continue;
        result =
            literal ? peft_literal_match(key, path, strlen(path)) : peft_pattern_match(&pattern, path, e);
        if (result == 1) {
            k->chosen[i] = value;
            used = true;
        }
    }
    peft_pattern_fini(&pattern);
    if (!used)
        warning_names_add(&k->unused, key);
    return result < 0 ? -1 : 0;
}

static int apply_keys(const struct peft_load *l, struct peft_patterns *patterns, struct keys *k,
                      struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(k->object, key, value)
    {
        if (apply_key(l, patterns, k, key, value, e) != 0)
            return -1;
    }
    return warning_names_say(&k->unused, l->warnings, k->field, "no module that is a target is left for it",
                             e);
}

static int set_target(const struct peft_config *c, const char *path, json_t *rank_value, json_t *alpha_value,
                      struct peft_target *target, struct err *e)
{
    long long rank = rank_value ? json_integer_value(rank_value) : c->rank;
    double alpha = alpha_value ? json_number_value(alpha_value) : c->alpha;
    if (rank > DELTA_RANK_MAX) {
        err_set(e, "adapter_rank_too_large", "module %s: rank %lld; at most %d is supported", path, rank,
                DELTA_RANK_MAX);
        return err_param(e, rank_value ? "rank_pattern" : "r");
    }
    target->rank = (int)rank;
    target->scale = alpha / (c->rslora ? sqrt((double)rank) : (double)rank);
    if (isfinite((float)target->scale))
        return 0;
    err_set(e, "adapter_not_finite", "module %s: the scale %g, from alpha %g, does not fit f32", path,
            target->scale, alpha);
    return err_param(e, alpha_value ? "alpha_pattern" : "lora_alpha");
}

static int set_targets(struct peft_load *l, const struct keys *ranks, const struct keys *alphas,
                       struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++)
        if (l->targets[i].targeted && set_target(&l->config, l->sites[i].path, ranks->chosen[i],
                                                 alphas->chosen[i], &l->targets[i], e) != 0)
            return -1;
    /* lm_head has the embedding's A and B, but a scale of its own. */
    if (l->tied.targets)
        l->targets[l->tied.head].rank = l->targets[l->tied.embedding].rank;
    return 0;
}

int peft_rank(struct peft_load *l, struct peft_patterns *patterns, struct err *e)
{
    json_t **chosen = calloc(2 * l->site_count, sizeof *chosen);
    struct keys ranks = {.field = "rank_pattern", .object = l->config.rank_pattern, .chosen = chosen},
                alphas = {.field = "alpha_pattern", .object = l->config.alpha_pattern};
    if (!chosen)
        return err_memory(e);
    alphas.chosen = chosen + l->site_count;
    int result = apply_keys(l, patterns, &ranks, e);
    if (result == 0)
        result = apply_keys(l, patterns, &alphas, e);
    if (result == 0)
        result = set_targets(l, &ranks, &alphas, e);
    free(chosen);
    return result;
}
