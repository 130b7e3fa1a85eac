#include "core/model/config/config_read.h"

#include <math.h>
#include <string.h>

#include "core/format/json_file.h"
#include "core/model/config/parts.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };

static int read_json(const char *directory, const char *name, bool required, json_t **out, struct err *e)
{
    const struct json_file f = {.name = name, .code = "model_malformed", .bytes_max = CONFIG_BYTES_MAX};
    return json_file_read(&f, directory, required, out, e);
}

static int read_architecture(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    const json_t *list = json_object_get(root, "architectures");
    if (key_is_absent(list))
        return 0;
    const json_t *first = json_array_get(list, 0);
    const char *name = json_string_value(first);
    if (!name || json_array_size(list) != 1)
        return key_malformed("architectures", "a list of one name", e);
    c->bare = strcmp(name, f->bare_architecture) == 0;
    c->labels = head_of_architecture(name, f->bare_architecture);
    if (c->bare || c->labels != HEAD_NONE || strcmp(name, f->architecture) == 0)
        return 0;
    key_unsupported("architectures", list, e);
    return err_hint(e, "Of model_type %s, %s is supported.", f->name, f->architecture);
}

/* ---- numbers of the computation ---- */

/* Scores times the inverse root of the head's width, or of what the config has in its place. */
static int read_attention_scale(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    double width = c->head_dim;
    if (f->field_query_scale &&
        key_number(root, f->field_query_scale, f->query_scale_default, &width, e) != 0)
        return -1;
    c->attention_scale = f->field_query_scale ? (float)(1 / sqrt(width)) : 1.0f / sqrtf((float)c->head_dim);
    return 0;
}

static int read_multipliers(const json_t *root, struct config *c, struct err *e)
{
    double embedding = 1, residual = 1, scale = 1, logits = 1;
    c->embedding_multiplier = c->family->embedding_by_width ? sqrtf((float)c->hidden) : 1;
    c->residual_multiplier = c->logits_multiplier = 1;
    if (!c->family->multipliers)
        return read_attention_scale(root, c, e);
    if (key_number(root, "embedding_multiplier", 1, &embedding, e) != 0 ||
        key_number(root, "residual_multiplier", 1, &residual, e) != 0 ||
        key_number(root, "attention_multiplier", 1, &scale, e) != 0 ||
        key_number(root, "logits_scaling", 1, &logits, e) != 0)
        return -1;
    c->embedding_multiplier = (float)embedding;
    c->residual_multiplier = (float)residual;
    c->attention_scale = (float)scale;
    c->logits_multiplier = (float)(1 / logits);
    return 0;
}

/* null is not the same as left out: it switches a cap off. */
static int read_cap(const json_t *root, const char *field, double fallback, float *out, struct err *e)
{
    const json_t *value = json_object_get(root, field);
    double cap = 0;
    if (value && !json_is_null(value) && key_number(root, field, 0, &cap, e) != 0)
        return -1;
    *out = (float)(value ? cap : fallback);
    return 0;
}

static int read_caps(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    if (f->score_cap && read_cap(root, "attn_logit_softcapping", f->score_cap_default, &c->score_cap, e) != 0)
        return -1;
    return f->logit_cap ? read_cap(root, "final_logit_softcapping", f->logit_cap_default, &c->logit_cap, e)
                        : 0;
}

static int read_eos(const json_t *root, struct config *out, struct err *e)
{
    const json_t *value = json_object_get(root, "eos_token_id");
    if (key_is_absent(value))
        return 0;
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (count > CONFIG_EOS_MAX)
        return key_malformed("eos_token_id", "a token id or a list of at most 16", e);
    out->eos_count = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return key_malformed("eos_token_id", "a token id or a list of them", e);
        if (json_integer_value(id) < out->vocab) /* others never come; small gpt2s keep 50256 by default */
            out->eos[out->eos_count++] = (int)json_integer_value(id);
    }
    return 0;
}

/* One that no text can have, -1 in older files, fills none up. */
static int read_pad(const json_t *root, struct config *out, struct err *e)
{
    const json_t *value = json_object_get(root, "pad_token_id");
    out->pad = -1;
    if (key_is_absent(value))
        return 0;
    if (!json_is_integer(value))
        return key_malformed("pad_token_id", "a token id or null", e);
    json_int_t id = json_integer_value(value);
    if (id >= 0 && id < out->vocab)
        out->pad = (int)id;
    return 0;
}

/* generation_config.json has the last word on the end tokens, as in transformers' generate. */
static int read_generation_eos(const char *directory, struct config *out, struct err *e)
{
    json_t *root;
    int result = read_json(directory, "generation_config.json", false, &root, e);
    if (result == 0 && root && (result = read_eos(root, out, e)) != 0) {
        err_set(e, "model_malformed", "generation_config.json: eos_token_id must be token ids");
        err_param(e, "eos_token_id");
    }
    json_decref(root);
    return result;
}

