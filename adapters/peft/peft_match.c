#include "adapters/peft/peft_match.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_pattern.h"
#include "core/base/buf.h"

struct match {
    const struct model *model;
    const struct peft_config *config;
    struct peft_selector target;   /* the config's, or PEFT's default for the family */
    struct peft_patterns patterns; /* shared limits */
    struct peft_pattern target_pattern, exclude_pattern;
    struct peft_pattern *layer_patterns; /* owned */
    size_t layer_pattern_count;
    struct peft_pattern *saved_patterns; /* owned, of the names in modules_to_save that are no literals */
    size_t saved_pattern_count;
    bool *named; /* owned: which of target.names match a module */
};

enum found { FOUND_NOT, FOUND_EXACT, FOUND_SUFFIX };

/* Is the path one of the names, or does it end in "." and one of them? Marks all that match, if asked. */
static enum found find_names(const struct peft_names *names, const char *path, bool *marks)
{
    enum found found = FOUND_NOT;
    for (const char *part = path; part; part = strchr(part, '.')) {
        if (part != path)
            part++;
        long index = peft_names_find(names, part);
        if (index < 0)
            continue;
        if (marks)
            marks[index] = true;
        if (found == FOUND_NOT)
            found = part == path ? FOUND_EXACT : FOUND_SUFFIX;
    }
    return found;
}

/* ---- expressions ---- */

