#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"
#include "core/system/file.h"

enum { PATH_BYTES = 256 };

static int refuse(const struct tensor *t, const char *code, const char *why, const char *hint, struct err *e)
{
    err_set(e, code, "tensor %s: %s", t->name, why);
    return hint ? err_hint(e, "%s", hint) : -1;
}

/* ---- names: every tensor of the file has one place, or the upload is refused ---- */

/* What stands behind the module's path: `text`, and `after` behind that. Between the two some files have the
 * adapter's name, as in PEFT's memory: "lora_A.default.weight". Tried in this order: the last ones are
 * endings of others. */
static const struct ending {
    const char *text, *after;
    int role;           /* as of struct peft_place */
    const char *leaf;   /* of PEFT_ROLE_BASE */
    bool named;         /* may have the adapter's name */
    bool embedding;     /* of A and B: an embedding's */
    bool base_layer;    /* of a module that is a target */
    bool token_adapter; /* of a module of which rows are trained */
} endings[] = {
    {".lora_A", ".weight", DELTA_A, .named = true},
    {".lora_B", ".weight", DELTA_B, .named = true},
    {".lora_embedding_A", "", DELTA_A, .named = true, .embedding = true},
    {".lora_embedding_B", "", DELTA_B, .named = true, .embedding = true},
    {".lora_magnitude_vector", "", DELTA_MAGNITUDE, .named = false},
    {".lora_magnitude_vector", ".weight", DELTA_MAGNITUDE, .named = true},
    {".original_module", ".weight", PEFT_ROLE_ORIGINAL, .leaf = "weight"},
    {".modules_to_save", ".weight", PEFT_ROLE_COPY, .leaf = "weight"},
    {".original_module", ".bias", PEFT_ROLE_COPY, .leaf = "bias"},
    {".modules_to_save", ".bias", PEFT_ROLE_COPY, .leaf = "bias"},
    {".token_adapter", ".trainable_tokens_delta", PEFT_ROLE_ROWS, .leaf = "weight"},
    {".token_adapter.base_layer", ".weight", PEFT_ROLE_BASE, .leaf = "weight", .token_adapter = true},
    {".base_layer", ".weight", PEFT_ROLE_BASE, .leaf = "weight", .base_layer = true},
    {".base_layer", ".bias", PEFT_ROLE_BASE, .leaf = "bias", .base_layer = true},
    {"", ".weight", PEFT_ROLE_BASE, .leaf = "weight"},
    {"", ".bias", PEFT_ROLE_BASE, .leaf = "bias"},
};

/* The length of name[0..length) without `ending`; 0: it does not end in that, or is no longer. */
static size_t without(const char *name, size_t length, const char *ending)
{
    size_t size = strlen(ending);
    return length > size && memcmp(name + length - size, ending, size) == 0 ? length - size : 0;
}

/* The length of name[0..length) without its last segment, which is an adapter's name; 0: it is none. */
static size_t without_name(const char *name, size_t length)
{
    const char *dot = memrchr(name, '.', length);
    size_t segment = dot ? length - (size_t)(dot - name) - 1 : 0;
    bool taken = segment == 6 && memcmp(dot + 1, "weight", 6) == 0;
    return segment == 0 || taken ? 0 : (size_t)(dot - name);
}

/* *path: bytes of the module's path. The places of the adapter's name are counted from `name` on. */
static const struct ending *find_ending(const char *name, size_t *path, struct peft_place *place)
{
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        const struct ending *n = &endings[i];
        size_t length = without(name, strlen(name), n->after),
               before = length ? without(name, length, n->text) : 0;
        size_t shorter = n->named && length && !before ? without_name(name, length) : 0;
        if (shorter && (before = without(name, shorter, n->text)) > 0) {
            place->name_at = (int)shorter;
            place->name_length = (int)(length - shorter);
        }
        if (before == 0)
            continue;
        *path = before;
        return n;
    }
    return NULL;
}