static int read_shapes(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    double eps;
    if (key_size(root, f->field_hidden, 0, CONFIG_DIMENSION_MAX, &c->hidden, e) != 0 ||
        key_size(root, f->field_layers, 0, CONFIG_LAYERS_MAX, &c->layers, e) != 0 ||
        key_size(root, f->field_heads, f->heads_default, CONFIG_DIMENSION_MAX, &c->heads, e) != 0 ||
        key_size(root, "vocab_size", f->vocab_default, CONFIG_DIMENSION_MAX, &c->vocab, e) != 0 ||
        key_size(root, f->field_context, f->context_default, CONFIG_CONTEXT_MAX, &c->context, e) != 0 ||
        key_size(root, f->field_intermediate, f->gated ? 0 : 4 * c->hidden, CONFIG_DIMENSION_MAX,
                 &c->intermediate, e) != 0 ||
        key_number(root, f->field_eps, f->eps_default, &eps, e) != 0 ||
        key_flag(root, "tie_word_embeddings", f->tied_default, &c->tied, e) != 0)
        return -1;
    c->eps = (float)eps;
    bool rotary = !f->learned_positions;
    /* null is not the same as left out: transformers then takes as many as heads */
    bool kv_null = json_is_null(json_object_get(root, "num_key_value_heads"));
    int kv_default = f->kv_heads_default && !kv_null ? f->kv_heads_default : c->heads;
    int dim_default = f->head_dim_default ? f->head_dim_default : c->hidden / c->heads;
    bool divided = !f->head_dim_default && (!rotary || key_is_absent(json_object_get(root, "head_dim")));
    if (divided && c->hidden % c->heads != 0)
        return key_malformed(f->field_heads, "a divisor of the hidden size", e);
    c->kv_heads = c->heads;
    c->head_dim = dim_default;
    if (rotary &&
        (key_size(root, "num_key_value_heads", kv_default, CONFIG_DIMENSION_MAX, &c->kv_heads, e) != 0 ||
         key_size(root, "head_dim", dim_default, CONFIG_DIMENSION_MAX, &c->head_dim, e) != 0))
        return -1;
    if (f->head_dim_divided && (long)c->head_dim * c->heads != c->hidden)
        return key_malformed("head_dim", "the hidden size divided by the heads", e);
    if (c->heads % c->kv_heads != 0)
        return key_malformed("num_key_value_heads", "a divisor of num_attention_heads", e);
    if ((long)c->heads * c->head_dim > CONFIG_DIMENSION_MAX)
        return key_malformed("head_dim", "smaller: heads x head_dim is beyond 1048576", e);
    if (rotary && c->head_dim % 2 != 0)
        return key_malformed("head_dim", "even", e);
    return 0;
}

static int read_activation(const json_t *root, struct config *c, struct err *e)
{
    static const struct {
        const char *name;
        enum gate_activation activation;
    } names[] = {{"silu", ACTIVATION_SILU},
                 {"swish", ACTIVATION_SILU},
                 {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH}, /* three ways to write the one polynomial */
                 {"gelu_new", ACTIVATION_GELU_TANH},
                 {"gelu_fast", ACTIVATION_GELU_TANH}};
    const struct family *f = c->family;
    const json_t *value = json_object_get(root, f->field_activation);
    c->activation = f->activation;
    if (key_is_absent(value))
        return 0;
    if (!json_is_string(value))
        return key_malformed(f->field_activation, "a name", e);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(json_string_value(value), names[i].name) == 0) {
            c->activation = names[i].activation;
            if (f->gated || c->activation == ACTIVATION_GELU_TANH)
                return 0;
        }
    return key_unsupported(f->field_activation, value, e);
}

static int read_biases(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    bool attention, mlp, qkv = false, all = true;
    if (key_flag(root, "attention_bias", f->attention_bias_default, &attention, e) != 0 ||
        key_flag(root, "mlp_bias", false, &mlp, e) != 0 ||
        (f->field_qkv_bias && key_flag(root, f->field_qkv_bias, false, &qkv, e) != 0) ||
        (f->field_all_biases && key_flag(root, f->field_all_biases, true, &all, e) != 0))
        return -1;
    if (attention && !f->attention_bias_field)
        return key_unsupported("attention_bias", json_object_get(root, "attention_bias"), e);
    if (mlp && !f->mlp_bias_field)
        return key_unsupported("mlp_bias", json_object_get(root, "mlp_bias"), e);
    c->qkv_bias = (f->qkv_bias && all) || attention || qkv;
    c->o_bias = (f->o_bias && all) || (attention && !f->o_unbiased);
    c->mlp_bias = (f->mlp_bias && all) || mlp;
    return 0;
}

/* What the config may switch on that changes a block's shape. */
static int read_switches(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    bool norms = true;
    c->parallel = f->parallel;
    if ((f->field_parallel && key_flag(root, f->field_parallel, f->parallel, &c->parallel, e) != 0) ||
        (f->field_head_norms && key_flag(root, f->field_head_norms, false, &norms, e) != 0))
        return -1;
    c->head_norms = norms ? f->head_norms : HEAD_NORMS_NONE;
    return 0;
}

