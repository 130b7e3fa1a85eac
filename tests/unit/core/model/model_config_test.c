/* config.json: what is read from it in both spellings of transformers, and what is refused by which name. */
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/model/config/config_read.h"
#include "core/model/generation.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

/* ---- configs: a family's smallest one, and a patch ---- */

#define ROTARY                                                                                               \
    "\"hidden_size\": 64, \"num_hidden_layers\": 3, \"num_attention_heads\": 8, \"num_key_value_heads\": 2," \
    "\"intermediate_size\": 160, \"vocab_size\": 320, \"max_position_embeddings\": 256"

static const struct {
    const char *name, *config;
} bases[] = {
    {"llama", "{\"model_type\": \"llama\", " ROTARY "}"},
    {"mistral", "{\"model_type\": \"mistral\", \"sliding_window\": null, " ROTARY "}"},
    {"qwen2", "{\"model_type\": \"qwen2\", " ROTARY "}"},
    {"qwen3", "{\"model_type\": \"qwen3\", " ROTARY "}"},
    {"gpt2", "{\"model_type\": \"gpt2\", \"n_embd\": 64, \"n_layer\": 3, \"n_head\": 4, \"n_positions\": 256,"
             "\"vocab_size\": 320}"},
    {"starcoder2", "{\"model_type\": \"starcoder2\", " ROTARY "}"},
    {"gemma2", "{\"model_type\": \"gemma2\", " ROTARY "}"},
    {"gemma3_text", "{\"model_type\": \"gemma3_text\", " ROTARY "}"},
    {"phi3", "{\"model_type\": \"phi3\", " ROTARY "}"},
    {"olmo3", "{\"model_type\": \"olmo3\", " ROTARY "}"},
    {"exaone4", "{\"model_type\": \"exaone4\", " ROTARY "}"},
    {"smollm3", "{\"model_type\": \"smollm3\", " ROTARY "}"},
    {"ministral", "{\"model_type\": \"ministral\", " ROTARY "}"},
    {"ministral3", "{\"model_type\": \"ministral3\", " ROTARY "}"},
    {"stablelm", "{\"model_type\": \"stablelm\", " ROTARY "}"},
    {"mlp", "{\"model_type\": \"mlp\", \"layer_sizes\": [16, 128, 64, 10]}"},
};

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!value)
        fail_msg("%s: %s", text, error.text);
    return value;
}

/* The base with the patch's fields; a field that is "-" is taken out. */
static char *patched(const char *base, const char *patch)
{
    json_t *root = NULL, *changes = parse(patch), *value;
    const char *field;
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++)
        if (strcmp(bases[i].name, base) == 0)
            root = parse(bases[i].config);
    json_object_foreach(changes, field, value)
    {
        if (json_is_string(value) && strcmp(json_string_value(value), "-") == 0)
            json_object_del(root, field);
        else
            json_object_set(root, field, value);
    }
    char *text = json_dumps(root, JSON_ENCODE_ANY);
    json_decref(root);
    json_decref(changes);
    return text;
}

static int read_config(const char *base, const char *patch, struct config *out, struct err *e)
{
    char *directory = scratch_new(), *text = patched(base, patch);
    scratch_write(directory, "config.json", text, strlen(text));
    int result = config_read(out, directory, e);
    scratch_remove(directory);
    free(text);
    return result;
}

static void accept(const char *base, const char *patch, struct config *c)
{
    struct err e;
    if (read_config(base, patch, c, &e) != 0)
        fail_msg("%s %s: %s", base, patch, e.message);
}

/* ---- accepted ---- */

#define LLAMA3_SCALING                                                                                 \
    "\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0," \
    "\"original_max_position_embeddings\": 64"

static const struct {
    const char *base, *patch;
    double theta;
    bool llama3;
} ropes[] = {
    {"llama", "{}", 10000, false},
    {"llama", "{\"rope_theta\": 500000.0}", 500000, false},
    {"llama", "{\"rope_theta\": 500000, \"rope_scaling\": null}", 500000, false},
    {"llama", "{\"rope_parameters\": {\"rope_theta\": 1e6, \"rope_type\": \"default\"}}", 1e6, false},
    {"llama", "{\"rope_theta\": 5e5, \"rope_scaling\": {" LLAMA3_SCALING "}}", 5e5, true},
    {"llama", "{\"rope_parameters\": {\"rope_theta\": 5e5, " LLAMA3_SCALING "}}", 5e5, true},
    {"llama", "{\"rope_scaling\": {\"type\": \"default\"}}", 10000, false},
    {"llama", "{\"rope_scaling\": {\"rope_type\": \"default\", \"partial_rotary_factor\": 1.0}}", 10000,
     false},
    {"mistral", "{\"rope_theta\": 1000000.0, \"torch_dtype\": \"bfloat16\"}", 1e6, false},
    {"mistral", "{\"rope_parameters\": {\"rope_theta\": 1e6}, \"dtype\": \"bfloat16\"}", 1e6, false},
    {"qwen2", "{\"rope_theta\": 1e6}", 1e6, false},
    {"qwen2", "{\"rope_parameters\": {\"rope_theta\": 1e6, \"rope_type\": \"default\"}}", 1e6, false},
    {"qwen3", "{\"rope_theta\": 1000000}", 1e6, false},
    {"qwen3", "{\"rope_parameters\": {\"rope_theta\": 1000000, \"rope_type\": \"default\"}}", 1e6, false},
};

static void both_spellings_of_rope(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ropes / sizeof *ropes; i++) {
        struct config c;
        accept(ropes[i].base, ropes[i].patch, &c);
        assert_true(c.rope[0].theta == ropes[i].theta);
        assert_int_equal(c.rope[0].kind == ROPE_LLAMA3, ropes[i].llama3);
        if (ropes[i].llama3) {
            assert_true(c.rope[0].factor == 8 && c.rope[0].low_freq_factor == 1);
            assert_true(c.rope[0].high_freq_factor == 4 && c.rope[0].original_context == 64);
        }
    }
}

