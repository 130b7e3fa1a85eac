/* target_modules, exclude_modules, layers_to_transform and ensure_weight_tying: which sites are targets. */
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"
#include "core/model/config/families.h"

struct match {
    struct peft_load *load;
    const struct peft_config *config;
    struct peft_selector target;   /* the config's, or PEFT's default for the family */
    struct peft_patterns patterns; /* shared limits */
    struct peft_pattern target_pattern, exclude_pattern;
    struct peft_pattern *layer_patterns; /* owned */
    size_t layer_pattern_count;
    struct peft_pattern *saved_patterns; /* owned, of the names in modules_to_save that are no literals */
    size_t saved_pattern_count;
    bool *named;       /* owned: which of target.names match a module */
    bool *layers_used; /* owned: which of layers_to_transform a target is in */
    bool excluded;     /* exclude_modules took one out */
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
    int found = 0;
    if (find_layer(t, path, &layer, e) != 0)
        return -1;
    if (layer < 0)
        return 0;
    json_t *layers = t->config->layers, *number;
    if (json_is_integer(layers)) {
        found = json_integer_value(layers) == layer;
        t->layers_used[0] |= found == 1;
    }
    size_t i;
    json_array_foreach(layers, i, number)
    {
        if (json_integer_value(number) == layer)
            found = t->layers_used[i] = true;
    }
    return found;
}

/* ---- target_modules and exclude_modules: 1 matches, 0 does not, -1 with an error ---- */

static int is_target(struct match *t, const char *path, int site, struct err *e)
{
    if (t->target.kind == PEFT_NO_MODULE)
        return 0;
    if (t->target.kind == PEFT_PATTERN)
        return peft_pattern_match(&t->target_pattern, path, e);
    if (t->target.kind == PEFT_ALL_LINEAR) {
        enum site_kind kind = site < 0 ? SITE_KINDS : t->load->sites[site].kind;
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
            if (peft_literal(saved->items[i]) && peft_literal_match(saved->items[i], path, end))
                return 1;
    int result = 0;
    for (size_t i = 0; i < t->saved_pattern_count && result == 0; i++)
        result = peft_pattern_match(&t->saved_patterns[i], path, e);
    return result;
}

static int is_excluded(struct match *t, const char *path, int site, struct err *e)
{
    const struct peft_selector *exclude = &t->config->exclude;
    const struct peft_tied *tied = &t->load->tied;
    if (tied->saves && site >= 0 && (site == tied->embedding || site == tied->head))
        return 1;
    int kept = is_kept(t, path, e);
    if (kept != 0)
        return kept;
    int result = exclude->kind == PEFT_PATTERN
                     ? peft_pattern_match(&t->exclude_pattern, path, e)
                     : exclude->kind == PEFT_LIST && find_names(&exclude->names, path, NULL) != FOUND_NOT;
    t->excluded |= result == 1;
    return result;
}

static int match_module(struct match *t, const char *module, struct err *e)
{
    const char *path = peft_path(t->load, module);
    if (!path)
        return 0;
    int site = model_find_site(t->load->model, module), target = is_target(t, path, site, e);
    const struct peft_tied *tied = &t->load->tied;
    if (target < 0)
        return -1;
    if (tied->targets && site >= 0 && (site == tied->embedding || site == tied->head))
        target = 1;
    /* A tied lm_head follows the embedding, whatever excludes it. */
    int excluded = target && !(tied->targets && site == tied->head) ? is_excluded(t, path, site, e) : 0;
    if (!target || excluded != 0)
        return excluded < 0 ? -1 : 0;
    if (site >= 0) {
        t->load->targets[site].targeted = true;
        return 0;
    }
    err_set(e, "adapter_unsupported_feature",
            "target_modules matches %s, which is neither a linear layer nor an embedding", path);
    err_hint(e, "Train such a module with modules_to_save.");
    return err_param(e, "target_modules");
}

/* ---- what is left over ---- */

/* The last parts of the base's site paths, each once: what a tenant would write in target_modules. */
static void hint_modules(const struct peft_load *l, struct err *e)
{
    bool seen[SITE_KINDS] = {false};
    char list[200] = "";
    for (size_t i = 0; i < l->site_count; i++) {
        const struct site *s = &l->sites[i];
        const char *dot = strrchr(s->path, '.'), *name = dot ? dot + 1 : s->path;
        size_t used = strlen(list);
        if ((seen[s->kind] && s->kind != SITE_FC) || used + strlen(name) + 3 > sizeof list)
            continue;
        seen[s->kind] = true;
        snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", name);
    }
    err_hint(e, "Linear layers of this base: %s.", list);
}

static struct warning_names names_not_found(const struct match *t)
{
    struct warning_names names = {0};
    for (size_t i = 0; t->target.kind == PEFT_LIST && i < t->target.names.count; i++)
        if (!t->named[i])
            warning_names_add(&names, t->target.names.items[i]);
    return names;
}

static int refuse_all(const struct match *t, struct err *e)
{
    struct warning_names names = names_not_found(t);
    if (names.count > 0)
        err_set(e, "adapter_unknown_module", "target_modules names %s, but the base has no such module",
                names.text);
    else
        err_set(e, "adapter_unknown_module", "the configuration targets no module of the base");
    hint_modules(t->load, e);
    return err_param(e, "target_modules");
}

/* PEFT asks for one target in all, and passes over names that hit nothing. */
static int check_targets(const struct match *t, struct err *e)
{
    const struct peft_load *l = t->load;
    bool any = false;
    for (size_t i = 0; i < l->site_count; i++)
        any |= l->targets[i].targeted;
    if (!any && t->target.kind != PEFT_NO_MODULE)
        return refuse_all(t, e);
    if (!l->tied.targets || l->targets[l->tied.embedding].targeted)
        return 0;
    err_set(e, "adapter_unsupported_feature",
            "ensure_weight_tying ties %s to %s, which exclude_modules takes out of the targets",
            l->sites[l->tied.head].path, l->sites[l->tied.embedding].path);
    return err_param(e, "ensure_weight_tying");
}

static int warn_of_layers(const struct match *t, struct err *e)
{
    struct warning_names unused = {0};
    json_t *layers = t->config->layers;
    size_t count = json_is_integer(layers) ? 1 : json_array_size(layers);
    for (size_t i = 0; i < count; i++) {
        char number[32];
        json_t *layer = json_is_integer(layers) ? layers : json_array_get(layers, i);
        snprintf(number, sizeof number, "%lld", json_integer_value(layer));
        if (!t->layers_used[i])
            warning_names_add(&unused, number);
    }
    return warning_names_say(&unused, t->load->warnings, "layers_to_transform",
                             "no target is in such a layer", e);
}

static int warn(const struct match *t, struct err *e)
{
    struct warning_names names = names_not_found(t);
    struct warnings *w = t->load->warnings;
    if (warning_names_say(&names, w, "target_modules", "the base has no such module", e) != 0 ||
        warn_of_layers(t, e) != 0)
        return -1;
    if (t->config->exclude.kind == PEFT_NOTHING || t->excluded)
        return 0;
    return warnings_add(w, e, "exclude_modules takes none of the targets out; ignored, as by PEFT");
}

static int match_modules(struct match *t, struct err *e)
{
    size_t count;
    const char *const *modules = model_modules(t->load->model, &count);
    for (size_t i = 0; i < count; i++)
        if (match_module(t, modules[i], e) != 0)
            return -1;
    return check_targets(t, e) == 0 ? warn(t, e) : -1;
}

/* ---- ensure_weight_tying ---- */

static const char *const embedding_names[] = {"embed_tokens", "lm_head"}; /* as PEFT has them */

static bool names_embedding(const struct peft_names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        const char *dot = strrchr(names->items[i], '.'), *last = dot ? dot + 1 : names->items[i];
        for (size_t k = 0; k < sizeof embedding_names / sizeof *embedding_names; k++)
            if (strcmp(last, embedding_names[k]) == 0)
                return true;
    }
    return false;
}