static bool is_module(const struct model *m, const char *path)
{
    size_t count;
    const char *const *modules = model_modules(m, &count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(modules[i], path) == 0)
            return true;
    return false;
}

static bool is_targeted(const struct peft_load *l, int site)
{
    return site >= 0 && l->targets[site].targeted;
}

/* Embedding and head, which PEFT adds to a file by itself where it takes them for changed. */
static bool adds_itself(const struct peft_load *l, const struct parameter *s)
{
    enum site_kind kind = s->site < 0 ? SITE_KINDS : l->sites[s->site].kind;
    return kind == SITE_LM_HEAD || kind == SITE_EMBEDDING;
}

/* Which of the base's tensors may come with a file: those of modules_to_save; biases, where `bias` has them,
 * under either name (before PEFT 0.6 a target's had no base_layer); the embedding and the head. */
static bool takes_parameter(const struct peft_load *l, int parameter, const struct ending *n)
{
    bool base_layer = n->base_layer, has_rows = l->rows[parameter].indices != NULL;
    if (n->token_adapter || has_rows)
        return n->token_adapter && has_rows;
    const struct parameter *s = &l->parameters[parameter];
    bool targeted = is_targeted(l, s->site);
    if (base_layer && !targeted)
        return false;
    if (l->saved[parameter])
        return !base_layer;
    if (strcmp(s->leaf, "bias") == 0)
        return l->config.bias == PEFT_BIAS_ALL || (l->config.bias == PEFT_BIAS_TARGETS && targeted);
    return adds_itself(l, s);
}

/* With bias = "all" PEFT saves every bias that it finds: of a saved module also the one of the module before
 * training, and its own a second time. The same of the weights of embedding and head where it adds these by
 * itself. On loading neither is used. */
static bool takes_copy(const struct peft_load *l, int parameter)
{
    const struct parameter *s = &l->parameters[parameter];
    bool bias = strcmp(s->leaf, "bias") == 0;
    return l->saved[parameter] && (bias ? l->config.bias == PEFT_BIAS_ALL : adds_itself(l, s));
}

static bool takes_site(const struct peft_load *l, int site, const struct ending *n)
{
    if (!is_targeted(l, site))
        return false;
    if (n->role == DELTA_MAGNITUDE)
        return l->config.dora;
    return n->embedding == (l->sites[site].kind == SITE_EMBEDDING);
}

/* Has the tensor a place at this site or parameter, and as what? Rows of lm_head that follow the embedding's
 * are a copy. */
static bool takes(const struct peft_load *l, int index, const struct ending *n, int *role)
{
    *role = n->role;
    if (index < 0)
        return false;
    switch (n->role) {
    case PEFT_ROLE_ROWS:
        if (l->rows[index].source != index)
            *role = PEFT_ROLE_COPY;
        return l->rows[index].indices != NULL;
    case PEFT_ROLE_BASE:
        return takes_parameter(l, index, n);
    case PEFT_ROLE_COPY:
    case PEFT_ROLE_ORIGINAL:
        return takes_copy(l, index);
    default:
        return takes_site(l, index, n);
    }
}

/* A name that ends like one of ours, for a module that has no use for it. */
static int refuse_module(const struct peft_load *l, const struct tensor *t, const char *path,
                         const struct ending *n, struct err *e)
{
    static const char code[] = "adapter_unexpected_tensor";
    if (!is_module(l->model, path))
        return refuse(t, "adapter_unknown_module", "the base has no such module", NULL, e);
    if (n->role == PEFT_ROLE_ROWS || n->token_adapter)
        return refuse(t, code, "trainable_token_indices of adapter_config.json does not name this module",
                      NULL, e);
    if (n->role == DELTA_MAGNITUDE && !l->config.dora)
        return refuse(t, code, "it is a magnitude of DoRA, and adapter_config.json has not use_dora = true",
                      NULL, e);
    if (!n->leaf && !is_targeted(l, model_find_site(l->model, path)))
        return refuse(t, code, "adapter_config.json does not target this module",
                      "Check target_modules, exclude_modules and layers_to_transform.", e);
    if (!n->leaf)
        return refuse(t, code, "it is not a tensor of a LoRA on a layer of this kind", NULL, e);
    return refuse(
        t, code, "it is not part of a LoRA on this module",
        "Weights of the base belong to modules_to_save, its biases to bias = \"all\" or \"lora_only\".", e);
}