static const struct {
    const char *base, *patch;
    int kv_heads, head_dim, intermediate, tied;
    float eps;
} shapes[] = {
    {"llama", "{}", 2, 8, 160, 0, 1e-6f},
    {"llama", "{\"num_key_value_heads\": \"-\"}", 8, 8, 160, 0, 1e-6f},
    {"llama", "{\"num_key_value_heads\": null, \"head_dim\": null}", 8, 8, 160, 0, 1e-6f},
    {"llama", "{\"head_dim\": 32, \"rms_norm_eps\": 1e-5}", 2, 32, 160, 0, 1e-5f}, /* heads * dim != hidden */
    {"llama", "{\"num_attention_heads\": 10, \"head_dim\": 2}", 2, 2, 160, 0, 1e-6f},
    {"llama", "{\"tie_word_embeddings\": true}", 2, 8, 160, 1, 1e-6f},
    {"mistral", "{\"num_key_value_heads\": \"-\"}", 8, 8, 160, 0, 1e-6f}, /* the family's default */
    {"mistral", "{\"num_attention_heads\": 16, \"num_key_value_heads\": \"-\"}", 8, 4, 160, 0, 1e-6f},
    {"mistral", "{\"num_attention_heads\": 16, \"num_key_value_heads\": null}", 16, 4, 160, 0, 1e-6f},
    {"qwen2", "{\"num_attention_heads\": 32, \"num_key_value_heads\": \"-\"}", 32, 2, 160, 0, 1e-6f},
    {"qwen3", "{}", 2, 128, 160, 0, 1e-6f},
    {"qwen3", "{\"head_dim\": 16, \"tie_word_embeddings\": true}", 2, 16, 160, 1, 1e-6f},
    {"gpt2", "{}", 4, 16, 256, 1, 1e-5f},
    {"gpt2", "{\"n_inner\": null, \"n_head\": 64}", 64, 1, 256, 1, 1e-5f}, /* an odd head */
    {"gpt2", "{\"n_inner\": 100, \"layer_norm_epsilon\": 1e-3, \"tie_word_embeddings\": false}", 4, 16, 100,
     0, 1e-3f},
};

static void shapes_and_their_defaults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        struct config c;
        accept(shapes[i].base, shapes[i].patch, &c);
        assert_string_equal(c.family->name, shapes[i].base);
        assert_int_equal(c.hidden, 64);
        assert_int_equal(c.layers, 3);
        assert_int_equal(c.vocab, 320);
        assert_int_equal(c.context, 256);
        assert_int_equal(c.kv_heads, shapes[i].kv_heads);
        assert_int_equal(c.head_dim, shapes[i].head_dim);
        assert_int_equal(c.intermediate, shapes[i].intermediate);
        assert_int_equal(c.tied, shapes[i].tied);
        assert_true(c.eps == shapes[i].eps);
    }
    struct config c;
    accept("mlp", "{\"activation\": \"relu\"}", &c);
    assert_string_equal(c.family->name, "mlp");
    assert_true(c.family->numeric);
    assert_int_equal(c.mlp_layers, 3);
    assert_int_equal(c.mlp_sizes[0], 16);
    assert_int_equal(c.mlp_sizes[3], 10);
}

/* What says nothing about the computation, or says it in vain. */
static const struct {
    const char *base, *patch;
} harmless[] = {
    {"llama", "{\"architectures\": [\"LlamaForCausalLM\"], \"transformers_version\": \"5.23.0\"}"},
    {"llama",
     "{\"attention_bias\": false, \"mlp_bias\": false, \"hidden_act\": \"silu\", \"pretraining_tp\": 1}"},
    {"llama", "{\"attention_bias\": null, \"attention_dropout\": 0.1, \"use_cache\": true}"},
    {"llama", "{\"quantization_config\": null, \"num_local_experts\": 0, \"some_new_flag\": false}"},
    {"llama", "{\"some_empty_thing\": {}, \"another\": [], \"a_number\": 3, \"a_word\": \"x\"}"},
    {"llama", "{\"sliding_window\": 16}"}, /* the family has none */
    {"mistral", "{\"architectures\": [\"MistralForCausalLM\"], \"sliding_window\": 256}"},
    {"mistral", "{\"sliding_window\": 4096}"},
    {"mistral", "{\"sliding_window\": \"-\"}"}, /* 4096 by default, and the context is 256 */
    {"mistral", "{\"sliding_window\": 300, \"layer_types\": "
                "[\"sliding_attention\", \"sliding_attention\", \"sliding_attention\"]}"},
    {"qwen2", "{\"architectures\": [\"Qwen2ForCausalLM\"], \"sliding_window\": 16, "
              "\"use_sliding_window\": false, \"max_window_layers\": 0}"},
    {"qwen2", "{\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 3}"},
    {"qwen2", "{\"sliding_window\": 16, \"use_sliding_window\": true}"}, /* from layer 28 on */
    {"qwen2",
     "{\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 0, \"layer_types\": "
     "[\"full_attention\", \"full_attention\", \"full_attention\"]}"},
    {"qwen2", "{\"max_position_embeddings\": 4096, \"use_sliding_window\": true, \"max_window_layers\": 0}"},
    {"qwen3", "{\"architectures\": [\"Qwen3ForCausalLM\"], \"attention_bias\": false, \"layer_types\": "
              "[\"full_attention\", \"full_attention\", \"full_attention\"]}"},
    {"llama", "{\"attention_bias\": true, \"mlp_bias\": true, \"hidden_act\": \"swish\"}"},
    {"qwen3", "{\"attention_bias\": true, \"architectures\": [\"Qwen3Model\"]}"},
    {"gpt2", "{\"activation_function\": \"gelu_pytorch_tanh\"}"},
    {"gpt2", "{\"activation_function\": \"gelu_fast\", \"architectures\": [\"GPT2Model\"]}"},
    {"gpt2", "{\"architectures\": [\"GPT2LMHeadModel\"], \"activation_function\": \"gelu_new\", "
             "\"scale_attn_weights\": true, \"reorder_and_upcast_attn\": false, \"summary_use_proj\": true, "
             "\"task_specific_params\": {\"text-generation\": {\"do_sample\": true}}, \"n_ctx\": 256}"},
};

