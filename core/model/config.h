/* config.json of a Hugging Face model: what it says, checked against what this code computes. Never a silent
 * wrong answer: a field that switches on something else is refused by name and value ("model_unsupported").
 * Both spellings are read: transformers 4 (rope_theta, rope_scaling, torch_dtype) and 5 (rope_parameters,
 * dtype). */
#pragma once
#include <stdbool.h>

#include "core/base/err.h"
#include "core/model/families.h"

enum { CONFIG_EOS_MAX = 16, CONFIG_MLP_LAYERS_MAX = 64 };
enum { CONFIG_DIMENSION_MAX = 1 << 20, CONFIG_LAYERS_MAX = 1024, CONFIG_CONTEXT_MAX = 1 << 21 };

struct rope {
    double theta;
    bool llama3; /* frequency scaling of Llama 3.1 */
    double factor, low_freq_factor, high_freq_factor, original_context;
};

struct config {
    const struct family *family;
    int hidden, layers, heads, kv_heads, head_dim, intermediate, vocab, context;
    float eps;
    struct rope rope;
    bool tied;
    bool qkv_bias, o_bias, mlp_bias;
    int window;                     /* keys that a sliding layer sees, a token's own among them; 0: all do */
    bool slides[CONFIG_LAYERS_MAX]; /* which layers do, where there is a window */
    int eos[CONFIG_EOS_MAX], eos_count;
    int mlp_sizes[CONFIG_MLP_LAYERS_MAX + 1], mlp_layers; /* of a numeric family: widths, input first */
};

/* Errors: "model_malformed", "model_unsupported", "io_error". */
MUST_USE int config_read(struct config *out, const char *directory, struct err *e);
