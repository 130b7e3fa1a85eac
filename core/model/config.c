#include "core/model/config.h"

#include <float.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/format/json_file.h"

enum { CONFIG_BYTES_MAX = 1 << 20 };
enum { WINDOW_LAYERS_DEFAULT = 28 }; /* of transformers */

/* ---- reading fields ---- */

static bool absent(const json_t *value)
{
    return !value || json_is_null(value);
}

static int unsupported(const char *field, const json_t *value, struct err *e)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    err_set(e, "model_unsupported", "config.json: %s = %.200s is not supported", field, text ? text : "?");
    free(text);
    return err_param(e, field);
}

static int malformed(const char *field, const char *wanted, struct err *e)
{
    err_set(e, "model_malformed", "config.json: %s must be %s", field, wanted);
    return err_param(e, field);
}

/* An integer in 1..maximum; `fallback` where the field is absent, or an error where that is 0. */
static int read_size(const json_t *root, const char *field, int fallback, int maximum, int *out,
                     struct err *e)
{
    const json_t *value = json_object_get(root, field);
    if (absent(value) && fallback > 0) {
        *out = fallback;
        return 0;
    }
    if (!json_is_integer(value) || json_integer_value(value) < 1 || json_integer_value(value) > maximum) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "an integer from 1 to %d", maximum);
        return malformed(field, wanted, e);
    }
    *out = (int)json_integer_value(value);
    return 0;
}

static int read_number(const json_t *root, const char *field, double fallback, double *out, struct err *e)
{
    const json_t *value = json_object_get(root, field);
    if (absent(value) && fallback > 0) {
        *out = fallback;
        return 0;
    }
    if (!json_is_number(value) || !(json_number_value(value) > 0) || json_number_value(value) > FLT_MAX)
        return malformed(field, "a positive number", e);
    *out = json_number_value(value);
    return 0;
}

static int read_flag(const json_t *root, const char *field, bool fallback, bool *out, struct err *e)
{
    const json_t *value = json_object_get(root, field);
    if (!absent(value) && !json_is_boolean(value))
        return malformed(field, "true or false", e);
    *out = absent(value) ? fallback : json_is_true(value);
    return 0;
}

static int read_json(const char *directory, const char *name, bool required, json_t **out, struct err *e)
{
    const struct json_file f = {.name = name, .code = "model_malformed", .bytes_max = CONFIG_BYTES_MAX};
    return json_file_read(&f, directory, required, out, e);
}

/* ---- what is refused ---- */

static int check_off(const json_t *root, const char *const *fields, size_t count, struct err *e)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(root, fields[i]);
        bool is_off =
            absent(value) || json_is_false(value) || (json_is_number(value) && json_number_value(value) == 0);
        if (!is_off)
            return unsupported(fields[i], value, e);
    }
    return 0;
}

/* Fields of these families that change the computation, with the only values that do not. */
static int check_switches(const json_t *root, const struct family *f, struct err *e)
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
        "attn_logit_softcapping",
        "final_logit_softcapping",
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
    if (!f->multipliers && check_off(root, multipliers, sizeof multipliers / sizeof *multipliers, e) != 0)
        return -1;
    return check_off(root, off, sizeof off / sizeof *off, e);
}

/* What the family has anyway cannot be switched off. */
static int check_always(const json_t *root, const struct family *f, struct err *e)
{
    for (size_t i = 0; i < sizeof f->always / sizeof *f->always && f->always[i]; i++) {
        const json_t *value = json_object_get(root, f->always[i]);
        if (!absent(value) && !json_is_true(value))
            return unsupported(f->always[i], value, e);
    }
    return 0;
}

static bool in_list(const char *name, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(name, list[i]) == 0)
            return true;
    return false;
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
    size_t always = 0;
    const char *field;
    json_t *value;
    while (always < sizeof f->always / sizeof *f->always && f->always[always])
        always++;
    json_object_foreach((json_t *)root, field, value)
    {
        bool on = json_is_true(value) || json_object_size(value) > 0 || json_array_size(value) > 0;
        bool own = (f->unrotated_every && strcmp(field, "no_rope_layers") == 0) ||
                   (f->field_qkv_bias && strcmp(field, f->field_qkv_bias) == 0);
        if (on && !own && !in_list(field, known, sizeof known / sizeof *known) &&
            !in_list(field, f->always, always)) {
            unsupported(field, value, e);
            return err_hint(e, "This field is not known here and may change what the model computes.");
        }
    }
    return 0;
}