static void architectures_say_what_a_model_gives(void **state)
{
    (void)state;
    static const struct {
        const char *base, *architecture;
        enum head_kind labels;
        bool bare;
    } cases[] = {
        {"llama", "LlamaForCausalLM", HEAD_NONE, false},
        {"llama", "LlamaModel", HEAD_NONE, true},
        {"llama", "LlamaForSequenceClassification", HEAD_TEXT, false},
        {"llama", "LlamaForTokenClassification", HEAD_TOKENS, false},
        {"qwen3", "Qwen3ForSequenceClassification", HEAD_TEXT, false},
        {"gpt2", "GPT2LMHeadModel", HEAD_NONE, false},
        {"gpt2", "GPT2ForSequenceClassification", HEAD_TEXT, false},
        {"gpt2", "GPT2ForTokenClassification", HEAD_TOKENS, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c;
        char patch[128];
        snprintf(patch, sizeof patch, "{\"architectures\": [\"%s\"]}", cases[i].architecture);
        accept(cases[i].base, patch, &c);
        assert_int_equal(c.labels, cases[i].labels);
        assert_int_equal(c.bare, cases[i].bare);
    }
}

static void harmless_fields_pass(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++) {
        struct config c;
        accept(harmless[i].base, harmless[i].patch, &c);
    }
}

#define SLIDING "\"sliding_attention\""
#define FULL "\"full_attention\""

/* Which layers see a window, and how long it is: `slides` has a letter for each of three layers. */
static const struct {
    const char *base, *patch;
    int window;
    const char *slides;
} windows[] = {
    {"llama", "{\"sliding_window\": 16}", 0, NULL}, /* the family has none */
    {"mistral", "{\"sliding_window\": null}", 0, NULL},
    {"phi3", "{}", 0, NULL},
    {"phi3", "{\"sliding_window\": 16}", 16, "sss"},
    {"gemma2", "{\"sliding_window\": 16}", 16, "sfs"},
    {"gemma2", "{\"max_position_embeddings\": 4097}", 4096, "sfs"},
    {"gemma3_text", "{\"sliding_window\": 16}", 16, "sss"},
    {"gemma3_text", "{\"sliding_window\": 16, \"sliding_window_pattern\": 2}", 16, "sfs"},
    {"olmo3", "{\"sliding_window\": 16, \"num_hidden_layers\": 4}", 16, "sss"},
    {"exaone4", "{\"sliding_window\": 16, \"sliding_window_pattern\": 3}", 16, "ssf"},
    {"exaone4", "{\"sliding_window\": null}", 0, NULL},
    {"smollm3", "{\"sliding_window\": 16, \"use_sliding_window\": true, \"no_rope_layer_interval\": 2}", 16,
     "fsf"},
    {"ministral", "{\"sliding_window\": 16, \"layer_types\": [" FULL ", " SLIDING ", " FULL "]}", 16, "fsf"},
    {"starcoder2", "{\"use_bias\": true}", 0, NULL}, /* none by default */
    {"starcoder2", "{\"sliding_window\": 24, \"norm_epsilon\": 1e-05}", 24, "sss"},
    {"mistral", "{\"sliding_window\": 255}", 255, "sss"},
    {"mistral", "{\"sliding_window\": 256}", 0, NULL}, /* the context is no longer */
    {"mistral", "{\"sliding_window\": \"-\"}", 0, NULL},
    {"mistral", "{\"sliding_window\": \"-\", \"max_position_embeddings\": 4097}", 4096, "sss"},
    {"mistral", "{\"sliding_window\": 1, \"layer_types\": [" SLIDING ", " SLIDING ", " SLIDING "]}", 1,
     "sss"},
    {"mistral", "{\"sliding_window\": 16, \"max_window_layers\": 2}", 16, "sss"}, /* qwen's field */
    {"qwen2", "{\"sliding_window\": 16}", 0, NULL},
    {"qwen2", "{\"sliding_window\": 16, \"use_sliding_window\": false, \"max_window_layers\": 0}", 0, NULL},
    {"qwen2", "{\"sliding_window\": 16, \"use_sliding_window\": true}", 0, NULL}, /* from layer 28 on */
    {"qwen2", "{\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 3}", 0, NULL},
    {"qwen2", "{\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 2}", 16, "ffs"},
    {"qwen3", "{\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 0}", 16, "sss"},
    {"qwen3", "{\"max_position_embeddings\": 4097, \"use_sliding_window\": true, \"max_window_layers\": 0}",
     4096, "sss"},
    {"qwen2",
     "{\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 3, \"layer_types\": "
     "[" SLIDING ", " FULL ", " SLIDING "]}",
     16, "sfs"},
    {"qwen2",
     "{\"sliding_window\": 16, \"use_sliding_window\": true, \"max_window_layers\": 0, \"layer_types\": "
     "[" FULL ", " FULL ", " FULL "]}",
     0, NULL},
};

