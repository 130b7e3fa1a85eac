/* What config.json of a model says about its network. Types only; config_read.h reads it. */
#pragma once
#include <stdbool.h>

#include "core/head/head.h"
#include "core/model/config/families.h"
#include "core/model/rope/rope.h"

enum { CONFIG_EOS_MAX = 16, CONFIG_MLP_LAYERS_MAX = 64, CONFIG_ROPES = 2 };
enum { CONFIG_DIMENSION_MAX = 1 << 20, CONFIG_LAYERS_MAX = 1024, CONFIG_CONTEXT_MAX = 1 << 21 };

struct config {
    const struct family *family;
    char unknown[256]; /* fields that nobody here knows, which change nothing that is known; for people */
    int hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, context;
    float eps;
    enum gate_activation activation;
    bool parallel;                  /* as the family's, or as the config says */
    enum head_norms head_norms;     /* the same */
    struct rope rope[CONFIG_ROPES]; /* the second: of layers that slide, where they have their own */
    int ropes;
    signed char rope_of[CONFIG_LAYERS_MAX]; /* which of them rotates a layer's q and k; -1: none */
    float attention_scale;                  /* of scores */
    float score_cap, logit_cap;             /* cap tanh(x / cap) of them; 0: none */
    /* Of the embedding's rows, of what a block gives to the stream, and of the logits; 1: none. */
    float embedding_multiplier, residual_multiplier, logits_multiplier;
    float query_growth; /* q times 1 + growth ln(1 + floor(position / query_context)); 0: it does not grow */
    int query_context;
    bool tied;
    enum head_kind labels; /* what it gives in the place of text; HEAD_NONE: it does not */
    bool bare;             /* a network without its head */
    bool qkv_bias, o_bias, mlp_bias;
    int window;                     /* keys that a sliding layer sees, a token's own among them; 0: all do */
    bool slides[CONFIG_LAYERS_MAX]; /* which layers do, where there is a window */
    int eos[CONFIG_EOS_MAX], eos_count;
    int pad;                                              /* token that fills texts up; -1: there is none */
    int mlp_sizes[CONFIG_MLP_LAYERS_MAX + 1], mlp_layers; /* of a numeric family: widths, input first */
};
