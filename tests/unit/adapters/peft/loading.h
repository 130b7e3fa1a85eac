/* Loading PEFT adapters in tests: fixtures as they are, or with a part of them changed. */
#pragma once
#include <jansson.h>

#include "adapters/peft/peft.h"

/* The bases, between loading_set_up and loading_tear_down. */
struct loading_models {
    struct model *llama, *gpt2, *mlp;
};
extern struct loading_models loading_models;
int loading_set_up(void **state);
int loading_tear_down(void **state);

/* Descriptors of DIRECTORY/name, and of a file with this text. */
int loading_file(const char *directory, const char *name);
int loading_text(const char *text);
/* NULL: refused, and *e says why about which part. Closes both descriptors. */
struct peft *loading_load(const struct model *m, int config, int weights, int allow_no_effect, struct err *e);
struct peft *loading_directory(const struct model *m, const char *directory, struct err *e);
/* Load the adapter with its config changed. */
struct peft *loading_patched(const struct model *m, const char *directory, const char *patch,
                             int allow_no_effect, struct err *e);