static bool is_literal(const char *key)
{
    return key[strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.")] == '\0';
}

/* Does ^(.*\.)?(KEY)$ match the path's first `length` bytes? For a key of letters, digits, '_' and '.', which
 * stands for any character. Some adapters have a key for each of hundreds of modules: this keeps them cheap.
 */
static bool literal_matches(const char *key, const char *path, size_t length)
{
    size_t key_length = strlen(key);
    if (key_length > length)
        return false;
    const char *tail = path + length - key_length;
    if (tail != path && tail[-1] != '.')
        return false;
    for (size_t i = 0; i < key_length; i++)
        if (key[i] != '.' && key[i] != tail[i])
            return false;
    return key_length > 0;
}

/* ---- layers_to_transform ---- */

/* The first segment that is a number, has two segments or more before it and one behind it; -1: none. */
static long first_number(const char *path)
{
    int before = 0;
    for (const char *part = path;; before++) {
        const char *dot = strchr(part, '.');
        if (!dot)
            return -1;
        if (before >= 2 && dot > part && strspn(part, "0123456789") == (size_t)(dot - part))
            return strtol(part, NULL, 10);
        part = dot + 1;
    }
}

/* *layer: -1 where the path has none. */
static int find_layer(struct match *t, const char *path, long *layer, struct err *e)
{
    *layer = t->layer_pattern_count == 0 ? first_number(path) : -1;
    for (size_t i = 0; i < t->layer_pattern_count; i++) {
        int result = peft_pattern_match(&t->layer_patterns[i], path, e);
        if (result < 0)
            return -1;
        if (result == 1) {
            *layer = peft_pattern_number(&t->layer_patterns[i], path, "idx");
            return 0;
        }
    }
    return 0;
}

/* 1 when the path's layer is one of layers_to_transform, 0 when not, -1 with an error. */
static int in_layers(struct match *t, const char *path, struct err *e)
{
    long layer;
    if (find_layer(t, path, &layer, e) != 0)
        return -1;
    if (layer < 0)
        return 0;
    json_t *layers = t->config->layers, *number;
    if (json_is_integer(layers))
        return json_integer_value(layers) == layer;
    size_t i;
    json_array_foreach(layers, i, number) if (json_integer_value(number) == layer) return 1;
    return 0;
}

/* ---- target_modules and exclude_modules: 1 matches, 0 does not, -1 with an error ---- */

static int is_target(struct match *t, const char *path, struct err *e)
{
    if (t->target.kind == PEFT_PATTERN)
        return peft_pattern_match(&t->target_pattern, path, e);
    if (t->target.kind == PEFT_ALL_LINEAR) {
        int site = model_find_site(t->model, path);
        enum site_kind kind = site < 0 ? SITE_KINDS : model_sites(t->model, &(size_t){0})[site].kind;
        return site >= 0 && kind != SITE_LM_HEAD && kind != SITE_EMBEDDING;
    }
    enum found found = find_names(&t->target.names, path, t->named);
    if (found == FOUND_SUFFIX && t->config->layers)
        return in_layers(t, path, e);
    return found != FOUND_NOT;
}

/* Is the module, or one around it, named in modules_to_save? Such a one is trained whole: PEFT gives it no
 * LoRA, whatever target_modules says. Names are expressions here. */
static int is_kept(struct match *t, const char *path, struct err *e)
{
    const struct peft_names *saved = &t->config->saved;
    size_t length = strlen(path);
    for (size_t end = 1; end <= length; end++)
        for (size_t i = 0; (path[end] == '.' || end == length) && i < saved->count; i++)
            if (is_literal(saved->items[i]) && literal_matches(saved->items[i], path, end))
                return 1;
    int result = 0;
    for (size_t i = 0; i < t->saved_pattern_count && result == 0; i++)
        result = peft_pattern_match(&t->saved_patterns[i], path, e);
    return result;
}

static int is_excluded(struct match *t, const char *path, struct err *e)
{
    const struct peft_selector *exclude = &t->config->exclude;
    int kept = is_kept(t, path, e);
    if (kept != 0)
        return kept;
    if (exclude->kind == PEFT_PATTERN)
        return peft_pattern_match(&t->exclude_pattern, path, e);
    return exclude->kind == PEFT_LIST && find_names(&exclude->names, path, NULL) != FOUND_NOT;
}

static int match_module(struct match *t, const char *path, struct peft_target *targets, struct err *e)
{
    int target = is_target(t, path, e);
    if (target <= 0)
        return target;
    int excluded = is_excluded(t, path, e);
    if (excluded != 0)
        return excluded < 0 ? -1 : 0;
    int site = model_find_site(t->model, path);
    if (site >= 0) {
        targets[site].targeted = true;
        return 0;
    }
    err_set(e, "adapter_unsupported_feature",
            "target_modules matches %s, which is neither a linear layer nor an embedding", path);
    err_hint(e, "Train such a module with modules_to_save.");
    return err_param(e, "target_modules");
}

/* The last parts of the base's site paths, each once: what a tenant would write in target_modules. */
static void hint_modules(const struct model *m, struct err *e)
{
    size_t count;
    const struct site *sites = model_sites(m, &count);
    bool seen[SITE_KINDS] = {false};
    char list[200] = "";
    for (size_t i = 0; i < count; i++) {
        const char *dot = strrchr(sites[i].path, '.'), *name = dot ? dot + 1 : sites[i].path;
        size_t used = strlen(list);
        if ((seen[sites[i].kind] && sites[i].kind != SITE_FC) || used + strlen(name) + 3 > sizeof list)
            continue;
        seen[sites[i].kind] = true;
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", name);
    }
    err_hint(e, "Linear layers of this base: %s.", list);
}

static int check_all_named(const struct match *t, struct err *e)
{
    if (t->target.kind != PEFT_LIST)
        return 0;
    for (size_t i = 0; i < t->target.names.count; i++) {
        if (t->named[i])
            continue;
        char name[PEFT_TEXT];
        peft_config_text(t->target.names.items[i], name);
        err_set(e, "adapter_unknown_module", "target_modules names %s, but the base has no such module",
                name);
        hint_modules(t->model, e);
        return err_param(e, "target_modules");
    }
    return 0;
}

static int match_modules(struct match *t, struct peft_target *targets, struct err *e)
{
    size_t count, sites;
    const char *const *modules = model_modules(t->model, &count);
    for (size_t i = 0; i < count; i++)
        if (match_module(t, modules[i], targets, e) != 0)
            return -1;
    if (check_all_named(t, e) != 0)
        return -1;
    model_sites(t->model, &sites);
    for (size_t i = 0; i < sites; i++)
        if (targets[i].targeted)
            return 0;
    err_set(e, "adapter_unknown_module", "the configuration targets no module of the base");
    hint_modules(t->model, e);
    return err_param(e, "target_modules");
}

/* ---- rank_pattern and alpha_pattern ---- */

/* Give `value` to each targeted site that `key` matches and no earlier key did. */
static int apply_key(struct match *t, const char *field, const char *key, json_t *value,
                     const struct peft_target *targets, json_t **chosen, struct err *e)
{
    size_t count;
    const struct site *sites = model_sites(t->model, &count);
    bool literal = is_literal(key);
    struct peft_pattern pattern = {0};
    if (!literal &&
        peft_pattern_init(&pattern, &t->patterns, field, "(.*\\.)?(", key, ")$", PEFT_START, e) != 0)
        return -1;
    int result = 0;
    for (size_t i = 0; i < count && result >= 0; i++) {
        if (!targets[i].targeted || chosen[i])
            continue;
        result = literal ? literal_matches(key, sites[i].path, strlen(sites[i].path))
                         : peft_pattern_match(&pattern, sites[i].path, e);
        if (result == 1)
            chosen[i] = value;
    }
    peft_pattern_fini(&pattern);
    return result < 0 ? -1 : 0;
}

/* chosen[site]: the value of the first key that matches it; left alone where none does. */
static int apply_keys(struct match *t, const char *field, json_t *keys, const struct peft_target *targets,
                      json_t **chosen, struct err *e)
{
    const char *key;
    json_t *value;
    json_object_foreach(keys, key,
                        value) if (apply_key(t, field, key, value, targets, chosen, e) != 0) return -1;
    return 0;
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

static int set_targets(struct match *t, struct peft_target *targets, struct err *e)
{
    const struct peft_config *c = t->config;
    size_t count;
    const struct site *sites = model_sites(t->model, &count);
    json_t **chosen = calloc(2 * count, sizeof *chosen); /* ranks, then alphas */
    int result = chosen ? 0 : err_memory(e);
    if (result == 0)
        result = apply_keys(t, "rank_pattern", c->rank_pattern, targets, chosen, e);
    if (result == 0)
        result = apply_keys(t, "alpha_pattern", c->alpha_pattern, targets, chosen + count, e);
    for (size_t i = 0; i < count && result == 0; i++)
        if (targets[i].targeted)
            result = set_target(c, sites[i].path, chosen[i], chosen[count + i], &targets[i], e);
    free(chosen);
    return result;
}

/* ---- modules_to_save ---- */

static bool ends_in(const char *text, size_t length, const char *ending)
{
    size_t size = strlen(ending);
    return length >= size && memcmp(text + length - size, ending, size) == 0;
}

/* Does PEFT save the module at `path`, by its own name or that of a module around it? Names are endings as
 * mere text: "norm" is one of "input_layernorm". Marks those that match, if asked. */
static bool is_saved(const struct peft_names *names, const char *path, bool *marks)
{
    char whole[512];
    bool found = false;
    snprintf(whole, sizeof whole, "base_model.model.%s", path);
    size_t length = strlen(whole), around = length - strlen(path);
    for (size_t end = around + 1; end <= length; end++)
        for (size_t i = 0; (whole[end] == '.' || end == length) && i < names->count; i++) {
            if (!ends_in(whole, end, names->items[i]))
                continue;
            found = true;
            if (marks)
                marks[i] = true;
        }
    return found;
}

static int check_all_saved(const struct peft_config *c, const bool *marks, struct err *e)
{
    for (size_t i = 0; i < c->saved.count; i++) {
        if (marks[i])
            continue;
        char name[PEFT_TEXT];
        peft_config_text(c->saved.items[i], name);
        err_set(e, "adapter_unknown_module", "modules_to_save names %s, but the base has no such module",
                name);
        return err_param(e, "modules_to_save");
    }
    return 0;
}

static int match_saved(const struct model *m, const struct peft_config *c, const struct peft_target *targets,
                       bool *saved, bool *marks, struct err *e)
{
    size_t count;
    const struct slot *slots = model_slots(m, &count);
    for (size_t i = 0; i < count; i++) {
        saved[i] = is_saved(&c->saved, slots[i].path, marks);
        if (!saved[i] || slots[i].site < 0 || !targets[slots[i].site].targeted)
            continue;
        err_set(e, "adapter_unsupported_feature", "%s is both a target and one of modules_to_save",
                slots[i].path);
        err_hint(e, "Train it the one way or the other.");
        return err_param(e, "modules_to_save");
    }
    return check_all_saved(c, marks, e);
}

int peft_match_saved(const struct model *m, const struct peft_config *c, const struct peft_target *targets,
                     bool *saved, struct err *e)
{
    bool *marks = calloc(c->saved.count + 1, sizeof *marks);
    int result = marks ? match_saved(m, c, targets, saved, marks, e) : err_memory(e);
    free(marks);
    return result;
}

/* With ensure_weight_tying PEFT ties what is done to lm_head to what is done to the embedding. */
static int check_tying(const struct match *t, const struct peft_target *targets, struct err *e)
{
    size_t count;
    const struct site *sites = model_sites(t->model, &count);
    for (size_t i = 0; i < count && t->config->ensure_weight_tying; i++) {
        bool shared = sites[i].kind == SITE_LM_HEAD || sites[i].kind == SITE_EMBEDDING;
        if (!shared || (!targets[i].targeted && !is_saved(&t->config->saved, sites[i].path, NULL)))
            continue;
        err_set(e, "adapter_unsupported_feature",
                "ensure_weight_tying = true with %s as a target or saved module is not supported",
                sites[i].path);
        err_hint(e, "Train with ensure_weight_tying=False.");
        return err_param(e, "ensure_weight_tying");
    }
    return 0;
}

/* ---- preparation ---- */

/* PEFT's targets where target_modules is null: by model type (peft/utils/constants.py). */
static int choose_target(struct match *t, struct err *e)
{
    static const char *const attention[] = {"q_proj", "v_proj"}, *const gpt2[] = {"c_attn"};
    const char *family = model_info(t->model)->family;
    t->target = t->config->target;
    if (t->target.kind != PEFT_NOTHING)
        return 0;
    if (strcmp(family, "mlp") == 0) {
        err_set(e, "config_malformed",
                "adapter_config.json: target_modules is missing, and PEFT has no default "
                "for a base of this kind");
        return err_param(e, "target_modules");
    }
    t->target.kind = PEFT_LIST;
    t->target.names =
        strcmp(family, "gpt2") == 0 ? (struct peft_names){gpt2, 1} : (struct peft_names){attention, 2};
    return 0;
}

static int prepare_layer_patterns(struct match *t, struct err *e)
{
    json_t *patterns = t->config->layers ? t->config->layers_pattern : NULL;
    size_t count = json_is_string(patterns) ? 1 : json_array_size(patterns);
    t->layer_patterns = calloc(count + 1, sizeof *t->layer_patterns);
    if (!t->layer_patterns)
        return err_memory(e);
    for (; t->layer_pattern_count < count; t->layer_pattern_count++) {
        json_t *text = json_is_string(patterns) ? patterns : json_array_get(patterns, t->layer_pattern_count);
        if (peft_pattern_init(&t->layer_patterns[t->layer_pattern_count], &t->patterns, "layers_pattern",
                              "(?:^|.*?\\.)", json_string_value(text), "\\.(?P<idx>\\d+)\\.", PEFT_START,
                              e) != 0)
            return -1;
    }
    return 0;
}

static int prepare_saved_patterns(struct match *t, struct err *e)
{
    const struct peft_names *saved = &t->config->saved;
    t->saved_patterns = calloc(saved->count + 1, sizeof *t->saved_patterns);
    if (!t->saved_patterns)
        return err_memory(e);
    for (size_t i = 0; i < saved->count; i++) {
        if (is_literal(saved->items[i]))
            continue;
        if (peft_pattern_init(&t->saved_patterns[t->saved_pattern_count], &t->patterns, "modules_to_save",
                              "(^|.*\\.)", saved->items[i], "($|\\..*)", PEFT_START, e) != 0)
            return -1;
        t->saved_pattern_count++;
    }
    return 0;
}

static int prepare(struct match *t, struct err *e)
{
    const struct peft_selector *exclude = &t->config->exclude;
    if (peft_patterns_init(&t->patterns, e) != 0 || choose_target(t, e) != 0)
        return -1;
    t->named = calloc(t->target.names.count + 1, sizeof *t->named);
    if (!t->named)
        return err_memory(e);
    if (t->target.kind == PEFT_PATTERN &&
        peft_pattern_init(&t->target_pattern, &t->patterns, "target_modules", "", t->target.pattern, "",
                          PEFT_FULL, e) != 0)
        return -1;
    if (exclude->kind == PEFT_PATTERN &&
        peft_pattern_init(&t->exclude_pattern, &t->patterns, "exclude_modules", "", exclude->pattern, "",
                          PEFT_FULL, e) != 0)
        return -1;
    return prepare_layer_patterns(t, e) == 0 ? prepare_saved_patterns(t, e) : -1;
}

static void release(struct match *t)
{
    for (size_t i = 0; i < t->layer_pattern_count; i++)
        peft_pattern_fini(&t->layer_patterns[i]);
    for (size_t i = 0; i < t->saved_pattern_count; i++)
        peft_pattern_fini(&t->saved_patterns[i]);
    free(t->layer_patterns);
    free(t->saved_patterns);
    peft_pattern_fini(&t->target_pattern);
    peft_pattern_fini(&t->exclude_pattern);
    peft_patterns_fini(&t->patterns);
    free(t->named);
}

int peft_match(const struct model *m, const struct peft_config *c, struct peft_target *targets, struct err *e)
{
    struct match t = {.model = m, .config = c};
    size_t count;
    model_sites(m, &count);
    memset(targets, 0, count * sizeof *targets);
    int result = prepare(&t, e);
    if (result == 0)
        result = match_modules(&t, targets, e);
    if (result == 0)
        result = check_tying(&t, targets, e);
    if (result == 0)
        result = set_targets(&t, targets, e);
    release(&t);
    return result;
}
