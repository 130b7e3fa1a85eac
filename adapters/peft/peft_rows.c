/* trainable_token_indices: single rows of the embedding or lm_head, each with its index. */
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"

static const char field[] = "trainable_token_indices";

static int refuse(struct err *e, const char *code, const char *path, const char *why)
{
    err_set(e, code, "%s: %s %s", field, path, why);
    return err_param(e, field);
}

static bool ends_in(const char *path, const char *ending)
{
    size_t length = strlen(path), size = strlen(ending);
    return length >= size && strcmp(path + length - size, ending) == 0;
}

static bool is_weight(const struct parameter *s)
{
    return s->site >= 0 && strcmp(s->leaf, "weight") == 0;
}

/* ---- which modules ---- */

/* There are no more indices than the module may have rows. Whether it has each, its tensors say. */
static int check_indices(const struct parameter *s, json_t *indices, struct err *e)
{
    int rows = s->rows + DELTA_TOKENS_MAX;
    if (json_array_size(indices) > (size_t)rows) {
        err_set(e, "adapter_shape_mismatch", "%s: %zu indices, but %s of this base has %d rows", field,
                json_array_size(indices), s->path, rows);
        return err_param(e, field);
    }
    return 0;
}

static int give_rows(struct peft_load *l, int parameter, json_t *indices, struct err *e)
{
    const struct parameter *s = &l->parameters[parameter];
    enum site_kind kind = l->sites[s->site].kind;
    if (kind != SITE_EMBEDDING && kind != SITE_LM_HEAD)
        return refuse(e, "adapter_unsupported_feature", s->path, "is neither an embedding nor lm_head");
    if (l->rows[parameter].indices)
        return refuse(e, "config_malformed", s->path, "is named twice");
    l->rows[parameter] = (struct peft_rows){.indices = indices, .source = parameter};
    return check_indices(s, indices, e);
}

/* A name is an ending of module paths, as mere text. */
static int match_name(struct peft_load *l, const char *name, json_t *indices, struct err *e)
{
    bool found = false;
    for (size_t i = 0; i < l->parameter_count; i++) {
        const char *path = peft_path(l, l->parameters[i].path);
        if (!is_weight(&l->parameters[i]) || !path || !ends_in(path, name))
            continue;
        found = true;
        if (give_rows(l, (int)i, indices, e) != 0)
            return -1;
    }
    char text[PEFT_TEXT];
    peft_config_text(name, text);
    return found ? 0 : refuse(e, "adapter_unknown_module", text, "names no module of the base");
}

/* Does the name mean one of the two sides of a tied base, as PEFT looks for them? */
static bool is_tied_name(const struct peft_load *l, const char *name)
{
    return l->tied.embedding >= 0 &&
           (ends_in(l->sites[l->tied.embedding].path, name) || ends_in(l->sites[l->tied.head].path, name));
}

/* Do the names of a tied base's sides have the same indices? *first: those of the first one. */
static bool tied_names_agree(const struct peft_load *l, size_t *count)
{
    const char *name;
    json_t *indices, *first = NULL;
    bool agree = true;
    *count = 0;
    json_object_foreach(l->config.tokens, name, indices)
    {
        if (!is_tied_name(l, name))
            continue;
        (*count)++;
        agree = agree && (!first || json_equal(first, indices));
        first = first ? first : indices;
    }
    return agree;
}

/* *agree: nothing keeps the two sides of a tied base apart. Where both are named with the same indices,
 * lm_head follows the embedding. */
static int match_names(struct peft_load *l, bool *agree, struct err *e)
{
    const char *name;
    json_t *indices;
    size_t tied_names;
    *agree = tied_names_agree(l, &tied_names);
    if (!*agree && l->config.ensure_weight_tying)
        return refuse(e, "config_malformed", l->sites[l->tied.head].path,
                      "and the embedding have different indices, but ensure_weight_tying makes them one");
    json_object_foreach(l->config.tokens, name, indices)
    {
        bool follows = *agree && tied_names > 1 && strcmp(name, l->sites[l->tied.head].path) == 0;
        if (!follows && match_name(l, name, indices, e) != 0)
            return -1;
    }
    return 0;
}