static void windows_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        struct config c;
        accept(windows[i].base, windows[i].patch, &c);
        if (c.window != windows[i].window)
            fail_msg("%s: window %d, expected %d", windows[i].patch, c.window, windows[i].window);
        for (int layer = 0; c.window && layer < 3; layer++)
            if (c.slides[layer] != (windows[i].slides[layer] == 's'))
                fail_msg("%s: layer %d", windows[i].patch, layer);
    }
}

/* Which rotation each of three layers has: 0, 1, or "-" for none. */
static const struct {
    const char *base, *patch, *ropes;
} rotations[] = {
    {"llama", "{}", "000"},
    {"gpt2", "{}", "---"},
    {"smollm3", "{\"no_rope_layer_interval\": 2}", "0-0"},
    {"smollm3", "{\"no_rope_layers\": [0, 1, 0, 1]}", "-0-"},
    {"exaone4", "{\"sliding_window\": 16, \"sliding_window_pattern\": 3}", "00-"},
    {"exaone4", "{\"sliding_window_pattern\": 3}", "00-"}, /* also where the window does not bite */
    {"exaone4", "{\"sliding_window\": null}", "000"},
    {"gemma3_text", "{\"sliding_window_pattern\": 2}", "101"},
    {"gemma3_text", "{\"layer_types\": [" FULL ", " FULL ", " SLIDING "]}", "001"},
};

static void layers_rotate(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rotations / sizeof *rotations; i++) {
        struct config c;
        accept(rotations[i].base, rotations[i].patch, &c);
        for (int layer = 0; layer < 3; layer++)
            if (c.rope_of[layer] != (rotations[i].ropes[layer] == '-' ? -1 : rotations[i].ropes[layer] - '0'))
                fail_msg("%s %s: layer %d", rotations[i].base, rotations[i].patch, layer);
    }
}

/* What stretches beyond the context of training, and what the context is then. */
static void contexts_grow(void **state)
{
    (void)state;
    struct config c;
    accept("llama", "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4}}", &c);
    assert_int_equal(c.context, 1024);
    assert_true(rope_is_stretched(&c.rope[0], 257) && !rope_is_stretched(&c.rope[0], 256));
    accept("qwen2", "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 4}}", &c);
    assert_int_equal(c.context, 1024);
    accept("qwen2", "{\"rope_scaling\": {\"type\": \"yarn\", \"original_max_position_embeddings\": 64}}", &c);
    assert_int_equal(c.context, 256);
    assert_true(c.rope[0].factor == 4);
    accept("phi3",
           "{\"original_max_position_embeddings\": 64, \"rope_scaling\": {\"type\": \"su\", "
           "\"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 2, 3, 4]}}",
           &c);
    assert_int_equal(c.context, 256);
    assert_true(c.rope[0].whole && c.rope[0].original_context == 64);
    assert_true(fabs(c.rope[0].magnitude - sqrt(1 + log(4) / log(64))) < 1e-12);
    assert_true(rope_frequency(&c.rope[0], 3, 64) == 4 * rope_frequency(&c.rope[0], 3, 65));
}

static void fixtures_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *name, *family;
        int heads, kv_heads, head_dim, eos;
    } cases[] = {{"llama", "llama", 8, 2, 8, 2},      {"llama3-rope", "llama", 4, 1, 32, 2},
                 {"mistral", "mistral", 8, 2, 16, 2}, {"qwen2", "qwen2", 8, 2, 8, 2},
                 {"qwen3", "qwen3", 4, 2, 32, 2},     {"gpt2", "gpt2", 4, 4, 16, 2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct config c;
        struct err e;
        assert_int_equal(config_read(&c, fixture_path("models/%s", cases[i].name), &e), 0);
        assert_string_equal(c.family->name, cases[i].family);
        assert_int_equal(c.heads, cases[i].heads);
        assert_int_equal(c.kv_heads, cases[i].kv_heads);
        assert_int_equal(c.head_dim, cases[i].head_dim);
        assert_int_equal(c.eos_count, 1);
        assert_int_equal(c.eos[0], cases[i].eos);
    }
}

/* ---- refused ---- */