/* ---- sliding windows ---- */

/* What the config says about windows; a field that is left out has the default of transformers. */
struct window {
    json_int_t length; /* 0: none */
    bool is_said;      /* the config has it */
    bool is_on;        /* the family uses it */
    json_int_t first;  /* layer that has one, where layer_types does not say */
    const json_t *types;
};

static int read_window_fields(const json_t *root, const struct config *c, struct window *out, struct err *e)
{
    const json_t *length = json_object_get(root, "sliding_window"),
                 *use = json_object_get(root, "use_sliding_window"),
                 *first = json_object_get(root, "max_window_layers");
    if (!absent(length) && !json_is_integer(length))
        return malformed("sliding_window", "an integer or null", e);
    if (!absent(use) && !json_is_boolean(use))
        return malformed("use_sliding_window", "true or false", e);
    if (!absent(first) && !json_is_integer(first))
        return malformed("max_window_layers", "an integer", e);
    enum window_rule rule = c->family->window;
    bool chosen = rule == WINDOW_CHOSEN;
    *out = (struct window){.length = length ? json_integer_value(length) : c->family->window_default,
                           .is_said = !absent(length),
                           .first = !chosen         ? 0
                                    : absent(first) ? WINDOW_LAYERS_DEFAULT
                                                    : json_integer_value(first),
                           .types = json_object_get(root, "layer_types")};
    out->is_on = (length ? !json_is_null(length) : c->family->window_default > 0) &&
                 (rule == WINDOW_EVERY || rule == WINDOW_TYPED ||
                  ((chosen || rule == WINDOW_UNROTATED) && json_is_true(use)));
    if (out->is_on && out->length < 1)
        return unsupported("sliding_window", length, e);
    return 0;
}

/* One entry for every layer. Where the family has no window, a layer that slides passes if the window is
 * known not to bite; where every layer has one, none may say that it sees all. */
static int read_layer_types(const struct window *w, struct config *c, struct err *e)
{
    const json_t *type;
    size_t i;
    bool bites = w->length < c->context;
    if (!json_is_array(w->types) || json_array_size(w->types) != (size_t)c->layers)
        return malformed("layer_types", "a list with one entry per layer", e);
    json_array_foreach((json_t *)w->types, i, type)
    {
        const char *name = json_string_value(type);
        bool full = name && strcmp(name, "full_attention") == 0;
        bool slides = name && strcmp(name, "sliding_attention") == 0;
        bool full_passes = !(w->is_on && bites && c->family->window == WINDOW_EVERY);
        if (!(full && full_passes) && !(slides && (w->is_on || (w->is_said && !bites))))
            return unsupported("layer_types", type, e);
        c->slides[i] = slides;
    }
    return 0;
}

/* A window matters where it is shorter than the context and some layer uses it. */
static int read_window(const json_t *root, struct config *c, struct err *e)
{
    struct window w = {0};
    if (read_window_fields(root, c, &w, e) != 0)
        return -1;
    for (int i = 0; i < c->layers; i++)
        c->slides[i] = i >= w.first && !(c->family->window == WINDOW_UNROTATED && c->rotates[i]);
    if (!absent(w.types) && read_layer_types(&w, c, e) != 0)
        return -1;
    bool some = false;
    for (int i = 0; i < c->layers; i++)
        some |= c->slides[i];
    c->window = w.is_on && some && w.length < c->context ? (int)w.length : 0;
    return 0;
}

static int read_architecture(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    const json_t *list = json_object_get(root, "architectures");
    if (absent(list))
        return 0;
    const json_t *first = json_array_get(list, 0);
    const char *name = json_string_value(first);
    if (!name || json_array_size(list) != 1)
        return malformed("architectures", "a list of one name", e);
    c->bare = strcmp(name, f->bare_architecture) == 0;
    c->labels = head_of_architecture(name, f->bare_architecture);
    if (c->bare || c->labels != HEAD_NONE || strcmp(name, f->architecture) == 0)
        return 0;
    unsupported("architectures", list, e);
    return err_hint(e, "Of model_type %s, %s is supported.", f->name, f->architecture);
}

