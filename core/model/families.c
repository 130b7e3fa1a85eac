#include "core/model/families.h"

#include <stdio.h>
#include <string.h>

/* What families have in common, to be put together; a field stands in one of them or in the entry. */
#define ROTARY                                                                                            \
    .prefix = "model.", .embed = "embed_tokens", .layer_prefix = "layers.", .final_norm = "norm",         \
    .attention_norm = "input_layernorm", .mlp_norm = "post_attention_layernorm", .q = "self_attn.q_proj", \
    .k = "self_attn.k_proj", .v = "self_attn.v_proj", .o = "self_attn.o_proj",                            \
    .field_hidden = "hidden_size", .field_layers = "num_hidden_layers",                                   \
    .field_heads = "num_attention_heads", .field_intermediate = "intermediate_size",                      \
    .field_context = "max_position_embeddings", .field_activation = "hidden_act"
#define LORA_Q_V .lora_targets = {"q_proj", "v_proj"}
#define RMS_NORM .field_eps = "rms_norm_eps", .eps_default = 1e-6
#define SILU_GATED                                                                        \
    .gated = true, .gate = "mlp.gate_proj", .up = "mlp.up_proj", .down = "mlp.down_proj", \
    .activations = {"silu", "swish"}

static const struct family families[] = {
    {.name = "llama",
     .architecture = "LlamaForCausalLM",
     .bare_architecture = "LlamaModel",
     .attention_bias_field = true,
     .mlp_bias_field = true,
     .gguf = "llama",
     .gguf_permuted = true,
     ROTARY,
     RMS_NORM,
     SILU_GATED,
     LORA_Q_V},
    {.name = "mistral",
     .architecture = "MistralForCausalLM",
     .bare_architecture = "MistralModel",
     .kv_heads_default = 8,
     .window = WINDOW_EVERY,
     .window_default = 4096,
     .gguf = "llama", /* converters call it that */
     .gguf_permuted = true,
     ROTARY,
     RMS_NORM,
     SILU_GATED,
     LORA_Q_V},
    {.name = "qwen2",
     .architecture = "Qwen2ForCausalLM",
     .bare_architecture = "Qwen2Model",
     .window = WINDOW_CHOSEN,
     .window_default = 4096,
     .gguf = "qwen2",
     .kv_heads_default = 32,
     .qkv_bias = true,
     ROTARY,
     RMS_NORM,
     SILU_GATED,
     LORA_Q_V},
    {.name = "qwen3",
     .architecture = "Qwen3ForCausalLM",
     .bare_architecture = "Qwen3Model",
     .window = WINDOW_CHOSEN,
     .window_default = 4096,
     .gguf = "qwen3",
     .attention_bias_field = true,
     .kv_heads_default = 32,
     .head_dim_default = 128,
     .qk_norm = true,
     .q_norm = "self_attn.q_norm",
     .k_norm = "self_attn.k_norm",
     ROTARY,
     RMS_NORM,
     SILU_GATED,
     LORA_Q_V},
    {.name = "ministral",
     .architecture = "MinistralForCausalLM",
     .bare_architecture = "MinistralModel",
     .window = WINDOW_TYPED,
     .window_default = 4096,
     .kv_heads_default = 8,
     ROTARY,
     RMS_NORM,
     SILU_GATED},
    {.name = "smollm3",
     .architecture = "SmolLM3ForCausalLM",
     .bare_architecture = "SmolLM3Model",
     .attention_bias_field = true,
     .mlp_bias_field = true,
     .window = WINDOW_UNROTATED,
     .unrotated_every = 4,
     .theta_default = 2e6,
     .kv_heads_default = 4,
     .tied_default = true,
     ROTARY,
     RMS_NORM,
     SILU_GATED},
    {.name = "granite",
     .architecture = "GraniteForCausalLM",
     .bare_architecture = "GraniteModel",
     .attention_bias_field = true,
     .mlp_bias_field = true,
     .multipliers = true,
     ROTARY,
     RMS_NORM,
     SILU_GATED},
    {.name = "stablelm",
     .architecture = "StableLmForCausalLM",
     .bare_architecture = "StableLmModel",
     .layer_norm = true,
     .field_qkv_bias = "use_qkv_bias",
     .rotated_default = 0.25,
     .kv_heads_default = 32,
     .head_dim_divided = true,
     .field_eps = "layer_norm_eps",
     .eps_default = 1e-5,
     ROTARY,
     SILU_GATED,
     LORA_Q_V},
    {.name = "starcoder2",
     .architecture = "Starcoder2ForCausalLM",
     .bare_architecture = "Starcoder2Model",
     .always = {"use_bias"},
     .window = WINDOW_EVERY,
     .kv_heads_default = 2,
     .layer_norm = true,
     .qkv_bias = true,
     .o_bias = true,
     .mlp_bias = true,
     .tied_default = true,
     .field_eps = "norm_epsilon",
     .eps_default = 1e-5,
     .up = "mlp.c_fc",
     .down = "mlp.c_proj",
     .activations = {"gelu_pytorch_tanh"},
     ROTARY},
    {.name = "gpt2",
     .architecture = "GPT2LMHeadModel",
     .bare_architecture = "GPT2Model",
     .always = {"scale_attn_weights"},
     .layer_norm = true,
     .learned_positions = true,
     .transposed = true,
     .qkv_bias = true,
     .o_bias = true,
     .mlp_bias = true,
     .tied_default = true,
     .eps_default = 1e-5,
     .prefix = "transformer.",
     .embed = "wte",
     .positions = "wpe",
     .layer_prefix = "h.",
     .final_norm = "ln_f",
     .attention_norm = "ln_1",
     .mlp_norm = "ln_2",
     .qkv = "attn.c_attn",
     .o = "attn.c_proj",
     .up = "mlp.c_fc",
     .down = "mlp.c_proj",
     .field_hidden = "n_embd",
     .field_layers = "n_layer",
     .field_heads = "n_head",
     .field_intermediate = "n_inner",
     .field_context = "n_positions",
     .field_eps = "layer_norm_epsilon",
     .field_activation = "activation_function",
     /* three ways to write the one polynomial */
     .activations = {"gelu_new", "gelu_fast", "gelu_pytorch_tanh"},
     .lora_targets = {"c_attn"},
     .gguf = "gpt2"},
    {.name = "mlp", .numeric = true},
};

enum { FAMILIES = sizeof families / sizeof *families };

const struct family *family_find(const char *name)
{
    for (size_t i = 0; i < FAMILIES; i++)
        if (strcmp(name, families[i].name) == 0)
            return &families[i];
    return NULL;
}

void family_names(char *out, size_t size)
{
    size_t length = 0;
    out[0] = '\0';
    for (size_t i = 0; i < FAMILIES && length < size; i++)
        length += (size_t)snprintf(out + length, size - length, "%s%s", i ? ", " : "", families[i].name);
}
