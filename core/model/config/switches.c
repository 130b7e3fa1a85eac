#include <stdio.h>
#include <string.h>

#include "core/model/config/parts.h"

static bool in_list(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count && list[i]; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
}

static int check_off(const json_t *root, const char *const *fields, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(root, fields[i]);
        bool is_off = key_is_absent(value) || json_is_false(value) ||
                      (json_is_number(value) && json_number_value(value) == 0);
        if (!is_off)
            return key_unsupported(fields[i], value, e);
    }
    return 0;
}

/* Is it one of those that the entry names? */
static bool is_own(const struct family *f, const char *field)
{
    const char *const own[] = {f->field_qkv_bias, f->field_all_biases, f->field_head_norms,
                               f->field_parallel};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i] && strcmp(field, own[i]) == 0)
            return true;
    return in_list(field, f->known, FAMILY_NAMES) ||
           in_list(field, f->always, sizeof f->always / sizeof *f->always);
}

/* Fields that change the computation of some family, with the only values that do not. */
static int check_off_here(const json_t *root, const struct family *f, struct err *e)
{
    static const char *const multipliers[] = {"embedding_multiplier", "residual_multiplier",
                                              "attention_multiplier", "logits_scaling"};
    static const char *const off[] = {
        "add_cross_attention",
        "scale_attn_by_inverse_layer_idx",
        "use_qk_norm",
        "qk_layernorm",
        "reorder_and_upcast_attn",
        "quantization_config",
        "auto_map",
        "num_experts",
        "num_local_experts",
        "n_routed_experts",
        "moe_intermediate_size",
        "logit_scale",
        "use_mrope",
        "attention_out_bias",
        "lm_head_bias",
        "is_encoder_decoder",
        "clip_qkv",
        "alibi",
        "parallel_residual",
        "attention_sink",
    };
    static const char *const score_cap[] = {"attn_logit_softcapping"}, *const logit_cap[] = {
                                                                           "final_logit_softcapping"};
    for (size_t i = 0; i < sizeof off / sizeof *off; i++)
        if (!is_own(f, off[i]) && check_off(root, off + i, 1, e) != 0)
            return -1;
    if (!f->multipliers && check_off(root, multipliers, sizeof multipliers / sizeof *multipliers, e) != 0)
        return -1;
    if (!f->score_cap && !is_own(f, score_cap[0]) && check_off(root, score_cap, 1, e) != 0)
        return -1;
    return f->logit_cap ? 0 : check_off(root, logit_cap, 1, e);
}

/* What the family has anyway cannot be switched off. */
static int check_always(const json_t *root, const struct family *f, struct err *e)
{
    for (size_t i = 0; i < sizeof f->always / sizeof *f->always && f->always[i]; i++) {
        const json_t *value = json_object_get(root, f->always[i]);
        if (!key_is_absent(value) && !json_is_true(value))
            return key_unsupported(f->always[i], value, e);
    }
    return 0;
}

/* A field that nobody here knows and that switches something on. Numbers and words may pass: they have no
 * "off". */
static int check_unknown(const json_t *root, const struct family *f, struct err *e)
{
    static const char *const known[] = {
        "architectures",
        "attention_bias",
        "mlp_bias",
        "use_cache",
        "tie_word_embeddings",
        "rope_parameters",
        "rope_scaling",
        "layer_types",
        "use_sliding_window",
        "scale_attn_weights",
        "eos_token_id",
        "bos_token_id",
        "summary_use_proj",
        "summary_proj_to_labels",
        "id2label",
        "label2id",
        "task_specific_params",
        "unsloth_fixed",
        "is_decoder",
        "return_dict",
        "_from_model_config",
        "layer_sizes",
        "keys_to_ignore_at_inference",
        "output_attentions",
        "output_hidden_states",
        "pad_token_id",
        "_attn_implementation_autoset",
    };
    const char *field;
    json_t *value;
    json_object_foreach((json_t *)root, field, value)
    {
        bool on = json_is_true(value) || json_object_size(value) > 0 || json_array_size(value) > 0;
        if (!on || is_own(f, field) || in_list(field, known, sizeof known / sizeof *known))
            continue;
        key_unsupported(field, value, e);
        return err_hint(e, "This field is not known here and may change what the model computes.");
    }
    return 0;
}

/* Does the entry, or one of the parts that read the config, name it? */
static bool is_read(const struct family *f, const char *field)
{
    const char *const own[] = {f->field_hidden,       f->field_layers,         f->field_heads,
                               f->field_intermediate, f->field_context,        f->field_eps,
                               f->field_activation,   f->field_window_pattern, f->field_query_scale,
                               f->field_local_theta};
    static const char *const read[] = {"model_type",
                                       "architectures",
                                       "vocab_size",
                                       "num_key_value_heads",
                                       "head_dim",
                                       "attention_bias",
                                       "mlp_bias",
                                       "tie_word_embeddings",
                                       "rope_parameters",
                                       "rope_scaling",
                                       "rope_theta",
                                       "partial_rotary_factor",
                                       "original_max_position_embeddings",
                                       "layer_types",
                                       "sliding_window",
                                       "use_sliding_window",
                                       "max_window_layers",
                                       "no_rope_layers",
                                       "no_rope_layer_interval",
                                       "eos_token_id",
                                       "pad_token_id",
                                       "id2label",
                                       "label2id",
                                       "attn_logit_softcapping",
                                       "final_logit_softcapping",
                                       "embedding_multiplier",
                                       "residual_multiplier",
                                       "attention_multiplier",
                                       "logits_scaling",
                                       "layer_sizes",
                                       "activation"};
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        if (own[i] && strcmp(field, own[i]) == 0)
            return true;
    return in_list(field, read, sizeof read / sizeof *read);
}

/* Of training, of where the file comes from, and of how others serve it. */
static bool is_harmless(const char *field)
{
    static const char *const harmless[] = {"attention_dropout",
                                           "attn_pdrop",
                                           "embd_pdrop",
                                           "resid_pdrop",
                                           "hidden_dropout",
                                           "residual_dropout",
                                           "embedding_dropout",
                                           "initializer_range",
                                           "torch_dtype",
                                           "dtype",
                                           "transformers_version",
                                           "_name_or_path",
                                           "bos_token_id",
                                           "use_cache",
                                           "pretraining_tp",
                                           "n_ctx",
                                           "cache_implementation",
                                           "_sliding_window_pattern",
                                           "summary_activation",
                                           "summary_first_dropout",
                                           "summary_proj_to_labels",
                                           "summary_type",
                                           "summary_use_proj",
                                           "is_decoder",
                                           "use_bidirectional_attention",
                                           "unsloth_fixed",
                                           "unsloth_version"};
    return in_list(field, harmless, sizeof harmless / sizeof *harmless);
}

void switches_list_unknown(const json_t *root, const struct family *f, char *out, size_t size)
{
    const char *field;
    json_t *value;
    size_t length = 0;
    out[0] = '\0';
    json_object_foreach((json_t *)root, field, value) if (!key_is_absent(value) && !is_own(f, field) &&
                                                          !is_read(f, field) && !is_harmless(field) &&
                                                          length < size) length +=
        (size_t)snprintf(out + length, size - length, "%s%.60s", length ? ", " : "", field);
}

int switches_check(const json_t *root, const struct family *f, struct err *e)
{
    if (f->numeric)
        return check_unknown(root, f, e);
    if (check_off_here(root, f, e) != 0 || check_always(root, f, e) != 0)
        return -1;
    return check_unknown(root, f, e);
}