int peft_place_find(const struct peft_load *l, const struct tensor *t, struct peft_place *out, struct err *e)
{
    size_t prefix = sizeof PEFT_PREFIX - 1, length = 0;
    struct peft_place place = {0};
    if (strncmp(t->name, PEFT_PREFIX, prefix) != 0)
        return refuse(t, "adapter_unexpected_tensor", "the name does not start with " PEFT_PREFIX, NULL, e);
    const char *name = t->name + prefix;
    const struct ending *n = find_ending(name, &length, &place);
    char path[2 * PATH_BYTES + 1]; /* longer names were refused on opening */
    snprintf(path, sizeof path, "%.*s%.*s", PATH_BYTES, l->inside, (int)length, name);
    if (!n || (n->role == PEFT_ROLE_BASE && strstr(path, ".lora_")))
        return refuse(t, "adapter_unexpected_tensor", "it is not a tensor of LoRA as PEFT names them",
                      "Save the adapter with save_pretrained of PEFT.", e);
    if (n->leaf && !n->base_layer && !n->token_adapter && peft_head_named(l, path)) {
        place.role = n->role == PEFT_ROLE_BASE ? PEFT_ROLE_HEAD : PEFT_ROLE_HEAD_COPY;
        place.index = strcmp(n->leaf, "bias") == 0;
        *out = place;
        return 0;
    }
    int index = n->leaf ? model_find_parameter(l->model, path, n->leaf) : model_find_site(l->model, path);
    if (!takes(l, index, n, &place.role))
        return refuse_module(l, t, path, n, e);
    place.index = index;
    place.name_at += (int)prefix;
    *out = place;
    return 0;
}

/* A file holds one adapter: the name that some tensors carry is the same in all of them. `first`: the tensor
 * that had it first. */
static int check_name(const struct tensor *t, struct peft_place place, const struct tensor **first,
                      struct peft_place *first_place, struct err *e)
{
    if (place.name_length == 0)
        return 0;
    if (!*first) {
        *first = t;
        *first_place = place;
    }
    if (place.name_length == first_place->name_length &&
        memcmp(t->name + place.name_at, (*first)->name + first_place->name_at, (size_t)place.name_length) ==
            0)
        return 0;
    err_set(e, "adapter_unexpected_tensor",
            "tensor %s: it is of the adapter \"%.*s\", others of the file are of \"%.*s\"", t->name,
            place.name_length - 1, t->name + place.name_at + 1, first_place->name_length - 1,
            (*first)->name + first_place->name_at + 1);
    return err_hint(e, "Save one adapter: save_pretrained(directory, selected_adapters=[name]) of PEFT.");
}

/* Where the tensor is kept; not of a copy. */
static const struct tensor **place_of(struct peft_load *l, struct peft_place place)
{
    if (place.role == PEFT_ROLE_BASE)
        return &l->parameter_found[place.index].tensor;
    if (place.role == PEFT_ROLE_ROWS)
        return &l->rows[place.index].tensor;
    return &l->site_found[place.index].tensors[place.role];
}

static bool is_unused(struct peft_place place)
{
    return place.role == PEFT_ROLE_COPY || place.role == PEFT_ROLE_ORIGINAL ||
           place.role == PEFT_ROLE_HEAD_COPY;
}

/* Where PEFT adds embedding and head by itself, a magnitude is there under both of its names. 1, 0, or -1
 * with an error. */
