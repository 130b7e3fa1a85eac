/* A base in which lm_head and the embedding are one matrix, and adapters that keep them so. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"

void peft_tied_find(struct peft_load *l)
{
    l->tied = (struct peft_tied){-1, -1, -1, -1, false, false};
    if (l->inside && *l->inside)
        return; /* no head, nothing to be tied to */
    for (size_t i = 0; model_is_tied(l->model) && i < l->parameter_count; i++)
        if (l->parameters[i].site >= 0 && l->sites[l->parameters[i].site].kind == SITE_LM_HEAD)
            l->tied.head_parameter = (int)i;
    const char *tensor = l->tied.head_parameter < 0 ? "" : l->parameters[l->tied.head_parameter].tensor;
    for (size_t i = 0; i < l->parameter_count; i++)
        if (l->parameters[i].site >= 0 && l->sites[l->parameters[i].site].kind == SITE_EMBEDDING &&
            strcmp(l->parameters[i].tensor, tensor) == 0)
            l->tied.embedding_parameter = (int)i;
    if (l->tied.embedding_parameter < 0)
        return;
    l->tied.embedding = l->parameters[l->tied.embedding_parameter].site;
    l->tied.head = l->parameters[l->tied.head_parameter].site;
}

int peft_tied_partner(const struct peft_load *l, int parameter)
{
    return parameter == l->tied.head_parameter        ? l->tied.embedding_parameter
           : parameter == l->tied.embedding_parameter ? l->tied.head_parameter
                                                      : -1;
}

/* ---- one A and B for both ---- */

void peft_tied_complete(struct peft_load *l)
{
    if (!l->tied.targets)
        return;
    struct peft_site *embedding = &l->site_found[l->tied.embedding], *head = &l->site_found[l->tied.head];
    struct peft_site *missing = !head->a && !head->b ? head : embedding,
                     *other = missing == head ? embedding : head;
    if (missing->a || missing->b || !other->a || !other->b)
        return;
    missing->a = other->b;
    missing->b = other->a;
    missing->turned = true;
}

int peft_tied_read(int fd, const struct tensor *t, float *out, struct err *e)
{
    size_t rows = (size_t)t->shape[0], columns = (size_t)t->shape[1];
    float *values = malloc(rows * columns * sizeof *values);
    if (!values)
        return err_memory(e);
    int result = safetensors_read(fd, t, values, 0, e);
    for (size_t i = 0; i < rows && result == 0; i++)
        for (size_t k = 0; k < columns; k++)
            out[k * rows + i] = values[i * columns + k];
    free(values);
    return result;
}

/* Is one tensor the other turned around? 1, 0, or -1 with an error. */
static int is_turned(const struct peft_load *l, const struct tensor *t, const struct tensor *other,
                     struct err *e)
{
    size_t count = (size_t)tensor_elements(t);
    float *values = malloc(2 * count * sizeof *values), *turned = values + count;
    if (!values)
        return err_memory(e);
    int result = -1;
    if (safetensors_read(l->weights_fd, t, values, 0, e) == 0 &&
        peft_tied_read(l->weights_fd, other, turned, e) == 0)
        result = memcmp(values, turned, count * sizeof *values) == 0;
    free(values);
    return result;
}

int peft_tied_check(struct peft_load *l, struct err *e)
{
    if (!l->tied.targets || l->stored)
        return 0;
    struct peft_site *embedding = &l->site_found[l->tied.embedding], *head = &l->site_found[l->tied.head];
    struct peft_site *turned = embedding->turned ? embedding : head,
                     *other = turned == head ? embedding : head;
    if (turned->turned) {
        turned->largest[DELTA_A] = other->largest[DELTA_B];
        turned->largest[DELTA_B] = other->largest[DELTA_A];
        return 0;
    }
    int same = is_turned(l, head->a, embedding->b, e);
    if (same == 1)
        same = is_turned(l, head->b, embedding->a, e);
    if (same != 0)
        return same < 0 ? -1 : 0;
    err_set(e, "adapter_unsupported_feature",
            "the LoRA of %s is not that of %s turned around, although ensure_weight_tying makes them one",
            l->sites[l->tied.head].path, l->sites[l->tied.embedding].path);
    return err_hint(e,
                    "Save the adapter again, or set ensure_weight_tying to false and name both as targets.");
}