/* A list is of the input embedding's rows. */
static int match_list(struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++)
        if (is_weight(&l->parameters[i]) && l->sites[l->parameters[i].site].kind == SITE_EMBEDDING)
            return give_rows(l, (int)i, l->config.tokens, e);
    return refuse(e, "adapter_unknown_module", "the base", "has no embedding");
}

/* ---- what else happens to these modules ---- */

static int check_parameter(const struct peft_load *l, int parameter, struct err *e)
{
    static const char code[] = "adapter_unsupported_feature";
    const struct parameter *s = &l->parameters[parameter];
    bool follows = l->rows[parameter].source != parameter;
    if (l->saved[parameter])
        return refuse(e, code, s->path, "is in modules_to_save, too; PEFT has it the one way or the other");
    if (l->targets[s->site].targeted && (!follows || l->config.dora))
        return refuse(e, code, s->path, "is a target of LoRA, too; PEFT does not compute that");
    return 0;
}

static int check_parameters(const struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++)
        if (l->rows[i].indices && check_parameter(l, (int)i, e) != 0)
            return -1;
    return 0;
}

int peft_rows(struct peft_load *l, struct err *e)
{
    bool agree = true;
    if (!l->config.tokens)
        return 0;
    if ((json_is_array(l->config.tokens) ? match_list(l, e) : match_names(l, &agree, e)) != 0)
        return -1;
    int embedding = l->tied.embedding_parameter, head = l->tied.head_parameter;
    if (embedding >= 0 && agree && l->rows[embedding].indices && !l->rows[head].indices)
        l->rows[head] = l->rows[embedding]; /* its source stays the embedding */
    return check_parameters(l, e);
}

/* ---- values, in order of the indices ---- */

struct row {
    int32_t index;
    size_t place; /* in the file */
};

static int compare_rows(const void *left, const void *right)
{
    const struct row *a = left, *b = right;
    if (a->index != b->index)
        return a->index < b->index ? -1 : 1;
    return (a->place > b->place) - (a->place < b->place);
}

/* An index that is there twice has the same row twice: both had the same gradient. Otherwise PEFT's result is
 * undefined. */
static int sort(const struct peft_rows *r, const struct row *order, size_t count, size_t cols,
                const float *values, int32_t *index, float *sorted, struct err *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        const float *row = values + order[i].place * cols;
        bool twice = kept > 0 && index[kept - 1] == order[i].index;
        if (twice && memcmp(sorted + (kept - 1) * cols, row, cols * sizeof *row) != 0) {
            err_set(e, "adapter_unsupported_feature",
                    "tensor %s: index %d is there twice, with different rows", r->tensor->name,
                    order[i].index);
            return err_param(e, field);
        }
        if (twice)
            continue;
        memcpy(sorted + kept * cols, row, cols * sizeof *row);
        index[kept++] = order[i].index;
    }
    return (int)kept;
}

int peft_rows_sort(struct peft_load *l, int parameter, const float *values, struct err *e)
{
    struct peft_rows *r = &l->rows[parameter];
    size_t count = json_array_size(r->indices), cols = (size_t)l->parameters[parameter].cols;
    struct row *order = calloc(count, sizeof *order);
    int32_t *index = calloc(count, sizeof *index);
    float *sorted = calloc(count * cols, sizeof *sorted);
    int result = order && index && sorted ? 0 : err_memory(e);
    for (size_t i = 0; order && i < count; i++)
        order[i] = (struct row){(int32_t)json_integer_value(json_array_get(r->indices, i)), i};
    if (result == 0) {
        qsort(order, count, sizeof *order, compare_rows);
        result = sort(r, order, count, cols, values, index, sorted, e);
    }
    l->kept[l->kept_count++] = index;
    l->kept[l->kept_count++] = sorted;
    free(order);
    r->index = index;
    r->values = sorted;
    r->count = result;
    return result < 0 ? -1 : 0;
}