static int is_same(const struct peft_load *l, const struct tensor *t, const struct tensor *other,
                   struct err *e)
{
    if (t->dtype != other->dtype || t->dimensions != 1 || other->dimensions != 1 || t->bytes != other->bytes)
        return 0;
    char *bytes = malloc(2 * t->bytes + 1);
    if (!bytes)
        return err_memory(e);
    int result = -1;
    if (file_pread(l->weights_fd, bytes, t->bytes, t->offset, e) == 0 &&
        file_pread(l->weights_fd, bytes + t->bytes, t->bytes, other->offset, e) == 0)
        result = memcmp(bytes, bytes + t->bytes, t->bytes) == 0;
    free(bytes);
    return result;
}

static int place_tensors(struct peft_load *l, struct err *e)
{
    const struct tensor *named = NULL;
    struct peft_place named_place;
    for (size_t i = 0; i < safetensors_count(l->weights); i++) {
        const struct tensor *t = safetensors_at(l->weights, i);
        struct peft_place place;
        if (peft_place_find(l, t, &place, e) != 0 || check_name(t, place, &named, &named_place, e) != 0)
            return -1;
        if (is_unused(place)) {
            l->has_copies = true;
            continue;
        }
        if (place.role == PEFT_ROLE_HEAD) {
            if (peft_head_add(l, t, place.index == 1, e) != 0)
                return -1;
            continue;
        }
        const struct tensor **found = place_of(l, place);
        int same = *found && place.role == DELTA_MAGNITUDE ? is_same(l, *found, t, e) : 0;
        if (same < 0)
            return -1;
        if (same)
            continue;
        if (*found)
            return refuse(t, "adapter_unexpected_tensor", "the same tensor is there under another name", NULL,
                          e);
        *found = t;
    }
    return 0;
}

/* ---- what is missing ---- */

static const char *missing_ending(const struct peft_load *l, size_t site)
{
    const struct peft_site *s = &l->site_found[site];
    bool embedding = l->sites[site].kind == SITE_EMBEDDING;
    if (!s->a)
        return embedding ? ".lora_embedding_A" : ".lora_A.weight";
    if (!s->b)
        return embedding ? ".lora_embedding_B" : ".lora_B.weight";
    return l->config.dora && !s->magnitude ? ".lora_magnitude_vector" : NULL;
}

static int check_sites(struct peft_load *l, struct err *e)
{
    peft_tied_complete(l);
    for (size_t i = 0; i < l->site_count; i++) {
        const char *missing = l->targets[i].targeted ? missing_ending(l, i) : NULL;
        if (!missing)
            continue;
        err_set(e, "adapter_missing_tensor", "tensor %s%s%s is missing; adapter_config.json targets %s",
                PEFT_PREFIX, peft_path(l, l->sites[i].path), missing, l->sites[i].path);
        return err_hint(e, "Check target_modules and layers_to_transform, or save the adapter again.");
    }
    return 0;
}

/* Is it a part of the network that the adapter was made for? One that gives labels has no lm_head. */
static bool has_module(const struct peft_load *l, const struct parameter *s)
{
    bool head = s->site >= 0 && l->sites[s->site].kind == SITE_LM_HEAD;
    return peft_path(l, s->path) && !(head && l->config.task != HEAD_NONE);
}

/* Does the config say that the file has this tensor? */
static bool promises(const struct peft_load *l, size_t parameter)
{
    const struct parameter *s = &l->parameters[parameter];
    bool bias = strcmp(s->leaf, "bias") == 0;
    if (!has_module(l, s))
        return false;
    return l->saved[parameter] || (bias && l->config.bias == PEFT_BIAS_ALL) ||
           (bias && l->config.bias == PEFT_BIAS_TARGETS && is_targeted(l, s->site));
}

static int check_parameters(const struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++) {
        if (l->parameter_found[i].tensor || !promises(l, i))
            continue;
        err_set(e, "adapter_missing_tensor", "tensor %s%s.%s is missing; adapter_config.json has it by %s",
                PEFT_PREFIX, peft_path(l, l->parameters[i].path), l->parameters[i].leaf,
                l->saved[i] ? "modules_to_save" : "bias");
        return err_hint(
            e, "Some versions of PEFT do not save trained biases: save the adapter with a newer one.");
    }
    return 0;
}