static const struct {
    const char *base, *patch, *code, *param;
} refused[] = {
    /* other computations */
    {"llama", "{\"model_type\": \"mamba\"}", "model_unsupported", "model_type"},
    {"llama", "{\"model_type\": \"mixtral\"}", "model_unsupported", "model_type"},
    {"llama", "{\"architectures\": [\"LlamaForQuestionAnswering\"]}", "model_unsupported", "architectures"},
    {"llama", "{\"architectures\": [\"LlamaForSequenceClassificationX\"]}", "model_unsupported",
     "architectures"},
    {"llama", "{\"architectures\": [\"Qwen2ForTokenClassification\"]}", "model_unsupported", "architectures"},
    {"llama", "{\"architectures\": [\"Llama\"]}", "model_unsupported", "architectures"},
    {"qwen2", "{\"architectures\": [\"LlamaForCausalLM\"]}", "model_unsupported", "architectures"},
    {"mistral", "{\"attention_bias\": true}", "model_unsupported", "attention_bias"},
    {"gpt2", "{\"attention_bias\": true}", "model_unsupported", "attention_bias"},
    {"qwen3", "{\"mlp_bias\": true}", "model_unsupported", "mlp_bias"},
    {"llama", "{\"attention_bias\": \"qkv\"}", "model_malformed", "attention_bias"},
    {"llama", "{\"architectures\": [\"GPT2Model\"]}", "model_unsupported", "architectures"},
    {"llama", "{\"hidden_act\": \"gelu\"}", "model_unsupported", "hidden_act"},
    {"mistral", "{\"hidden_act\": \"relu\"}", "model_unsupported", "hidden_act"},
    {"gpt2", "{\"activation_function\": \"gelu\"}", "model_unsupported", "activation_function"},
    {"gpt2", "{\"activation_function\": \"relu\"}", "model_unsupported", "activation_function"},
    {"gpt2", "{\"scale_attn_weights\": false}", "model_unsupported", "scale_attn_weights"},
    {"starcoder2", "{\"use_bias\": 0}", "model_malformed", "use_bias"},
    {"starcoder2", "{\"hidden_act\": \"gelu\"}", "model_unsupported", "hidden_act"},
    {"llama", "{\"use_bias\": true}", "model_unsupported", "use_bias"},
    {"gpt2", "{\"scale_attn_by_inverse_layer_idx\": true}", "model_unsupported",
     "scale_attn_by_inverse_layer_idx"},
    {"gpt2", "{\"reorder_and_upcast_attn\": true}", "model_unsupported", "reorder_and_upcast_attn"},
    {"gpt2", "{\"add_cross_attention\": true}", "model_unsupported", "add_cross_attention"},
    {"llama", "{\"quantization_config\": {\"quant_method\": \"gptq\", \"bits\": 4}}", "model_unsupported",
     "quantization_config"},
    {"llama", "{\"auto_map\": {\"AutoConfig\": \"x.Y\"}}", "model_unsupported", "auto_map"},
    {"llama", "{\"num_local_experts\": 8}", "model_unsupported", "num_local_experts"},
    {"qwen2", "{\"num_experts\": 60}", "model_unsupported", "num_experts"},
    {"llama", "{\"n_routed_experts\": 64}", "model_unsupported", "n_routed_experts"},
    {"qwen3", "{\"moe_intermediate_size\": 768}", "model_unsupported", "moe_intermediate_size"},
    {"llama", "{\"final_logit_softcapping\": 30.0}", "model_unsupported", "final_logit_softcapping"},
    {"llama", "{\"logit_scale\": 0.5}", "model_unsupported", "logit_scale"},
    {"llama", "{\"some_new_flag\": true}", "model_unsupported", "some_new_flag"},
    {"qwen2", "{\"vision_config\": {\"depth\": 3}}", "model_unsupported", "vision_config"},
    {"llama", "{\"no_rope_layers\": [1, 0, 1]}", "model_unsupported", "no_rope_layers"},
    {"mlp", "{\"activation\": \"gelu\"}", "model_unsupported", "activation"},
    {"mlp", "{\"batch_norm\": true}", "model_unsupported", "batch_norm"},

    /* sliding windows */
    {"mistral", "{\"sliding_window\": 0}", "model_unsupported", "sliding_window"},
    {"mistral", "{\"sliding_window\": -4096}", "model_unsupported", "sliding_window"},
    {"qwen3", "{\"sliding_window\": 0, \"use_sliding_window\": true}", "model_unsupported", "sliding_window"},
    {"mistral",
     "{\"sliding_window\": 16, \"layer_types\": "
     "[\"sliding_attention\", \"full_attention\", \"sliding_attention\"]}",
     "model_unsupported", "layer_types"},
    {"llama",
     "{\"sliding_window\": 16, \"layer_types\": "
     "[\"full_attention\", \"sliding_attention\", \"full_attention\"]}",
     "model_unsupported", "layer_types"},
    {"qwen2",
     "{\"sliding_window\": null, \"use_sliding_window\": true, \"layer_types\": "
     "[\"full_attention\", \"sliding_attention\", \"full_attention\"]}",
     "model_unsupported", "layer_types"},
    {"qwen2",
     "{\"sliding_window\": 16, \"layer_types\": "
     "[\"full_attention\", \"sliding_attention\", \"full_attention\"]}",
     "model_unsupported", "layer_types"},
    {"qwen3", "{\"layer_types\": [\"full_attention\", \"full_attention\", \"linear_attention\"]}",
     "model_unsupported", "layer_types"},
    {"qwen3", "{\"layer_types\": [\"full_attention\"]}", "model_malformed", "layer_types"},
    {"qwen3", "{\"layer_types\": \"full_attention\"}", "model_malformed", "layer_types"},
    {"qwen3", "{\"layer_types\": [1, 2, 3]}", "model_unsupported", "layer_types"},
    {"mistral", "{\"sliding_window\": \"4096\"}", "model_malformed", "sliding_window"},
    {"qwen2", "{\"use_sliding_window\": 1}", "model_malformed", "use_sliding_window"},
    {"qwen2", "{\"max_window_layers\": \"all\"}", "model_malformed", "max_window_layers"},

    /* rope */
    {"llama", "{\"rope_scaling\": {\"type\": \"linear\"}}", "model_malformed", "factor"},
    {"llama", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0, \"beta_fast\": 32}}",
     "model_unsupported", "rope_scaling.beta_fast"},
    {"qwen2", "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 1e5}}", "model_malformed", "factor"},
    {"llama", "{\"rope_scaling\": {\"rope_type\": \"dynamic\"}}", "model_malformed", "factor"},
    {"llama", "{\"rope_scaling\": {\"rope_type\": \"dynamic\", \"factor\": 1e5}}", "model_malformed",
     "factor"},
    {"llama", "{\"rope_scaling\": {\"rope_type\": \"proportional\"}}", "model_unsupported",
     "rope_scaling.rope_type"},
    {"phi3", "{\"rope_scaling\": {\"type\": \"su\", \"long_factor\": [1, 1, 1, 1]}}", "model_malformed",
     "short_factor"},
    {"phi3",
     "{\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1, 1, 1, 1], \"long_factor\": [1, 1, "
     "1]}}",
     "model_malformed", "long_factor"},
    {"phi3",
     "{\"rope_scaling\": {\"type\": \"yarn\", \"short_factor\": [1, 1, 1, 0], \"long_factor\": [1, 1, 1, "
     "1]}}",
     "model_malformed", "short_factor"},
    {"gemma3_text", "{\"rope_parameters\": {\"rope_theta\": 1e6}}", "model_unsupported",
     "rope_parameters.rope_theta"},
    {"gemma3_text", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 8}}", "model_unsupported",
     "rope_scaling"},
    {"gemma3_text",
     "{\"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": 8}, \"rope_parameters\": "
     "{\"full_attention\": {\"rope_type\": \"default\"}}}",
     "model_unsupported", "rope_scaling"},
    {"gemma3_text", "{\"use_bidirectional_attention\": true}", "model_unsupported",
     "use_bidirectional_attention"},
    {"gemma3_text", "{\"query_pre_attn_scalar\": 0}", "model_malformed", "query_pre_attn_scalar"},
    {"gemma2", "{\"final_logit_softcapping\": -30}", "model_malformed", "final_logit_softcapping"},
    {"olmo3", "{\"rope_theta\": 10000}", "model_unsupported", "rope_theta"},
    {"ministral3", "{}", "model_malformed", "rope_parameters"},
    {"ministral3", "{\"rope_parameters\": {\"rope_type\": \"yarn\", \"factor\": 2}}", "model_malformed",
     "llama_4_scaling_beta"},
    {"stablelm", "{\"qk_layernorm\": 1}", "model_malformed", "qk_layernorm"},
    {"exaone4", "{\"sliding_window_pattern\": \"LLLG\"}", "model_malformed", "sliding_window_pattern"},
    {"llama", "{\"rope_parameters\": {\"rope_type\": \"longrope\", \"rope_theta\": 1e4}}", "model_malformed",
     "short_factor"},
    {"qwen2", "{\"rope_scaling\": {\"type\": \"default\", \"mrope_section\": [16, 24, 24]}}",
     "model_unsupported", "rope_scaling.mrope_section"},
    {"llama", "{\"rope_parameters\": {\"full_attention\": {\"rope_theta\": 1e4}}}", "model_unsupported",
     "rope_parameters.full_attention"},
    {"llama", "{\"rope_scaling\": {\"rope_type\": 3}}", "model_unsupported", "rope_scaling.rope_type"},
    {"llama", "{\"rope_scaling\": \"linear\"}", "model_malformed", "rope_scaling"},
    {"llama", "{\"rope_scaling\": [1]}", "model_malformed", "rope_scaling"},
    {"llama", "{\"partial_rotary_factor\": 0.5}", "model_unsupported", "partial_rotary_factor"},
    {"llama", "{\"rope_parameters\": {\"rope_theta\": 1e4, \"partial_rotary_factor\": 0.25}}",
     "model_unsupported", "partial_rotary_factor"},
    {"llama", "{\"rope_theta\": 0}", "model_malformed", "rope_theta"},
    {"llama", "{\"rope_theta\": -1e4}", "model_malformed", "rope_theta"},
    {"llama", "{\"rope_theta\": 1e300}", "model_malformed", "rope_theta"},
    {"llama", "{\"rope_theta\": \"10000\"}", "model_malformed", "rope_theta"},
    {"llama", "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0}}", "model_malformed",
     "low_freq_factor"},
    {"llama",
     "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 4.0, "
     "\"high_freq_factor\": 4.0, \"original_max_position_embeddings\": 64}}",
     "model_malformed", "high_freq_factor"},

    /* sizes */
    {"llama", "{\"hidden_size\": \"-\"}", "model_malformed", "hidden_size"},
    {"llama", "{\"hidden_size\": 0}", "model_malformed", "hidden_size"},
    {"llama", "{\"hidden_size\": -64}", "model_malformed", "hidden_size"},
    {"llama", "{\"hidden_size\": 64.0}", "model_malformed", "hidden_size"},
    {"llama", "{\"hidden_size\": \"64\"}", "model_malformed", "hidden_size"},
    {"llama", "{\"hidden_size\": 1048577}", "model_malformed", "hidden_size"},
    {"llama", "{\"hidden_size\": 4294967360}", "model_malformed", "hidden_size"}, /* 64 in 32 bits */
    {"llama", "{\"num_hidden_layers\": 0}", "model_malformed", "num_hidden_layers"},
    {"llama", "{\"num_hidden_layers\": 1025}", "model_malformed", "num_hidden_layers"},
    {"llama", "{\"intermediate_size\": 0}", "model_malformed", "intermediate_size"},
    {"llama", "{\"intermediate_size\": null}", "model_malformed", "intermediate_size"},
    {"llama", "{\"vocab_size\": 9223372036854775807}", "model_malformed", "vocab_size"},
    {"llama", "{\"vocab_size\": \"-\"}", "model_malformed", "vocab_size"},
    {"llama", "{\"max_position_embeddings\": 2097153}", "model_malformed", "max_position_embeddings"},
    {"llama", "{\"max_position_embeddings\": []}", "model_malformed", "max_position_embeddings"},
    {"gpt2", "{\"n_positions\": 0}", "model_malformed", "n_positions"},
    {"gpt2", "{\"n_inner\": 0}", "model_malformed", "n_inner"},
    {"llama", "{\"rms_norm_eps\": 0}", "model_malformed", "rms_norm_eps"},
    {"llama", "{\"rms_norm_eps\": \"1e-5\"}", "model_malformed", "rms_norm_eps"},
    {"gpt2", "{\"layer_norm_epsilon\": -1e-5}", "model_malformed", "layer_norm_epsilon"},

    /* heads */
    {"llama", "{\"num_attention_heads\": 0}", "model_malformed", "num_attention_heads"},
    {"llama", "{\"num_attention_heads\": 6, \"num_key_value_heads\": 2}", "model_malformed",
     "num_attention_heads"}, /* 64 / 6 */
    {"llama", "{\"num_attention_heads\": 128, \"num_key_value_heads\": 2}", "model_malformed",
     "num_attention_heads"},
    {"llama", "{\"num_key_value_heads\": 3}", "model_malformed", "num_key_value_heads"},
    {"llama", "{\"num_key_value_heads\": 16}", "model_malformed", "num_key_value_heads"},
    {"llama", "{\"num_key_value_heads\": 0}", "model_malformed", "num_key_value_heads"},
    {"llama", "{\"head_dim\": 7}", "model_malformed", "head_dim"},
    {"llama", "{\"head_dim\": 0}", "model_malformed", "head_dim"},
    {"llama", "{\"num_attention_heads\": 1024, \"head_dim\": 1048576}", "model_malformed", "head_dim"},
    {"llama", "{\"num_attention_heads\": 64}", "model_malformed", "head_dim"}, /* 1: nothing to rotate */
    {"qwen2", "{\"num_key_value_heads\": \"-\"}", "model_malformed",
     "num_key_value_heads"}, /* 32 by default */
    {"gpt2", "{\"n_head\": 5}", "model_malformed", "n_head"},
    {"gpt2", "{\"n_head\": 65}", "model_malformed", "n_head"},

    /* types */
    {"llama", "{\"model_type\": \"-\"}", "model_malformed", "model_type"},
    {"llama", "{\"model_type\": 3}", "model_malformed", "model_type"},
    {"llama", "{\"architectures\": \"LlamaForCausalLM\"}", "model_malformed", "architectures"},
    {"llama", "{\"architectures\": [\"LlamaForCausalLM\", \"LlamaModel\"]}", "model_malformed",
     "architectures"},
    {"llama", "{\"architectures\": []}", "model_malformed", "architectures"},
    {"llama", "{\"tie_word_embeddings\": 1}", "model_malformed", "tie_word_embeddings"},
    {"llama", "{\"hidden_act\": 3}", "model_malformed", "hidden_act"},
    {"mlp", "{\"layer_sizes\": \"-\"}", "model_malformed", "layer_sizes"},
    {"mlp", "{\"layer_sizes\": [16]}", "model_malformed", "layer_sizes"},
    {"mlp", "{\"layer_sizes\": [16, 0]}", "model_malformed", "layer_sizes"},
    {"mlp", "{\"layer_sizes\": [16, 2.5]}", "model_malformed", "layer_sizes"},
    {"mlp", "{\"layer_sizes\": [16, 1048577]}", "model_malformed", "layer_sizes"},
    {"mlp", "{\"layer_sizes\": {\"in\": 3}}", "model_malformed", "layer_sizes"},

    /* end tokens */
    {"llama", "{\"eos_token_id\": -1}", "model_malformed", "eos_token_id"},
    {"llama", "{\"eos_token_id\": \"2\"}", "model_malformed", "eos_token_id"},
    {"llama", "{\"eos_token_id\": [2, 2.0]}", "model_malformed", "eos_token_id"},
    {"llama", "{\"eos_token_id\": [0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]}", "model_malformed",
     "eos_token_id"},
};

