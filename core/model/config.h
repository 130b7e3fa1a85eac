/* config.json of a Hugging Face model: what it says, checked against what this code computes. Never a silent
 * wrong answer: a field that switches on something else is refused by name and value ("model_unsupported").
 * Both spellings are read: transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters,
 * dtype). */
#pragma once
#include <stdbool.h>

#include "core/base/err.h"

enum { CONFIG_EOS_MAX = 16, CONFIG_MLP_LAYERS_MAX = 64 };
enum { CONFIG_DIMENSION_MAX = 1 << 20, CONFIG_LAYERS_MAX = 1024, CONFIG_CONTEXT_MAX = 1 << 21 };

/* A family of decoders is data: what its blocks hold, and how its config and tensors are called. */
struct family {
    const char *name;              /* model_type */
    const char *architecture;      /* in "architectures" */
    const char *bare_architecture; /* of a checkpoint of the network without its head */
    bool layer_norm;               /* layer norm with bias; otherwise RMS norm */
    bool learned_positions;        /* a table of positions; otherwise rotary */
    bool transposed;               /* linear weights stored [in, out] */
    bool qkv_bias, o_bias, mlp_bias;
    bool attention_bias_field, mlp_bias_field; /* the config's attention_bias, mlp_bias may add them */
    bool qk_norm;                              /* RMS norm of each head's q and k before the rotation */
    bool gated;                                /* down(silu(gate) * up); otherwise down(gelu_tanh(up)) */
    /* config fields */
    const char *field_hidden, *field_layers, *field_heads, *field_intermediate, *field_context, *field_eps,
        *field_activation;
    const char *activations[4]; /* names of the only one */
    int kv_heads_default;       /* 0: as many as heads */
    int head_dim_default;       /* 0: hidden / heads */
    bool tied_default;
    double eps_default;
    /* module paths: behind `prefix`; in a layer behind prefix + layer_prefix + index + "." */
    const char *prefix, *embed, *positions, *layer_prefix, *final_norm;
    const char *attention_norm, *mlp_norm, *q_norm, *k_norm;
    const char *q, *k, *v, *qkv, *o, *gate, *up, *down; /* NULL: the family has none */
};

struct rope {
    double theta;
    bool llama3; /* frequency scaling of Llama 3.1 */
    double factor, low_freq_factor, high_freq_factor, original_context;
};

struct config {
    const struct family *family; /* NULL: the numeric mlp */
    int hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, context;
    float eps;
    struct rope rope;
    bool tied;
    bool qkv_bias, o_bias, mlp_bias;
    int eos[CONFIG_EOS_MAX], eos_count;
    int mlp_sizes[CONFIG_MLP_LAYERS_MAX + 1], mlp_layers; /* mlp: widths, input first */
};

/* Errors: "model_malformed", "model_unsupported", "io_error". */
int config_read(struct config *out, const char *directory, struct err *e);