static int check_rows(const struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++) {
        const struct peft_rows *r = &l->rows[i];
        if (!r->indices || r->source != (int)i || r->tensor)
            continue;
        err_set(e, "adapter_missing_tensor",
                "tensor %s%s.token_adapter.trainable_tokens_delta is missing; adapter_config.json has it by "
                "trainable_token_indices",
                PEFT_PREFIX, peft_path(l, l->parameters[i].path));
        return err_hint(e, "Save the adapter again with save_pretrained of PEFT.");
    }
    return 0;
}

/* ---- shapes ---- */

/* columns 0: a vector. */
static int check_shape(const struct tensor *t, long long rows, long long columns, const char *meaning,
                       struct err *e)
{
    if (t->dimensions == (columns ? 2 : 1) && t->shape[0] == rows && (!columns || t->shape[1] == columns))
        return 0;
    char found[128], wanted[64];
    tensor_shape_text(t, found, sizeof found);
    snprintf(wanted, sizeof wanted, columns ? "[%lld, %lld]" : "[%lld]", rows, columns);
    return err_set(e, "adapter_shape_mismatch", "tensor %s: expected %s (%s), found %s", t->name, wanted,
                   meaning, found);
}

static int check_site_shapes(const struct peft_site *s, const struct site *site, int rank, struct err *e)
{
    if (!s->turned && (check_shape(s->a, rank, site->in, "rank, inputs of the base's layer", e) != 0 ||
                       check_shape(s->b, site->out, rank, "outputs of the base's layer, rank", e) != 0))
        return -1;
    return s->magnitude ? check_shape(s->magnitude, site->out, 0, "outputs of the base's layer", e) : 0;
}

static int check_rows_shape(const struct peft_load *l, const struct tensor *t, int parameter, struct err *e)
{
    return check_shape(t, (long long)json_array_size(l->rows[parameter].indices),
                       l->parameters[parameter].cols,
                       "indices of trainable_token_indices, columns of the base's matrix", e);
}

/* A copy is of a bias or of rows. */
static int check_copies(const struct peft_load *l, struct err *e)
{
    if (!l->has_copies)
        return 0;
    for (size_t i = 0; i < safetensors_count(l->weights); i++) {
        const struct tensor *t = safetensors_at(l->weights, i);
        struct peft_place place;
        if (peft_place_find(l, t, &place, e) != 0)
            return -1;
        if (!is_unused(place) || place.role == PEFT_ROLE_HEAD_COPY)
            continue;
        const struct parameter *s = &l->parameters[place.index];
        if ((l->rows[place.index].indices
                 ? check_rows_shape(l, t, place.index, e)
                 : check_shape(t, peft_vocab_rows(l, place.index), s->cols, "as in the base", e)) != 0)
            return -1;
    }
    return 0;
}

static int check_shapes(const struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->site_count; i++)
        if (l->targets[i].targeted &&
            check_site_shapes(&l->site_found[i], &l->sites[i], l->targets[i].rank, e) != 0)
            return -1;
    for (size_t i = 0; i < l->parameter_count; i++)
        if (l->parameter_found[i].tensor &&
            check_shape(l->parameter_found[i].tensor, peft_vocab_rows(l, (int)i), l->parameters[i].cols,
                        "as in the base", e) != 0)
            return -1;
    for (size_t i = 0; i < l->parameter_count; i++)
        if (l->rows[i].tensor && check_rows_shape(l, l->rows[i].tensor, (int)i, e) != 0)
            return -1;
    return check_copies(l, e);
}

int peft_place_all(struct peft_load *l, struct err *e)
{
    if (place_tensors(l, e) != 0 || check_sites(l, e) != 0 || check_parameters(l, e) != 0 ||
        check_rows(l, e) != 0 || peft_head_check(l, e) != 0 || peft_vocab_find(l, e) != 0)
        return -1;
    return check_shapes(l, e);
}
