/* The head of an adapter that gives labels (task_type SEQ_CLS, TOKEN_CLS): PEFT saves it whole, whatever
 * modules_to_save says. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"

/* By one of these names the models of transformers have it. */
static const char *const names[] = {"score", "classifier"};

bool peft_head_named(const struct peft_load *l, const char *name)
{
    for (size_t i = 0; l->config.task != HEAD_NONE && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

void peft_head_settle(struct peft_load *l)
{
    const struct head *base = delta_head(NULL, l->model);
    for (size_t i = 0; base && l->config.task == HEAD_NONE && i < l->config.saved.count; i++)
        for (size_t j = 0; j < sizeof names / sizeof *names; j++)
            if (strcmp(l->config.saved.items[i], names[j]) == 0)
                l->config.task = base->kind;
}

/* ---- which tensors there are ---- */

static const char *task_name(const struct peft_load *l)
{
    return l->config.task == HEAD_TEXT ? "SEQ_CLS" : "TOKEN_CLS";
}

static int refuse(const struct tensor *t, const char *code, const char *why, struct err *e)
{
    return err_set(e, code, "tensor %s: %s", t->name, why);
}

int peft_head_add(struct peft_load *l, const struct tensor *t, bool bias, struct err *e)
{
    const struct tensor **place = bias ? &l->head.bias : &l->head.weight;
    if (*place)
        return refuse(t, "adapter_unexpected_tensor", "the head is there under another name, too", e);
    if (bias && l->config.task == HEAD_TEXT)
        return refuse(t, "adapter_unexpected_tensor", "the head of a model for SEQ_CLS has no bias", e);
    *place = t;
    return 0;
}

static int check_weight(const struct peft_load *l, const struct tensor *t, struct err *e)
{
    const struct head *base = delta_head(NULL, l->model);
    int size = model_info(l->model)->hidden_size;
    char found[128];
    tensor_shape_text(t, found, sizeof found);
    if (t->dimensions != 2 || t->shape[0] < 1 || t->shape[0] > HEAD_LABELS_MAX || t->shape[1] != size)
        return err_set(e, "adapter_shape_mismatch",
                       "tensor %s: expected [labels, %d] with 1 to %d labels, found %s", t->name, size,
                       HEAD_LABELS_MAX, found);
    if (base && base->kind == l->config.task && t->shape[0] != base->labels)
        return err_set(e, "adapter_shape_mismatch", "tensor %s: expected [%d, %d] (as in the base), found %s",
                       t->name, base->labels, size, found);
    return 0;
}

static int check_bias(const struct tensor *weight, const struct tensor *t, struct err *e)
{
    char found[128];
    tensor_shape_text(t, found, sizeof found);
    if (t->dimensions == 1 && t->shape[0] == weight->shape[0])
        return 0;
    return err_set(e, "adapter_shape_mismatch", "tensor %s: expected [%lld] (labels), found %s", t->name,
                   (long long)weight->shape[0], found);
}

/* The weight, its name up to "weight", is the bias's, too. */
static bool same_module(const struct tensor *weight, const struct tensor *bias)
{
    size_t length = strlen(weight->name) - strlen("weight");
    return strncmp(weight->name, bias->name, length) == 0;
}

int peft_head_check(struct peft_load *l, struct err *e)
{
    const struct peft_head *h = &l->head;
    if (l->config.task == HEAD_NONE)
        return 0;
    if (!h->weight && l->stored) /* from when it was served as if for text */
        return 0;
    if (!h->weight) {
        err_set(e, "adapter_missing_tensor",
                "tensor " PEFT_PREFIX "score.weight is missing; adapter_config.json promises a head for %s",
                task_name(l));
        return err_hint(e, "Save the adapter again with save_pretrained of PEFT.");
    }
    if (h->bias && !same_module(h->weight, h->bias))
        return refuse(h->bias, "adapter_unexpected_tensor", "the head's weight is of another module", e);
    if (check_weight(l, h->weight, e) != 0)
        return -1;
    return h->bias ? check_bias(h->weight, h->bias, e) : 0;
}

/* ---- what they hold ---- */

/* Those of the config, or else those of a base that gives as many. */
static int describe(struct peft_load *l, struct head *h, struct err *e)
{
    const struct head *base = delta_head(NULL, l->model);
    if (base && base->kind == h->kind && base->labels == h->labels && head_take_names(h, base, e) != 0)
        return -1;
    return head_describe(h, l->config.root, "adapter_config.json", "config_malformed", e);
}

int peft_head_new(struct peft_load *l, struct err *e)
{
    const struct tensor *weight = l->head.weight;
    if (!weight)
        return 0;
    struct head **out = &l->head.head;
    if (head_new(out, l->config.task, (int)weight->shape[0], (int)weight->shape[1], l->head.bias != NULL,
                 e) != 0 ||
        describe(l, *out, e) != 0)
        return -1;
    l->elements += tensor_elements(weight) + (l->head.bias ? tensor_elements(l->head.bias) : 0);
    return 0;
}

/* ---- the version ---- */

/* Names and meaning are what requests get to see. */
void peft_head_hash(const struct peft_load *l, struct sha256 *version)
{
    const struct head *h = l->head.head;
    char line[HEAD_NAME_BYTES_MAX + 32];
    if (!h)
        return;
    int length = snprintf(line, sizeof line, "head %s %d\n", task_name(l), (int)h->meaning);
    sha256_update(version, line, (size_t)length);
    for (int i = 0; i < h->labels; i++) {
        length = snprintf(line, sizeof line, "label %zu %s\n", strlen(h->names[i]), h->names[i]);
        sha256_update(version, line, (size_t)length);
    }
}