/* ---- sections ---- */

static int read_rope_kind(const json_t *rope, const char *section, struct rope *out, struct err *e)
{
    static const char *const names[] = {
        [ROPE_PLAIN] = "default", [ROPE_LINEAR] = "linear", [ROPE_LLAMA3] = "llama3", [ROPE_YARN] = "yarn"};
    const json_t *type = json_object_get(rope, "rope_type");
    if (absent(type))
        type = json_object_get(rope, "type");
    out->kind = ROPE_PLAIN;
    if (absent(type))
        return 0;
    for (size_t i = 0; i < sizeof names / sizeof *names && json_is_string(type); i++)
        if (strcmp(json_string_value(type), names[i]) == 0) {
            out->kind = (enum rope_kind)i;
            return 0;
        }
    char name[64];
    snprintf(name, sizeof name, "%s.rope_type", section);
    return unsupported(name, type, e);
}

static int read_llama3(const json_t *rope, struct rope *out, struct err *e)
{
    if (read_number(rope, "factor", 0, &out->factor, e) != 0 ||
        read_number(rope, "low_freq_factor", 0, &out->low_freq_factor, e) != 0 ||
        read_number(rope, "high_freq_factor", 0, &out->high_freq_factor, e) != 0)
        return -1;
    if (out->high_freq_factor <= out->low_freq_factor)
        return malformed("high_freq_factor", "greater than low_freq_factor", e);
    return 0;
}

/* How much longer sequences may be than in training, where the config leaves it out; and sequences that are,
 * where it leaves the context as it was. */
static int read_yarn(const json_t *rope, struct config *c, struct err *e)
{
    struct rope *out = &c->rope;
    const json_t *mscale = json_object_get(rope, "mscale"), *all = json_object_get(rope, "mscale_all_dim");
    double share = 0, share_all = 0;
    if (read_number(rope, "factor", c->context / out->original_context, &out->factor, e) != 0 ||
        read_number(rope, "beta_fast", 32, &out->beta_fast, e) != 0 ||
        read_number(rope, "beta_slow", 1, &out->beta_slow, e) != 0 ||
        read_flag(rope, "truncate", true, &out->truncate, e) != 0 ||
        (!absent(mscale) && read_number(rope, "mscale", 0, &share, e) != 0) ||
        (!absent(all) && read_number(rope, "mscale_all_dim", 0, &share_all, e) != 0))
        return -1;
    double magnitude = share > 0 && share_all > 0
                           ? rope_magnitude(out->factor, share) / rope_magnitude(out->factor, share_all)
                           : rope_magnitude(out->factor, 1);
    if (read_number(rope, "attention_factor", magnitude, &out->magnitude, e) != 0)
        return -1;
    double context = out->factor * out->original_context;
    if (context > CONFIG_CONTEXT_MAX)
        return malformed("factor", "smaller: the context is beyond 2097152 tokens", e);
    c->context = context > c->context ? (int)context : c->context;
    return 0;
}

static int check_rope_fields(const json_t *rope, const char *section, const struct rope *r, struct err *e)
{
    static const char *const known[] = {"rope_type",
                                        "type",
                                        "rope_theta",
                                        "factor",
                                        "low_freq_factor",
                                        "high_freq_factor",
                                        "original_max_position_embeddings",
                                        "partial_rotary_factor"},
                             *const yarn[] = {"beta_fast", "beta_slow",      "truncate",
                                              "mscale",    "mscale_all_dim", "attention_factor"};
    const char *field;
    json_t *value;
    json_object_foreach((json_t *)rope, field, value)
    {
        if (absent(value) || in_list(field, known, sizeof known / sizeof *known) ||
            (r->kind == ROPE_YARN && in_list(field, yarn, sizeof yarn / sizeof *yarn)))
            continue;
        char name[128];
        snprintf(name, sizeof name, "%s.%.80s", section, field);
        return unsupported(name, value, e);
    }
    return 0;
}

