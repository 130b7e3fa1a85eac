/* What gives labels: a matrix behind the final norm, the names of its rows, and what its numbers mean. A base
 * may have one, and an adapter one of its own. Filled by who makes it, then immutable, reference-counted; any
 * thread. */
#pragma once
#include <jansson.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "core/base/err.h"

enum { HEAD_LABELS_MAX = 4096, HEAD_NAME_BYTES_MAX = 256 };

enum head_kind {
    HEAD_NONE,
    HEAD_TEXT,  /* of a text, by its last token: ...ForSequenceClassification, SEQ_CLS */
    HEAD_TOKENS /* of each token: ...ForTokenClassification, TOKEN_CLS */
};

/* As transformers' pipelines take them; in a config it is the problem_type. */
enum head_meaning {
    HEAD_ONE_OF,  /* one label is right: softmax */
    HEAD_ANY_OF,  /* each may be: sigmoid */
    HEAD_NUMBERS, /* they are no labels but numbers: regression */
};

struct head {
    atomic_int references;
    enum head_kind kind;
    enum head_meaning meaning;
    int labels, size; /* size: of what stands behind the final norm */
    float *weight;    /* owned, [labels, size] */
    float *bias;      /* owned, [labels], or NULL */
    char **names;     /* owned, [labels] */
};

/* With zeros, and names LABEL_0.. */
MUST_USE int head_new(struct head **out, enum head_kind kind, int labels, int size, bool bias, struct err *e);
struct head *head_ref(struct head *h); /* NULL gives NULL */
void head_unref(struct head *h);       /* NULL is fine */
size_t head_bytes(const struct head *h);
const char *head_meaning_name(enum head_meaning meaning); /* as problem_type has it */
/* Names and meaning, as far as a config says them: id2label, problem_type. `file` and `code`: of errors. */
MUST_USE int head_describe(struct head *h, const json_t *config, const char *file, const char *code,
                           struct err *e);
/* What an architecture's name says that its head gives; HEAD_NONE: no labels. `bare`: that of the network
 * without any, "LlamaModel". */
enum head_kind head_of_architecture(const char *name, const char *bare);
/* With zeros: the head that the config.json of a model with this kind speaks of. "model_malformed",
 * "io_error" */
MUST_USE int head_open(struct head **out, enum head_kind kind, const char *directory, int size,
                       struct err *e);
/* The names of another head with as many labels. */
MUST_USE int head_take_names(struct head *h, const struct head *other, struct err *e);

/* scores [labels] = W state + bias; they depend on this state alone, to the last bit. */
void head_scores(const struct head *h, const float *state, float *scores);
/* Probabilities of scores [labels], by the head's meaning; of numbers, these. */
void head_probabilities(const struct head *h, const float *scores, float *out);
