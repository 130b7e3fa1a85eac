#include "core/head/head.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/kernels/vector.h"

/* ---- life ---- */

static int name_labels(struct head *h)
{
    char name[32];
    for (int i = 0; i < h->labels; i++) {
        snprintf(name, sizeof name, "LABEL_%d", i);
        if (!(h->names[i] = strdup(name)))
            return -1;
    }
    return 0;
}

int head_new(struct head **out, enum head_kind kind, int labels, int size, bool bias, struct err *e)
{
    struct head *h = calloc(1, sizeof *h);
    if (!h)
        return err_memory(e);
    atomic_init(&h->references, 1);
    h->kind = kind;
    h->meaning = labels == 1 ? HEAD_ANY_OF : HEAD_ONE_OF;
    h->labels = labels;
    h->size = size;
    h->weight = calloc((size_t)labels * (size_t)size, sizeof *h->weight);
    h->bias = bias ? calloc((size_t)labels, sizeof *h->bias) : NULL;
    h->names = calloc((size_t)labels, sizeof *h->names);
    if (!h->weight || (bias && !h->bias) || !h->names || name_labels(h) != 0) {
        head_unref(h);
        return err_memory(e);
    }
    *out = h;
    return 0;
}

struct head *head_ref(struct head *h)
{
    if (h)
        atomic_fetch_add_explicit(&h->references, 1, memory_order_relaxed);
    return h;
}

void head_unref(struct head *h)
{
    if (!h || atomic_fetch_sub_explicit(&h->references, 1, memory_order_acq_rel) != 1)
        return;
    for (int i = 0; h->names && i < h->labels; i++)
        free(h->names[i]);
    free(h->names);
    free(h->weight);
    free(h->bias);
    free(h);
}

size_t head_bytes(const struct head *h)
{
    return sizeof *h + (size_t)h->labels * ((size_t)h->size + 1) * sizeof(float) +
           (size_t)h->labels * (sizeof(char *) + 32);
}

/* ---- names and meaning ---- */

static int malformed(const char *file, const char *code, const char *field, const char *wanted, struct err *e)
{
    err_set(e, code, "%s: %s must be %s", file, field, wanted);
    return err_param(e, field);
}

static int set_name(struct head *h, int label, const char *name)
{
    char *copy = strdup(name);
    if (!copy)
        return -1;
    free(h->names[label]);
    h->names[label] = copy;
    return 0;
}

int head_take_names(struct head *h, const struct head *other, struct err *e)
{
    for (int i = 0; i < h->labels; i++)
        if (set_name(h, i, other->names[i]) != 0)
            return err_memory(e);
    h->meaning = other->meaning;
    return 0;
}

static int take_names(struct head *h, const json_t *names, const char *file, const char *code, struct err *e)
{
    static const char field[] = "id2label";
    if (json_object_size(names) != (size_t)h->labels) {
        err_set(e, code, "%s: id2label has %zu names, the head has %d labels", file, json_object_size(names),
                h->labels);
        return err_param(e, field);
    }
    for (int i = 0; i < h->labels; i++) {
        char key[16];
        snprintf(key, sizeof key, "%d", i);
        const json_t *name = json_object_get(names, key);
        const char *text = json_string_value(name);
        if (!text || json_string_length(name) > HEAD_NAME_BYTES_MAX ||
            strlen(text) != json_string_length(name))
            return malformed(file, code, field, "an object with a name for each number from 0 on", e);
        if (set_name(h, i, text) != 0)
            return err_memory(e);
    }
    return 0;
}

const char *head_meaning_name(enum head_meaning meaning)
{
    static const char *const names[] = {[HEAD_ONE_OF] = "single_label_classification",
                                        [HEAD_ANY_OF] = "multi_label_classification",
                                        [HEAD_NUMBERS] = "regression"};
    return names[meaning];
}

static int take_meaning(struct head *h, const json_t *type, const char *file, const char *code, struct err *e)
{
    const char *text = json_string_value(type);
    for (int i = HEAD_ONE_OF; text && i <= HEAD_NUMBERS; i++)
        if (strcmp(text, head_meaning_name((enum head_meaning)i)) == 0) {
            h->meaning = h->labels == 1 && i == HEAD_ONE_OF ? HEAD_ANY_OF : (enum head_meaning)i;
            return 0;
        }
    return malformed(file, code, "problem_type",
                     "single_label_classification, multi_label_classification or regression", e);
}

int head_describe(struct head *h, const json_t *config, const char *file, const char *code, struct err *e)
{
    const json_t *names = json_object_get(config, "id2label"),
                 *type = json_object_get(config, "problem_type");
    if (names && !json_is_null(names) && !json_is_object(names))
        return malformed(file, code, "id2label", "an object", e);
    if (json_is_object(names) && take_names(h, names, file, code, e) != 0)
        return -1;
    return type && !json_is_null(type) ? take_meaning(h, type, file, code, e) : 0;
}

/* ---- numbers ---- */

void head_scores(const struct head *h, const float *state, float *scores)
{
    for (int i = 0; i < h->labels; i++)
        scores[i] = vector_dot(h->weight + (size_t)i * (size_t)h->size, state, h->size) +
                    (h->bias ? h->bias[i] : 0.0f);
}

static void softmax(const float *scores, int count, float *out)
{
    double largest = scores[0], sum = 0;
    for (int i = 1; i < count; i++)
        largest = fmax(largest, (double)scores[i]);
    for (int i = 0; i < count; i++)
        sum += exp((double)scores[i] - largest);
    for (int i = 0; i < count; i++)
        out[i] = (float)(exp((double)scores[i] - largest) / sum);
}

void head_probabilities(const struct head *h, const float *scores, float *out)
{
    if (h->meaning == HEAD_ONE_OF) {
        softmax(scores, h->labels, out);
        return;
    }
    for (int i = 0; i < h->labels; i++)
        out[i] = h->meaning == HEAD_NUMBERS ? scores[i] : (float)(1 / (1 + exp(-(double)scores[i])));
}