/* Does target_modules speak of the embedding or the head? An expression is asked for their bare names. */
static int targets_embedding(struct match *t, struct err *e)
{
    int result = t->config->target.kind == PEFT_LIST && names_embedding(&t->config->target.names);
    for (size_t k = 0; t->config->target.kind == PEFT_PATTERN && k < 2 && result == 0; k++)
        result = peft_pattern_match(&t->target_pattern, embedding_names[k], e);
    return result;
}

/* Saved modules go before targets; where neither speaks of the two, or nothing is tied, PEFT warns at
 * most. */
static int choose_tying(struct match *t, struct err *e)
{
    struct peft_tied *tied = &t->load->tied;
    peft_tied_find(t->load);
    if (!t->config->ensure_weight_tying || tied->embedding < 0)
        return 0;
    tied->saves = names_embedding(&t->config->saved);
    int targets = tied->saves ? 0 : targets_embedding(t, e);
    tied->targets = targets == 1;
    return targets < 0 ? -1 : 0;
}

/* ---- preparation ---- */

/* PEFT's targets where target_modules is null: by model type (peft/utils/constants.py). */
static int choose_target(struct match *t, struct err *e)
{
    const char *const *names = model_family(t->load->model)->lora_targets;
    t->target = t->config->target;
    if (t->target.kind != PEFT_NOTHING)
        return 0;
    if (!names[0]) {
        err_set(e, "config_malformed",
                "adapter_config.json: target_modules is missing, and PEFT has no default "
                "for a base of this kind");
        return err_param(e, "target_modules");
    }
    t->target = (struct peft_selector){.kind = PEFT_LIST, .names = {.items = names}};
    while (t->target.names.count < FAMILY_LORA_TARGETS && names[t->target.names.count])
        t->target.names.count++;
    return 0;
}

static int prepare_layer_patterns(struct match *t, struct err *e)
{
    json_t *patterns = t->config->layers ? t->config->layers_pattern : NULL;
    size_t count = json_is_string(patterns) ? 1 : json_array_size(patterns);
    t->layer_patterns = calloc(count + 1, sizeof *t->layer_patterns);
    t->layers_used = calloc(json_array_size(t->config->layers) + 1, sizeof *t->layers_used);
    if (!t->layer_patterns || !t->layers_used)
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
        if (peft_literal(saved->items[i]))
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
    if (prepare_layer_patterns(t, e) != 0 || prepare_saved_patterns(t, e) != 0)
        return -1;
    return choose_tying(t, e);
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
    free(t->layers_used);
}

int peft_match(struct peft_load *l, struct err *e)
{
    struct match t = {.load = l, .config = &l->config};
    memset(l->targets, 0, l->site_count * sizeof *l->targets);
    int result = prepare(&t, e);
    if (result == 0)
        result = match_modules(&t, e);
    if (result == 0)
        result = peft_rank(l, &t.patterns, e);
    release(&t);
    return result;
}
