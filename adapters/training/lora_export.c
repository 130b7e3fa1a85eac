#include "adapters/training/lora_export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/safetensors_write.h"

enum { NAME_BYTES = 320 };

/* ---- names ---- */

static const char *site_ending(const struct site *s, enum train_kind kind)
{
    bool embedding = s->kind == SITE_EMBEDDING;
    switch (kind) {
    case TRAIN_A:
        return embedding ? "lora_embedding_A" : "lora_A.weight";
    case TRAIN_B:
        return embedding ? "lora_embedding_B" : "lora_B.weight";
    default:
        return "lora_magnitude_vector";
    }
}

/* A bias beside a LoRA is the wrapped layer's. */
static bool is_wrapped(const struct train_params *p, const struct parameter *w)
{
    return w->site >= 0 && p->sites[w->site].a >= 0;
}

static void name_of(const struct train_params *p, const struct train_tensor *t, char out[NAME_BYTES])
{
    static const char prefix[] = "base_model.model.";
    size_t count;
    if (t->kind == TRAIN_WHOLE) {
        const struct parameter *w = &model_parameters(p->model, &count)[t->parameter];
        snprintf(out, NAME_BYTES, "%s%.256s%s.%s", prefix, w->path, is_wrapped(p, w) ? ".base_layer" : "",
                 w->leaf);
        return;
    }
    const struct site *s = &model_sites(p->model, &count)[t->site];
    snprintf(out, NAME_BYTES, "%s%.256s.%s", prefix, s->path, site_ending(s, t->kind));
}

/* ---- files ---- */

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct safetensors_out *)a)->name, ((const struct safetensors_out *)b)->name);
}

static int export_tensors(const struct train_params *p, bool gradients,
                          int (*write)(void *arg, const void *data, size_t length, struct err *e), void *arg,
                          struct err *e)
{
    struct safetensors_out *tensors = calloc((size_t)p->count + 1, sizeof *tensors);
    char(*names)[NAME_BYTES] = calloc((size_t)p->count + 1, sizeof *names);
    int result = tensors && names ? 0 : err_memory(e);
    for (int i = 0; result == 0 && i < p->count; i++) {
        const struct train_tensor *t = &p->tensors[i];
        name_of(p, t, names[i]);
        tensors[i] = (struct safetensors_out){names[i], t->rows, t->cols, gradients ? t->gradient : t->value};
    }
    if (result == 0) {
        qsort(tensors, (size_t)p->count, sizeof *tensors, compare_names);
        result = safetensors_write(tensors, (size_t)p->count, write, arg, e);
    }
    free(tensors);
    free(names);
    return result;
}

int lora_export_weights(const struct train_params *p,
                        int (*write)(void *arg, const void *data, size_t length, struct err *e), void *arg,
                        struct err *e)
{
    return export_tensors(p, false, write, arg, e);
}

int lora_export_gradients(const struct train_params *p,
                          int (*write)(void *arg, const void *data, size_t length, struct err *e), void *arg,
                          struct err *e)
{
    return export_tensors(p, true, write, arg, e);
}

int lora_export_config(const struct lora_plan *p,
                       int (*write)(void *arg, const void *data, size_t length, struct err *e), void *arg,
                       struct err *e)
{
    char *text = json_dumps(p->config, JSON_INDENT(2) | JSON_SORT_KEYS);
    if (!text)
        return err_memory(e);
    int result = write(arg, text, strlen(text), e);
    free(text);
    return result;
}
