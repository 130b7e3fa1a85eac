/* What is known about a base model: its sites, parameters, size, and how it was opened. Types only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/sha256.h"
#include "core/kv/kvcache.h"

enum site_kind {
    SITE_Q,
    SITE_K,
    SITE_V,
    SITE_QKV,
    SITE_O,
    SITE_GATE,
    SITE_UP,
    SITE_GATE_UP,
    SITE_DOWN,
    SITE_FC, /* SITE_FC: layer n of an mlp */
    SITE_LM_HEAD,
    SITE_EMBEDDING, /* a table of one row per token or position */
    SITE_KINDS
};

/* A layer that an adapter may change by a low-rank update. */
struct site {
    int layer; /* 0.., or -1 for lm_head and embeddings */
    enum site_kind kind;
    int in, out;      /* of an embedding: rows of the table, and numbers in each */
    const char *path; /* module path as PEFT sees it: "model.layers.3.mlp.up_proj", "lm_head", "fc1" */
};

/* A named tensor of the base, torch's parameter: an adapter may replace it as a whole. */
struct parameter {
    const char *path;   /* of its module: "model.layers.3.input_layernorm" */
    const char *leaf;   /* "weight" or "bias" */
    const char *tensor; /* in the base's files */
    int rows, cols;     /* as stored; cols 0: a vector of `rows` numbers */
    bool transposed;    /* a linear layer stored [in, out] */
    int site;           /* whose weight or bias it is, or -1: a norm's */
};

/* Bytes of the base in memory in each precision. */
struct model_sizes {
    uint64_t exact, int8, int4;
};

enum { MODEL_EOS_MAX = 16, MODEL_CONTEXT_MAX = 1 << 21 };

/* How the weights of linear layers are kept and multiplied. */
enum precision {
    PRECISION_DEFAULT, /* int8 for language models, exact for numeric ones; a model is never in it */
    PRECISION_EXACT,   /* as stored, in f32 arithmetic: the reference */
    PRECISION_INT8,    /* language models only */
    PRECISION_INT4     /* the same; the output head stays int8 */
};

struct model_options {
    enum precision precision;
    bool kv_int8;             /* keys and values as int8 rather than bf16; not in precision exact */
    int context;              /* tokens of one sequence at most; 0: what the model has */
    bool no_generation;       /* sampling defaults of generation_config.json are not read */
    int threads;              /* that pack the weights; 0: as many as the process may use */
    const char *packed_cache; /* directory that keeps packed weights and the digest of the files for the next
                                 start; NULL: none */
    /* While "reading" and "packing", 0..1 of each; may be NULL. */
    void (*progress)(void *arg, const char *what, double share);
    void *progress_arg;
};

struct model_info {
    const char *family; /* its name */
    bool numeric;       /* true: not a language model; takes rows of numbers */
    bool generates;     /* it has what makes logits of tokens, or is numeric */
    int vocab_size;     /* logits per row; of a numeric model: outputs per row */
    int context_length; /* tokens of one sequence at most; of a numeric model 0 */
    int input_size;     /* numbers per input row of a numeric model, otherwise 0 */
    int layers, hidden_size;
    enum precision precision;
    struct kv_shape kv; /* of the keys and values that a sequence leaves */
    /* A sequence of more tokens than this rotates in another way; 0: none does. */
    int stretched_beyond;
    bool stretched_whole; /* all its tokens do, which are computed again for it; otherwise its prompt, by its
                             length, and each later token, by its own place */
    int eos[MODEL_EOS_MAX], eos_count;
    int pad; /* token behind the end of texts that are filled up; -1: there is none */
    int64_t parameters;
    uint64_t weight_bytes;  /* as stored, each tensor once */
    uint64_t packed_bytes;  /* of int8 and int4: what is kept in memory instead */
    char packed_state[256]; /* where they came from, for people */
    char features[1024];    /* what the network has, for people */
    char unknown[256];      /* fields of the config that nobody here knows, the same */
    /* Of all that decides what the base computes: the config, and every byte of its weights. Another one is
     * another base, the same one the same base, wherever its files lie. */
    uint8_t fingerprint[SHA256_BYTES];
};