static int read_decoder(const json_t *root, struct config *c, struct err *e)
{
    if (read_architecture(root, c, e) != 0 || switches_check(root, c->family, e) != 0 ||
        read_activation(root, c, e) != 0 || read_biases(root, c, e) != 0 || read_switches(root, c, e) != 0 ||
        read_shapes(root, c, e) != 0 || read_multipliers(root, c, e) != 0 || read_caps(root, c, e) != 0)
        return -1;
    if (ropes_read_layers(root, c, e) != 0 || ropes_read(root, c, e) != 0 || windows_read(root, c, e) != 0)
        return -1;
    switches_list_unknown(root, c->family, c->unknown, sizeof c->unknown);
    return read_eos(root, c, e) == 0 ? read_pad(root, c, e) : -1;
}

static int read_mlp(const json_t *root, struct config *c, struct err *e)
{
    const json_t *sizes = json_object_get(root, "layer_sizes"),
                 *activation = json_object_get(root, "activation");
    size_t count = json_array_size(sizes);
    if (!json_is_array(sizes) || count < 2 || count > CONFIG_MLP_LAYERS_MAX + 1)
        return key_malformed("layer_sizes", "a list of 2 to 65 widths", e);
    for (size_t i = 0; i < count; i++) {
        const json_t *size = json_array_get(sizes, i);
        if (!json_is_integer(size) || json_integer_value(size) < 1 ||
            json_integer_value(size) > CONFIG_DIMENSION_MAX)
            return key_malformed("layer_sizes", "integers from 1 to 1048576", e);
        c->mlp_sizes[i] = (int)json_integer_value(size);
    }
    c->mlp_layers = (int)count - 1;
    if (!key_is_absent(activation) &&
        (!json_is_string(activation) || strcmp(json_string_value(activation), "relu") != 0))
        return key_unsupported("activation", activation, e);
    return switches_check(root, c->family, e);
}

/* What stands around the text's config may switch nothing on, either. */
static int check_around(const json_t *root, const struct family *f, struct err *e)
{
    json_t *around = json_copy((json_t *)root);
    if (!around)
        return err_memory(e);
    json_object_del(around, "text_config");
    json_object_del(around, "vision_config");
    int result = switches_check(around, f, e);
    json_decref(around);
    return result;
}

/* The text's config with what stands around it: whose architecture it is and whether it is tied, and special
 * tokens that the text does not name. Owned by the caller. */
static json_t *text_of(const json_t *root, const json_t *text)
{
    static const char *const always[] = {"architectures", "tie_word_embeddings"}, *const missing[] = {
                                                                                      "eos_token_id",
                                                                                      "pad_token_id"};
    json_t *all = json_copy((json_t *)text);
    for (size_t i = 0; all && i < 2; i++) {
        json_object_del(all, always[i]);
        if (json_object_get(root, always[i]))
            json_object_set(all, always[i], json_object_get(root, always[i]));
        if (key_is_absent(json_object_get(all, missing[i])) && json_object_get(root, missing[i]))
            json_object_set(all, missing[i], json_object_get(root, missing[i]));
    }
    return all;
}

static int read_text_part(const json_t *root, struct config *c, struct err *e)
{
    const json_t *text = json_object_get(root, "text_config"), *type = json_object_get(text, "model_type");
    if (!json_is_object(text))
        return key_malformed("text_config", "an object", e);
    if (!key_is_absent(type) &&
        (!json_is_string(type) || strcmp(json_string_value(type), c->family->text_type) != 0))
        return key_unsupported("text_config.model_type", type, e);
    if (check_around(root, c->family, e) != 0)
        return -1;
    json_t *all = text_of(root, text);
    int result = all ? read_decoder(all, c, e) : err_memory(e);
    json_decref(all);
    return result;
}

static int read_family(const json_t *root, struct config *c, struct err *e)
{
    const json_t *type = json_object_get(root, "model_type");
    if (!json_is_string(type))
        return key_malformed("model_type", "a name", e);
    c->family = family_find(json_string_value(type));
    if (!c->family) {
        char names[400];
        family_names(names, sizeof names);
        key_unsupported("model_type", type, e);
        return err_hint(e, "Supported: %s.", names);
    }
    return c->family->numeric     ? read_mlp(root, c, e)
           : c->family->text_type ? read_text_part(root, c, e)
                                  : read_decoder(root, c, e);
}

int config_read(struct config *out, const char *directory, struct err *e)
{
    struct config c = {0};
    json_t *root;
    int result = read_json(directory, "config.json", true, &root, e);
    if (result == 0)
        result = read_family(root, &c, e);
    if (result == 0 && !c.family->numeric)
        result = read_generation_eos(directory, &c, e);
    json_decref(root);
    if (result == 0)
        *out = c;
    return result;
}
