/* The frozen base model and one forward pass over a ragged batch. Knows tensors, never tenants, text or files
 * of others.
 *
 * A `struct model` is immutable after model_open and any thread may read it. A `struct model_run` is the
 * scratch of one caller, who is worker 0 of its pool. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/system/pool.h"
#include "core/base/sha256.h"
#include "core/delta/delta.h"
#include "core/kv/kvcache.h"

enum site_kind {
    SITE_Q,
    SITE_K,
    SITE_V,
    SITE_QKV,
    SITE_O,
    SITE_GATE,
    SITE_UP,
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

/* A tensor of the base that an adapter may replace as a whole. */
struct slot {
    const char *path;   /* of its module: "model.layers.3.input_layernorm" */
    const char *leaf;   /* "weight" or "bias" */
    const char *tensor; /* in the base's files */
    int rows, cols;     /* as stored; cols 0: a vector of `rows` numbers */
    bool transposed;    /* a linear layer stored [in, out] */
    int site;           /* whose weight or bias it is, or -1: a norm's */
};

enum { MODEL_EOS_MAX = 16, MODEL_CONTEXT_MAX = 1 << 21 };

/* How the weights of linear layers are kept and multiplied. */
enum precision {
    PRECISION_DEFAULT, /* int8 for language models, exact for numeric ones; a model is never in it */
    PRECISION_EXACT,   /* as stored, in f32 arithmetic: the reference */
    PRECISION_INT8,    /* language models only */
    PRECISION_INT4     /* the same; the output head stays int8 */
};
const char *precision_name(enum precision p); /* "exact", "int8", "int4"; "default" */

struct model_options {
    enum precision precision;
    bool kv_int8;             /* keys and values as int8 rather than bf16; not in precision exact */
    int context;              /* tokens of one sequence at most; 0: what the model has */
    int threads;              /* that pack the weights; 0: as many as the process may use */
    const char *packed_cache; /* directory that keeps packed weights for the next start; NULL: none */
    void (*progress)(void *arg, double share); /* while packing, 0..1; may be NULL */
    void *progress_arg;
};

struct model_info {
    const char *family; /* "llama", "mistral", "qwen2", "qwen3", "gpt2", "mlp" */
    bool numeric;       /* true: not a language model; takes rows of numbers */
    int vocab_size;     /* logits per row; of a numeric model: outputs per row */
    int context_length; /* tokens of one sequence at most; of a numeric model 0 */
    int input_size;     /* numbers per input row of a numeric model, otherwise 0 */
    int layers, hidden_size;
    enum precision precision;
    struct kv_shape kv; /* of the keys and values that a sequence leaves */
    int eos[MODEL_EOS_MAX], eos_count;
    int64_t parameters;
    uint64_t weight_bytes;             /* as stored, each tensor once */
    uint64_t packed_bytes;             /* of int8 and int4: what is kept in memory instead */
    char packed_state[256];            /* where they came from, for people */
    uint8_t fingerprint[SHA256_BYTES]; /* of config and weights' names, shapes and sampled content */
};

struct model;

/* Open a Hugging Face directory. What the config switches on and this code does not have is refused by field
 * and value (code "model_unsupported"); damaged files are "model_malformed" or "safetensors_malformed"; more
 * context than there is, "context_too_long". */
int model_open(struct model **out, const char *directory, const struct model_options *o, struct err *e);
void model_close(struct model *m);
const struct model_info *model_info(const struct model *m);

/* In the order of the network, embeddings behind all others. */
const struct site *model_sites(const struct model *m, size_t *count);
int model_find_site(const struct model *m, const char *path); /* index, or -1 */
/* Every module of the base by its path (also norms and embeddings), in the order of the network: what PEFT
 * matches target_modules against. Sites are among them. */
const char *const *model_modules(const struct model *m, size_t *count);
/* In the order of the network; a module's tensors stand one behind the other. */
const struct slot *model_slots(const struct model *m, size_t *count);
int model_find_slot(const struct model *m, const char *path, const char *leaf); /* index, or -1 */
/* Elements [at, at + count) of a slot's tensor as the base has it, widened to `out`. */
void model_slot_values(const struct model *m, int slot, size_t at, size_t count, float *out);
/* Do lm_head and the embedding share one matrix? */
bool model_is_tied(const struct model *m);

/* ---- one forward pass ---- */
struct batch {
    int count;                           /* tokens in this step, at most the run's batch_tokens */
    const int32_t *token;                /* [count]; of a numeric model NULL */
    const float *input;                  /* [count, input_size] of a numeric model, otherwise NULL */
    const int32_t *position;             /* [count] place in its sequence */
    struct kv_sequence *const *sequence; /* [count] */
    const struct delta *const
        *delta;                 /* [count]; NULL: bare base. Runs of equal deltas are computed together */
    const uint8_t *want_logits; /* [count] */
    bool alone;                 /* the calling thread does it all; the same result */
};

struct model_run;
/* Scratch for steps of up to `batch_tokens` tokens of which up to `logit_rows` want logits. `kv`: of this
 * model's shape; NULL for a numeric model. Borrows model, pool and cache. */
int model_run_new(struct model_run **out, const struct model *m, struct pool *pool, struct kvcache *kv,
                  int batch_tokens, int logit_rows, struct err *e);
void model_run_free(struct model_run *r); /* NULL is fine */
/* Computes all tokens, writes their keys and values to the cache, and returns the logits of the wanted rows,
 * in order: [wanted, vocab_size], valid until the next step. Tokens of one sequence stand in ascending
 * positions, one behind the other; their cache pages are reserved. A row depends on its own sequence and
 * delta alone, to the last bit. */
const float *model_step(struct model_run *r, const struct batch *b);
