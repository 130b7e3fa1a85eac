/* The families of models, as data: what their networks hold, and how their configs, their tensors and the
 * tools around them call it. A family whose features are known is one entry in families.c. Static, immutable,
 * any thread. Nothing outside the table knows a family by its name. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

enum norm_kind {
    NORM_RMS,      /* x / rms(x) * w */
    NORM_RMS_PLUS, /* the same with 1 + w: weights are stored around 0 */
    NORM_LAYER     /* (x - mean) / deviation * w + b */
};

/* What q and k go through before they are rotated. */
enum head_norms {
    HEAD_NORMS_NONE,
    HEAD_NORMS_SHARED, /* each head by itself, one weight for all of q's and one for all of k's */
    HEAD_NORMS_WHOLE,  /* all heads of q as one vector, all of k as another */
    HEAD_NORMS_OWN     /* each head by itself with a weight of its own */
};

enum gate_activation { ACTIVATION_SILU, ACTIVATION_GELU_TANH };

/* Which layers see only the last keys (sliding_window of the config) rather than all. */
enum window_rule {
    WINDOW_NONE,     /* none; the field says nothing */
    WINDOW_EVERY,    /* every layer */
    WINDOW_CHOSEN,   /* with use_sliding_window, those of layer_types, or else from max_window_layers on */
    WINDOW_TYPED,    /* those of layer_types, or else all but each window_pattern'th */
    WINDOW_UNROTATED /* with use_sliding_window, those of layer_types, or else those without rotation */
};

enum { FAMILY_LORA_TARGETS = 4, FAMILY_NAMES = 6 };

struct family {
    const char *name;  /* model_type */
    const char *about; /* which models are of it, for people */
    /* Rows of numbers through linear layers with ReLU between them: no tokens, no attention, and nothing of
     * what follows. */
    bool numeric;
    const char *architecture;      /* in "architectures" */
    const char *bare_architecture; /* of a checkpoint of the network without its head */
    /* The text part of a model that also sees: the config's text_config, which is of this model_type; the
     * rest of the config, and tensors that begin so, are passed over. NULL: it is the whole. */
    const char *text_type;
    const char *other_tensors[4];

    /* the stream */
    bool learned_positions; /* a table of positions; otherwise rotary */
    bool transposed;        /* linear weights stored [in, out] */
    enum norm_kind norm;
    bool parallel; /* attention and MLP read one norm, attention_norm, and add to the stream together */
    bool embedding_by_width;   /* rows of the embedding times the root of their width */
    bool multipliers;          /* of the embedding, scores, branches and logits, as the config says */
    bool score_cap, logit_cap; /* attn_logit_softcapping, final_logit_softcapping of the config are heard */
    double score_cap_default, logit_cap_default;
    bool head_bias;

    /* attention */
    bool qkv_bias, o_bias;
    bool attention_bias_field;   /* the config's attention_bias may add them */
    bool attention_bias_default; /* it does where it is left out */
    bool o_unbiased;             /* but never o's */
    enum head_norms head_norms;
    bool head_norms_unbiased; /* of layer norms */
    enum window_rule window;
    int window_default; /* where the field is left out; 0: none */
    int window_pattern; /* of WINDOW_TYPED; 0: every layer slides */
    const char *field_window_pattern;
    const char *field_query_scale; /* scores times its root's inverse; NULL: the head's width */
    double query_scale_default;
    bool query_growth; /* q grows with its position: llama_4_scaling_beta among the parameters of the rotation
                        */

    /* rotation */
    double theta_default;   /* 0: 10000 */
    double rotated_default; /* share of a head that is rotated; 0: all of it, and the config cannot choose */
    bool rope_neighbours;   /* pairs are (2i, 2i + 1) */
    int unrotated_every; /* layers that no_rope_layers may leave out, by default each so many'th; 0: none */
    bool unrotated_full; /* layers that see all keys are not rotated where others slide */
    double local_theta_default; /* of the layers that slide, which have a rotation of their own; 0: they have
                                   not */
    const char *field_local_theta; /* NULL: the config's rope_theta cannot say it */
    int original_context_default; /* of sequences of training, which the config itself says; 0: the rotation's
                                     parameters do, or they are as long as the context */
    bool yarn_is_long;            /* "yarn" and "su" are old names of longrope */

    /* MLP */
    bool mlp_bias;
    bool mlp_bias_field; /* the config's mlp_bias may add them */
    bool gated;          /* down(activation(gate) * up); otherwise down(activation(up)) */
    enum gate_activation activation;

    /* config fields */
    const char *always[4];           /* of what it has anyway: true, or left out */
    const char *known[FAMILY_NAMES]; /* that are read, or change nothing, beside those that all have */
    const char *field_hidden, *field_layers, *field_heads, *field_intermediate, *field_context, *field_eps,
        *field_activation;
    const char *field_qkv_bias;   /* adds them; NULL: there is none */
    const char *field_all_biases; /* of all linear layers, which are there unless it is false */
    const char *field_head_norms; /* NULL: they are there anyway */
    const char *field_parallel;   /* NULL: as `parallel` says */
    int heads_default, vocab_default, context_default; /* 0: the field must be there */
    int kv_heads_default;                              /* 0: as many as heads */
    int head_dim_default;                              /* 0: hidden / heads */
    bool head_dim_divided;                             /* always hidden / heads */
    bool tied_default;
    double eps_default;

    /* module paths: behind `prefix`; in a layer behind prefix + layer_prefix + index + "." */
    const char *prefix, *file_prefix, *file_head /* of tensors in other files; NULL: none have another */,
        *embed, *positions, *layer_prefix, *final_norm;
    /* Of what reads the stream and of what is added to it; NULL: there is none. */
    const char *attention_norm, *attention_post_norm, *mlp_norm, *mlp_post_norm;
    const char *q_norm, *k_norm;
    const char *q, *k, *v, *qkv, *o, *gate, *up, *gate_up, *down; /* NULL: the family has none */

    /* adapters */
    const char *lora_targets[FAMILY_LORA_TARGETS]; /* of PEFT where target_modules is null, sorted; none: it
                                                      has no default */
    const char *gguf;   /* general.architecture of GGUF files; NULL: there are none */
    bool gguf_permuted; /* whose rows of q and k pair neighbours: rotation of neighbours instead of halves */
};

const struct family *family_find(const char *name); /* NULL: there is none */
/* All of them, in the order of the table; NULL behind the last. */
const struct family *family_at(size_t index);
/* "llama, mistral, ..." for messages, cut to fit. */
void family_names(char *out, size_t size);