/* The sequences of training: a field of the config comes before the section's. */
static int read_original_context(const json_t *root, const json_t *rope, struct config *c, struct err *e)
{
    static const char field[] = "original_max_position_embeddings";
    const json_t *from = absent(json_object_get(root, field)) ? rope : root;
    return read_number(from, field, c->context, &c->rope.original_context, e);
}

static int read_rope_scaling(const json_t *root, const json_t *rope, struct config *c, struct err *e)
{
    switch (c->rope.kind) {
    case ROPE_PLAIN:
        return 0;
    case ROPE_LINEAR:
        return read_number(rope, "factor", 0, &c->rope.factor, e);
    case ROPE_LLAMA3:
        return read_original_context(root, rope, c, e) != 0 ? -1 : read_llama3(rope, &c->rope, e);
    case ROPE_YARN:
        return read_original_context(root, rope, c, e) != 0 ? -1 : read_yarn(rope, c, e);
    }
    return 0;
}

/* The share of a head that is rotated. */
static int read_rotated(const json_t *root, const json_t *rope, struct config *c, struct err *e)
{
    static const char field[] = "partial_rotary_factor";
    const struct family *f = c->family;
    const json_t *value = json_object_get(rope, field);
    double share = f->rotated_default > 0 ? f->rotated_default : 1;
    if (absent(value))
        value = json_object_get(root, field);
    if (!absent(value) && !json_is_number(value))
        return malformed(field, "a number", e);
    if (!absent(value))
        share = json_number_value(value);
    if (!(share > 0 && share <= 1) || (share < 1 && f->rotated_default <= 0))
        return unsupported(field, value, e);
    c->rope.dim = (int)(c->head_dim * share);
    if (c->rope.dim < 2 || c->rope.dim % 2 != 0)
        return malformed(field, "such that an even part of a head is rotated", e);
    return 0;
}

/* The section that counts: as in transformers, rope_scaling replaces the other one as a whole. */
static int find_rope(const json_t *root, const char **name, const json_t **out, struct err *e)
{
    static const char *const sections[] = {"rope_parameters", "rope_scaling"};
    *name = sections[0];
    *out = NULL;
    for (int i = 0; i < 2; i++) {
        const json_t *rope = json_object_get(root, sections[i]);
        if (!absent(rope) && !json_is_object(rope))
            return malformed(sections[i], "an object or null", e);
        if (json_object_size(rope) > 0) {
            *name = sections[i];
            *out = rope;
        }
    }
    return 0;
}

static int read_rope(const json_t *root, struct config *c, struct err *e)
{
    double theta = c->family->theta_default > 0 ? c->family->theta_default : 10000;
    const char *section;
    const json_t *rope;
    c->rope.magnitude = 1;
    if (find_rope(root, &section, &rope, e) != 0 || read_number(root, "rope_theta", theta, &theta, e) != 0 ||
        read_rotated(root, rope, c, e) != 0)
        return -1;
    c->rope.theta = theta;
    if (!rope)
        return 0;
    if (read_rope_kind(rope, section, &c->rope, e) != 0 ||
        check_rope_fields(rope, section, &c->rope, e) != 0 ||
        read_number(rope, "rope_theta", theta, &c->rope.theta, e) != 0)
        return -1;
    return read_rope_scaling(root, rope, c, e);
}

/* Layers without rotation: 0 in no_rope_layers. */
static int read_rotating_layers(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    const json_t *list = json_object_get(root, "no_rope_layers");
    int every = f->unrotated_every;
    if (every && read_size(root, "no_rope_layer_interval", every, CONFIG_LAYERS_MAX, &every, e) != 0)
        return -1;
    if (every && !absent(list) && (!json_is_array(list) || json_array_size(list) < (size_t)c->layers))
        return malformed("no_rope_layers", "a list with an entry for each layer", e);
    for (int i = 0; i < c->layers; i++) {
        const json_t *entry = json_array_get(list, (size_t)i);
        c->rotates[i] = !f->learned_positions && (!every || (i + 1) % every != 0);
        if (!every || absent(list))
            continue;
        if (!json_is_integer(entry) || json_integer_value(entry) < 0 || json_integer_value(entry) > 1)
            return malformed("no_rope_layers", "a list of 0 and 1", e);
        c->rotates[i] = json_integer_value(entry) == 1;
    }
    return 0;
}