static void refused_fields_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        struct config c;
        struct err e = {.code = "accepted"};
        memset(&c, 'x', sizeof c);
        struct config before = c;
        int result = read_config(refused[i].base, refused[i].patch, &c, &e);
        if (strcmp(e.code, refused[i].code) != 0 || strcmp(e.param, refused[i].param) != 0)
            fail_msg("%s %s: %s, param \"%s\" (%s); expected %s, \"%s\"", refused[i].base, refused[i].patch,
                     e.code, e.param, e.message, refused[i].code, refused[i].param);
        assert_int_equal(result, -1);
        assert_memory_equal(&c, &before, sizeof c);
        const char *leaf = strrchr(refused[i].param, '.');
        assert_non_null(strstr(e.message, leaf ? leaf + 1 : refused[i].param));
    }
}

static void broken_texts_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *code;
    } cases[] = {
        {NULL, "io_error"}, /* no config.json */
        {"", "model_malformed"},
        {"[]", "model_malformed"},
        {"{\"model_type\": \"llama\"", "model_malformed"},
        {"{\"model_type\": \"llama\", \"model_type\": \"gpt2\"}", "model_malformed"},
        {"{\"model_type\": \"ll\\u0000ama\"}", "model_malformed"},
        {"{\"model_type\": \"\xff\"}", "model_malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *directory = scratch_new();
        struct config c;
        struct err e = {.code = "accepted"};
        if (cases[i].text)
            scratch_write(directory, "config.json", cases[i].text, strlen(cases[i].text));
        assert_int_equal(config_read(&c, directory, &e), -1);
        assert_string_equal(e.code, cases[i].code);
        assert_non_null(strstr(e.message, "config.json"));
        scratch_remove(directory);
    }
    size_t size = (1 << 20) + 1; /* larger than any config */
    char *large = malloc(size), *directory = scratch_new();
    struct config c;
    struct err e;
    memset(large, ' ', size);
    memcpy(large, "{}", 2);
    scratch_write(directory, "config.json", large, size);
    assert_int_equal(config_read(&c, directory, &e), -1);
    assert_string_equal(e.code, "file_too_large");
    scratch_remove(directory);
    free(large);
}

