/* adapter_config.json: what of PEFT's LoraConfig has an effect on inference, with types checked and
 * everything that this code does not have refused. Part of peft.h's implementation. One thread; no I/O but
 * reading the descriptor. Source: peft/config.py and peft/tuners/lora/config.py, versions 0.3 to 0.21. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"
#include "core/head/head.h"

/* Names in bytewise order, each once. */
struct peft_names {
    const char *const *items; /* owned; the texts belong to the config */
    size_t count;
};

enum peft_selection { PEFT_NOTHING, PEFT_ALL_LINEAR, PEFT_LIST, PEFT_PATTERN, PEFT_NO_MODULE };

/* target_modules or exclude_modules. PEFT_NOTHING: absent or null. PEFT_NO_MODULE: PEFT's word for no LoRA at
 * all, beside modules_to_save. */
struct peft_selector {
    enum peft_selection kind;
    const char *pattern;     /* of PEFT_PATTERN */
    struct peft_names names; /* of PEFT_LIST */
};

/* Whose biases were trained: nobody's, those of target_modules, all. */
enum peft_bias { PEFT_BIAS_NONE, PEFT_BIAS_TARGETS, PEFT_BIAS_ALL };

struct peft_config {
    json_t *root; /* owned */
    long long rank;
    double alpha;
    bool rslora, dora;
    enum peft_bias bias;
    bool ensure_weight_tying;
    enum head_kind task; /* of task_type: what gives labels; HEAD_NONE: anything else */
    struct peft_selector target, exclude;
    struct peft_names saved;              /* modules_to_save */
    json_t *rank_pattern, *alpha_pattern; /* objects of whole numbers of 1 or more and of numbers, or NULL */
    json_t *layers;                       /* a whole number or a list of them; NULL: every layer */
    json_t *layers_pattern;               /* a string or a list of strings; NULL: any */
    json_t *tokens; /* trainable_token_indices: a list of whole numbers of 0 or more, or an object of such
                       lists by module; none is empty. NULL: none */
};

/* Errors: "config_malformed", "adapter_unsupported_type", "adapter_unsupported_feature"; param is the
 * field. */
int peft_config_init(struct peft_config *c, int fd, struct err *e);
/* The same of what was read already; takes a reference of its own. */
int peft_config_take(struct peft_config *c, json_t *root, struct err *e);
/* Does PEFT, or a tool that writes its files, have a field of this name? */
bool peft_config_knows(const char *field);
void peft_config_fini(struct peft_config *c);

/* Index of `name`, or -1. */
long peft_names_find(const struct peft_names *n, const char *name);

/* A tenant's text in quotes, in ASCII and cut to a bounded length, for messages. */
enum { PEFT_TEXT = 96 };
void peft_config_text(const char *text, char out[PEFT_TEXT]);