static int read_multipliers(const json_t *root, struct config *c, struct err *e)
{
    double embedding = 1, residual = 1, scale = 1, logits = 1;
    c->embedding_multiplier = c->residual_multiplier = c->logits_multiplier = 1;
    c->attention_scale = 1.0f / sqrtf((float)c->head_dim);
    if (!c->family->multipliers)
        return 0;
    if (read_number(root, "embedding_multiplier", 1, &embedding, e) != 0 ||
        read_number(root, "residual_multiplier", 1, &residual, e) != 0 ||
        read_number(root, "attention_multiplier", 1, &scale, e) != 0 ||
        read_number(root, "logits_scaling", 1, &logits, e) != 0)
        return -1;
    c->embedding_multiplier = (float)embedding;
    c->residual_multiplier = (float)residual;
    c->attention_scale = (float)scale;
    c->logits_multiplier = (float)(1 / logits);
    return 0;
}

static int read_eos(const json_t *root, struct config *out, struct err *e)
{
    const json_t *value = json_object_get(root, "eos_token_id");
    if (absent(value))
        return 0;
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (count > CONFIG_EOS_MAX)
        return malformed("eos_token_id", "a token id or a list of at most 16", e);
    out->eos_count = 0;
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_integer(id) || json_integer_value(id) < 0)
            return malformed("eos_token_id", "a token id or a list of them", e);
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
    if (absent(value))
        return 0;
    if (!json_is_integer(value))
        return malformed("pad_token_id", "a token id or null", e);
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
    if (read_size(root, f->field_hidden, 0, CONFIG_DIMENSION_MAX, &c->hidden, e) != 0 ||
        read_size(root, f->field_layers, 0, CONFIG_LAYERS_MAX, &c->layers, e) != 0 ||
        read_size(root, f->field_heads, 0, CONFIG_DIMENSION_MAX, &c->heads, e) != 0 ||
        read_size(root, "vocab_size", 0, CONFIG_DIMENSION_MAX, &c->vocab, e) != 0 ||
        read_size(root, f->field_context, 0, CONFIG_CONTEXT_MAX, &c->context, e) != 0 ||
        read_size(root, f->field_intermediate, f->gated ? 0 : 4 * c->hidden, CONFIG_DIMENSION_MAX,
                  &c->intermediate, e) != 0 ||
        read_number(root, f->field_eps, f->eps_default, &eps, e) != 0 ||
        read_flag(root, "tie_word_embeddings", f->tied_default, &c->tied, e) != 0)
        return -1;
    c->eps = (float)eps;
    bool rotary = !f->learned_positions;
    /* null is not the same as left out: transformers then takes as many as heads */
    bool kv_null = json_is_null(json_object_get(root, "num_key_value_heads"));
    int kv_default = f->kv_heads_default && !kv_null ? f->kv_heads_default : c->heads;
    int dim_default = f->head_dim_default ? f->head_dim_default : c->hidden / c->heads;
    bool divided = !f->head_dim_default && (!rotary || absent(json_object_get(root, "head_dim")));
    if (divided && c->hidden % c->heads != 0)
        return malformed(f->field_heads, "a divisor of the hidden size", e);
    c->kv_heads = c->heads;
    c->head_dim = dim_default;
    if (rotary &&
        (read_size(root, "num_key_value_heads", kv_default, CONFIG_DIMENSION_MAX, &c->kv_heads, e) != 0 ||
         read_size(root, "head_dim", dim_default, CONFIG_DIMENSION_MAX, &c->head_dim, e) != 0))
        return -1;
    if (f->head_dim_divided && (long)c->head_dim * c->heads != c->hidden)
        return malformed("head_dim", "the hidden size divided by the heads", e);
    if (c->heads % c->kv_heads != 0)
        return malformed("num_key_value_heads", "a divisor of num_attention_heads", e);
    if ((long)c->heads * c->head_dim > CONFIG_DIMENSION_MAX)
        return malformed("head_dim", "smaller: heads x head_dim is beyond 1048576", e);
    if (rotary && c->head_dim % 2 != 0)
        return malformed("head_dim", "even", e);
    return 0;
}