/* ---- end tokens ---- */

static void end_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *patch, *generation; /* NULL: no such file */
        int count, eos[3];
        const char *code;
    } cases[] = {
        {"{}", NULL, 0, {0}, NULL},
        {"{\"eos_token_id\": null}", NULL, 0, {0}, NULL},
        {"{\"eos_token_id\": 2}", NULL, 1, {2}, NULL},
        {"{\"eos_token_id\": [5, 319, 0]}", NULL, 3, {5, 319, 0}, NULL},
        {"{\"eos_token_id\": []}", NULL, 0, {0}, NULL},
        {"{\"eos_token_id\": 2}", "{}", 1, {2}, NULL},
        {"{\"eos_token_id\": 2}", "{\"eos_token_id\": [7, 8]}", 2, {7, 8}, NULL},
        {"{}", "{\"eos_token_id\": 9, \"do_sample\": true}", 1, {9}, NULL},
        {"{\"eos_token_id\": 320}", NULL, 0, {0}, NULL}, /* none that comes */
        {"{\"eos_token_id\": [50256, 7]}", NULL, 1, {7}, NULL},
        {"{\"eos_token_id\": 2}", "{\"eos_token_id\": 320}", 0, {0}, NULL},
        {"{}", "{\"eos_token_id\": -1}", 0, {0}, "model_malformed"},
        {"{}", "[]", 0, {0}, "model_malformed"},
        {"{}", "{", 0, {0}, "model_malformed"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *directory = scratch_new(), *text = patched("llama", cases[i].patch);
        struct config c = {0};
        struct err e = {.code = NULL};
        scratch_write(directory, "config.json", text, strlen(text));
        if (cases[i].generation)
            scratch_write(directory, "generation_config.json", cases[i].generation,
                          strlen(cases[i].generation));
        int result = config_read(&c, directory, &e);
        assert_int_equal(result, cases[i].code ? -1 : 0);
        if (cases[i].code) {
            assert_string_equal(e.code, cases[i].code);
            assert_non_null(strstr(e.message, "generation_config.json"));
        }
        assert_int_equal(c.eos_count, cases[i].count);
        for (int k = 0; k < cases[i].count; k++)
            assert_int_equal(c.eos[k], cases[i].eos[k]);
        scratch_remove(directory);
        free(text);
    }
}

