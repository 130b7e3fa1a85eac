/* modules_to_save: whole tensors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/peft/peft_stages.h"

static bool ends_in(const char *text, size_t length, const char *ending)
{
    size_t size = strlen(ending);
    return length >= size && memcmp(text + length - size, ending, size) == 0;
}

/* Does PEFT save the module at `path`, by its own name or that of a module around it? Names are endings as
 * mere text: "norm" is one of "input_layernorm". Marks those that match. */
static bool is_saved(const struct peft_names *names, const char *path, bool *marks)
{
    char whole[512];
    bool found = false;
    snprintf(whole, sizeof whole, PEFT_PREFIX "%s", path);
    size_t length = strlen(whole), around = length - strlen(path);
    for (size_t end = around + 1; end <= length; end++)
        for (size_t i = 0; (whole[end] == '.' || end == length) && i < names->count; i++)
            if (ends_in(whole, end, names->items[i]))
                found = marks[i] = true;
    return found;
}

static bool is_tied(const struct peft_load *l, int parameter)
{
    return l->tied.saves && (parameter == l->tied.embedding_parameter || parameter == l->tied.head_parameter);
}

static int match_parameters(struct peft_load *l, bool *marks, struct err *e)
{
    for (size_t i = 0; i < l->parameter_count; i++) {
        const struct parameter *s = &l->parameters[i];
        const char *path = peft_path(l, s->path);
        l->saved[i] = (path && is_saved(&l->config.saved, path, marks)) || is_tied(l, (int)i);
        if (!l->saved[i] || s->site < 0 || !l->targets[s->site].targeted)
            continue;
        err_set(e, "adapter_unsupported_feature", "%s is both a target and one of modules_to_save", s->path);
        err_hint(e, "Train it the one way or the other.");
        return err_param(e, "modules_to_save");
    }
    return 0;
}

/* PEFT passes over names without a module. */
static int warn_of_unused(const struct peft_load *l, const bool *marks, struct err *e)
{
    struct warning_names unused = {0};
    for (size_t i = 0; i < l->config.saved.count; i++)
        if (!marks[i] && !peft_head_named(l, l->config.saved.items[i]))
            warning_names_add(&unused, l->config.saved.items[i]);
    return warning_names_say(&unused, l->warnings, "modules_to_save", "the base has no such module", e);
}

int peft_saved(struct peft_load *l, struct err *e)
{
    bool *marks = calloc(l->config.saved.count + 1, sizeof *marks);
    if (!marks)
        return err_memory(e);
    int result = match_parameters(l, marks, e) == 0 ? warn_of_unused(l, marks, e) : -1;
    free(marks);
    return result;
}
