/* Adapters that were trained with more tokens than the base has, or with fewer: their embedding and lm_head
 * are longer or shorter. What both have is compared with the base's as ever; what stands behind that are rows
 * of the adapter's own. */
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"
#include "core/model/config/families.h"

bool peft_vocab_has(const struct peft_load *l, int parameter)
{
    const struct parameter *s = &l->parameters[parameter];
    const struct family *f = model_family(l->model);
    if (f->numeric || s->site < 0 || !s->cols)
        return false;
    if (l->sites[s->site].kind == SITE_LM_HEAD)
        return strcmp(s->leaf, "weight") == 0;
    size_t prefix = strlen(f->prefix);
    return l->sites[s->site].kind == SITE_EMBEDDING && strncmp(s->path, f->prefix, prefix) == 0 &&
           strcmp(s->path + prefix, f->embed) == 0;
}

int peft_vocab_rows(const struct peft_load *l, int parameter)
{
    return l->vocab && peft_vocab_has(l, parameter) ? l->vocab : l->parameters[parameter].rows;
}

/* The file's tensor for a parameter, or for the other side of a tied base. */
static const struct tensor *tensor_of(const struct peft_load *l, int parameter)
{
    int other = peft_tied_partner(l, parameter);
    const struct tensor *own = l->parameter_found[parameter].tensor;
    return own || other < 0 || l->saved[other] ? own : l->parameter_found[other].tensor;
}

static int mismatch(const struct tensor *t, const struct parameter *s, const char *why, struct err *e)
{
    char found[128];
    tensor_shape_text(t, found, sizeof found);
    err_set(e, "adapter_shape_mismatch", "tensor %s: expected [%d, %d] (as in the base), found %s: %s",
            t->name, s->rows, s->cols, found, why);
    return err_hint(e, "Was the adapter trained on a base with more tokens? Serve that one.");
}

/* Every matrix of tokens has as many rows. */
static int check_all(const struct peft_load *l, const struct tensor *first, const struct parameter *s,
                     struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++) {
        const struct tensor *t = peft_vocab_has(l, (int)i) ? tensor_of(l, (int)i) : NULL;
        if (peft_vocab_has(l, (int)i) && (!t || t->dimensions != 2 || t->shape[0] != first->shape[0]))
            return mismatch(first, s, "the file has not as many rows of every matrix of tokens", e);
    }
    return 0;
}

static int refuse_index(const struct peft_load *l, int parameter, json_int_t index, struct err *e)
{
    static const char field[] = "trainable_token_indices";
    err_set(e, "adapter_shape_mismatch", "%s: index %lld, but %s has %d rows", field, index,
            l->parameters[parameter].path, peft_vocab_rows(l, parameter));
    err_hint(e, "Was the adapter trained on a base with more tokens? Serve that one.");
    return err_param(e, field);
}

/* Every index is a row that there is, and there are no more of them than rows. */
static int check_indices(const struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++) {
        json_t *list = l->rows[i].indices, *index;
        int rows = peft_vocab_rows(l, (int)i);
        size_t place;
        json_array_foreach(list, place, index)
        {
            if (json_integer_value(index) >= rows || place >= (size_t)rows)
                return refuse_index(l, (int)i, json_integer_value(index), e);
        }
    }
    return 0;
}

int peft_vocab_find(struct peft_load *l, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count && !l->vocab; i++) {
        const struct parameter *s = &l->parameters[i];
        const struct tensor *t = peft_vocab_has(l, (int)i) ? l->parameter_found[i].tensor : NULL;
        if (!t || t->dimensions != 2 || t->shape[1] != s->cols || t->shape[0] == s->rows)
            continue;
        if (t->shape[0] > s->rows + DELTA_TOKENS_MAX || t->shape[0] < s->rows - DELTA_TOKENS_MAX)
            return mismatch(t, s, "too many or too few rows", e);
        if (check_all(l, t, s, e) != 0)
            return -1;
        l->vocab = (int)t->shape[0];
    }
    return check_indices(l, e);
}

const float *peft_vocab_more(const struct peft_load *l, int parameter)
{
    const struct peft_parameter *own = &l->parameter_found[parameter];
    int other = peft_tied_partner(l, parameter);
    if (l->tied.saves && parameter == l->tied.head_parameter)
        return l->parameter_found[other].more;
    if (own->tensor || other < 0 || l->saved[other])
        return own->more;
    return l->parameter_found[other].more;
}

/* Rows of the config's indices come before those of the whole matrix. */
static int merge(const struct peft_rows *r, const float *more, int base, int count, int cols, int32_t *index,
                 float *values)
{
    int rows = 0, used = 0;
    size_t bytes = (size_t)cols * sizeof *values;
    for (int next = 0; next < count; used++) {
        bool named = r && used < r->count;
        while (next < count && (!named || base + next < r->index[used])) {
            index[rows] = base + next;
            memcpy(values + (size_t)rows++ * (size_t)cols, more + (size_t)next++ * (size_t)cols, bytes);
        }
        if (!named)
            break;
        index[rows] = r->index[used];
        memcpy(values + (size_t)rows++ * (size_t)cols, r->values + (size_t)used * (size_t)cols, bytes);
        next += next < count && r->index[used] == base + next;
    }
    for (; r && used < r->count; used++) {
        index[rows] = r->index[used];
        memcpy(values + (size_t)rows++ * (size_t)cols, r->values + (size_t)used * (size_t)cols, bytes);
    }
    return rows;
}

int peft_vocab_merge(struct peft_load *l, int parameter, struct delta_rows *out, struct err *e)
{
    const struct parameter *s = &l->parameters[parameter];
    const struct peft_rows *r = l->rows[parameter].indices ? &l->rows[l->rows[parameter].source] : NULL;
    const float *more = peft_vocab_more(l, parameter);
    if (!more) {
        *out = (struct delta_rows){parameter, r->count, r->index, r->values};
        return 0;
    }
    int count = l->vocab - s->rows, limit = count + (r ? r->count : 0);
    int32_t *index = malloc((size_t)limit * sizeof *index);
    float *values = malloc((size_t)limit * (size_t)s->cols * sizeof *values);
    l->kept[l->kept_count++] = index;
    l->kept[l->kept_count++] = values;
    if (!index || !values)
        return err_memory(e);
    *out =
        (struct delta_rows){parameter, merge(r, more, s->rows, count, s->cols, index, values), index, values};
    return 0;
}