/* ---- generation_config.json ---- */

#define NOTHING                 \
    {                           \
        NAN, NAN, NAN, NAN, NAN \
    }

static const struct {
    const char *text; /* NULL: no such file */
    struct generation expected;
    const char *param; /* of the refusal */
} generations[] = {
    {NULL, NOTHING, NULL},
    {"{}", NOTHING, NULL},
    {"{\"eos_token_id\": 2, \"max_new_tokens\": 5, \"top_h\": [], \"cache_implementation\": \"x\"}", NOTHING,
     NULL},
    {"{\"do_sample\": true, \"temperature\": 0.7, \"top_p\": 0.8, \"top_k\": 20, \"repetition_penalty\": "
     "1.05}",
     {0.7, 0.8, NAN, 1.05, 20},
     NULL},
    {"{\"temperature\": 1, \"min_p\": 0.05, \"top_k\": 0}", {1, NAN, 0.05, NAN, 0}, NULL},
    {"{\"do_sample\": false, \"temperature\": 0.7, \"top_k\": -1}", {0, NAN, NAN, NAN, 0}, NULL},
    {"{\"do_sample\": null, \"temperature\": null, \"top_p\": null, \"top_k\": null}", NOTHING, NULL},
    {"{\"temperature\": -1}", NOTHING, "temperature"},
    {"{\"temperature\": \"0.7\"}", NOTHING, "temperature"},
    {"{\"temperature\": 1e400}", NOTHING, ""},
    {"{\"temperature\": 101}", NOTHING, "temperature"},
    {"{\"top_p\": 0}", NOTHING, "top_p"},
    {"{\"top_p\": 1.5}", NOTHING, "top_p"},
    {"{\"top_k\": 20.0}", NOTHING, "top_k"},
    {"{\"top_k\": -2}", NOTHING, "top_k"},
    {"{\"top_k\": 99999999999}", NOTHING, "top_k"},
    {"{\"min_p\": true}", NOTHING, "min_p"},
    {"{\"repetition_penalty\": 0}", NOTHING, "repetition_penalty"},
    {"{\"do_sample\": 1}", NOTHING, "do_sample"},
    {"[]", NOTHING, ""},
    {"{\"top_k\": 1, \"top_k\": 2}", NOTHING, ""},
};

static bool same_default(double a, double b)
{
    return isnan(a) ? isnan(b) : a == b;
}

static void sampling_defaults(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof generations / sizeof *generations; i++) {
        char *directory = scratch_new();
        struct err e = {0};
        struct generation g = {-1, -1, -1, -1, -1};
        const struct generation *w = &generations[i].expected;
        if (generations[i].text)
            scratch_write(directory, "generation_config.json", generations[i].text,
                          strlen(generations[i].text));
        int result = generation_read(&g, directory, &e);
        if (generations[i].param) {
            if (result != -1 || strcmp(e.code, "model_malformed") != 0 ||
                strcmp(e.param, generations[i].param) != 0 || !strstr(e.message, "generation_config.json") ||
                g.top_k != -1)
                fail_msg("%s: %s (%s)", generations[i].text, e.message, e.param);
        } else if (result != 0 || !same_default(g.temperature, w->temperature) ||
                   !same_default(g.top_p, w->top_p) || !same_default(g.min_p, w->min_p) ||
                   !same_default(g.top_k, w->top_k) ||
                   !same_default(g.repetition_penalty, w->repetition_penalty)) {
            fail_msg("%s: %s", generations[i].text ? generations[i].text : "no file", e.message);
        }
        scratch_remove(directory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_spellings_of_rope),
        cmocka_unit_test(shapes_and_their_defaults),
        cmocka_unit_test(harmless_fields_pass),
        cmocka_unit_test(windows_are_read),
        cmocka_unit_test(layers_rotate),
        cmocka_unit_test(contexts_grow),
        cmocka_unit_test(fixtures_are_read),
        cmocka_unit_test(refused_fields_are_named),
        cmocka_unit_test(broken_texts_are_refused),
        cmocka_unit_test(end_tokens),
        cmocka_unit_test(sampling_defaults),
        cmocka_unit_test(architectures_say_what_a_model_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