static int read_activation(const json_t *root, const struct family *f, struct err *e)
{
    const json_t *value = json_object_get(root, f->field_activation);
    if (absent(value))
        return 0;
    if (!json_is_string(value))
        return malformed(f->field_activation, "a name", e);
    for (size_t i = 0; i < sizeof f->activations / sizeof *f->activations && f->activations[i]; i++)
        if (strcmp(json_string_value(value), f->activations[i]) == 0)
            return 0;
    return unsupported(f->field_activation, value, e);
}

static int read_biases(const json_t *root, struct config *c, struct err *e)
{
    const struct family *f = c->family;
    bool attention, mlp, qkv = false;
    if (read_flag(root, "attention_bias", false, &attention, e) != 0 ||
        read_flag(root, "mlp_bias", false, &mlp, e) != 0 ||
        (f->field_qkv_bias && read_flag(root, f->field_qkv_bias, false, &qkv, e) != 0))
        return -1;
    if (attention && !f->attention_bias_field)
        return unsupported("attention_bias", json_object_get(root, "attention_bias"), e);
    if (mlp && !f->mlp_bias_field)
        return unsupported("mlp_bias", json_object_get(root, "mlp_bias"), e);
    c->qkv_bias = f->qkv_bias || attention || qkv;
    c->o_bias = f->o_bias || attention;
    c->mlp_bias = f->mlp_bias || mlp;
    return 0;
}

static int read_decoder(const json_t *root, struct config *c, struct err *e)
{
    if (read_architecture(root, c, e) != 0 || check_switches(root, c->family, e) != 0 ||
        check_always(root, c->family, e) != 0 || check_unknown(root, c->family, e) != 0 ||
        read_activation(root, c->family, e) != 0 || read_biases(root, c, e) != 0 ||
        read_shapes(root, c, e) != 0 || read_multipliers(root, c, e) != 0 ||
        read_rotating_layers(root, c, e) != 0)
        return -1;
    if (!c->family->learned_positions && read_rope(root, c, e) != 0)
        return -1;
    if (read_window(root, c, e) != 0)
        return -1;
    return read_eos(root, c, e) == 0 ? read_pad(root, c, e) : -1;
}

static int read_mlp(const json_t *root, struct config *c, struct err *e)
{
    const json_t *sizes = json_object_get(root, "layer_sizes"),
                 *activation = json_object_get(root, "activation");
    size_t count = json_array_size(sizes);
    if (!json_is_array(sizes) || count < 2 || count > CONFIG_MLP_LAYERS_MAX + 1)
        return malformed("layer_sizes", "a list of 2 to 65 widths", e);
    for (size_t i = 0; i < count; i++) {
        const json_t *size = json_array_get(sizes, i);
        if (!json_is_integer(size) || json_integer_value(size) < 1 ||
            json_integer_value(size) > CONFIG_DIMENSION_MAX)
            return malformed("layer_sizes", "integers from 1 to 1048576", e);
        c->mlp_sizes[i] = (int)json_integer_value(size);
    }
    c->mlp_layers = (int)count - 1;
    if (!absent(activation) &&
        (!json_is_string(activation) || strcmp(json_string_value(activation), "relu") != 0))
        return unsupported("activation", activation, e);
    return check_unknown(root, c->family, e);
}

static int read_family(const json_t *root, struct config *c, struct err *e)
{
    const json_t *type = json_object_get(root, "model_type");
    if (!json_is_string(type))
        return malformed("model_type", "a name", e);
    c->family = family_find(json_string_value(type));
    if (!c->family) {
        char names[200];
        family_names(names, sizeof names);
        unsupported("model_type", type, e);
        return err_hint(e, "Supported: %s.", names);
    }
    return c->family->numeric ? read_mlp(root, c, e) : read_decoder(root, c, e);
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
