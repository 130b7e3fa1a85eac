/* The families of models, as data: what their networks hold, and how their configs, their tensors and the
 * tools around them call it. A family whose features are known is one entry in families.c. Static, immutable,
 * any thread. Nothing outside the table knows a family by its name. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

/* Which layers see only the last keys (sliding_window of the config) rather than all. */
enum window_rule {
    WINDOW_NONE,     /* none; the field says nothing */
    WINDOW_EVERY,    /* every layer */
    WINDOW_CHOSEN,   /* with use_sliding_window, those of layer_types, or else from max_window_layers on */
    WINDOW_TYPED,    /* those of layer_types, or else every layer */
    WINDOW_UNROTATED /* with use_sliding_window, those of layer_types, or else those without rotation */
};

enum { FAMILY_LORA_TARGETS = 4 };

struct family {
    const char *name; /* model_type */
    /* Rows of numbers through linear layers with ReLU between them: no tokens, no attention, and nothing of
     * what follows. */
    bool numeric;
    const char *architecture;      /* in "architectures" */
    const char *bare_architecture; /* of a checkpoint of the network without its head */
    bool layer_norm;               /* layer norm with bias; otherwise RMS norm */
    bool learned_positions;        /* a table of positions; otherwise rotary */
    bool transposed;               /* linear weights stored [in, out] */
    bool qkv_bias, o_bias, mlp_bias;
    bool attention_bias_field, mlp_bias_field; /* the config's attention_bias, mlp_bias may add them */
    bool qk_norm;                              /* RMS norm of each head's q and k before the rotation */
    bool gated;                                /* down(silu(gate) * up); otherwise down(gelu_tanh(up)) */
    bool multipliers; /* of the embedding, scores, branches and logits, as the config says */
    enum window_rule window;
    int window_default;    /* where the field is left out; 0: none */
    const char *always[4]; /* config fields of what it has anyway: true, or left out */
    /* config fields */
    const char *field_hidden, *field_layers, *field_heads, *field_intermediate, *field_context, *field_eps,
        *field_activation;
    const char *activations[4]; /* names of the only one */
    int kv_heads_default;       /* 0: as many as heads */
    int head_dim_default;       /* 0: hidden / heads */
    bool head_dim_divided;      /* always hidden / heads */
    double theta_default;       /* of the rotation; 0: 10000 */
    double rotated_default; /* share of a head that is rotated; 0: all of it, and the config cannot choose */
    int unrotated_every; /* layers that no_rope_layers may leave out, by default each so many'th; 0: none */
    const char *field_qkv_bias; /* adds them; NULL: there is none */
    bool tied_default;
    double eps_default;
    /* module paths: behind `prefix`; in a layer behind prefix + layer_prefix + index + "." */
    const char *prefix, *embed, *positions, *layer_prefix, *final_norm;
    const char *attention_norm, *mlp_norm, *q_norm, *k_norm;
    const char *q, *k, *v, *qkv, *o, *gate, *up, *down; /* NULL: the family has none */
    /* adapters */
    const char *lora_targets[FAMILY_LORA_TARGETS]; /* of PEFT where target_modules is null, sorted; none: it
                                                      has no default */
    const char *gguf;   /* general.architecture of GGUF files; NULL: there are none */
    bool gguf_permuted; /* whose rows of q and k pair neighbours: rotation of neighbours instead of halves */
};

const struct family *family_find(const char *name); /* NULL: there is none */
/* "llama, mistral, ..." for messages, cut to fit. */
void family_names(char *out, size_t size);
