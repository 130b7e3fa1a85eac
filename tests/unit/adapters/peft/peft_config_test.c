/* adapter_config.json: each field, the modules that are meant, what is passed over and said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "adapters/peft/peft_stages.h"
#include "tests/golden/fixture.h"
#include "tests/unit/adapters/peft/loading.h"

/* ---- fields of the config, each set alone on llama/r8-all ---- */

static const struct {
    const char *fields; /* an object that is merged into the config */
    const char *code;   /* NULL: accepted */
} fields[] = {
    {"{}", NULL},
    {"{\"unsloth_fixed\":true}", NULL},
    {"{\"metadata\":{\"epochs\":3},\"tags\":[\"v2\"],\"quantization_config\":{\"load_in_4bit\":true},"
     "\"use_gradient_checkpointing\":true,\"auto_map\":{\"AutoModel\":\"m.M\"},\"training_args\":{\"a\":1},"
     "\"_from_model_config\":true,\"load_in_8bit\":true,\"loraplus_lr_ratio\":16}",
     NULL},
    {"{\"tags_per_layer\":[1]}", "adapter_unsupported_feature"},
    {"{\"trainable\":[1]}", "adapter_unsupported_feature"},
    {"{\"rope_scaling\":{\"factor\":4}}", "adapter_unsupported_feature"},
    {"{\"target_modules\":[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_proj\",\"down_"
     "proj\","
     "\"W_pack\",\"query_key_value\"]}",
     NULL},
    {"{\"target_modules\":[\"W_pack\",\"query_key_value\"]}", "adapter_unknown_module"},
    {"{\"auto_mapping\":{\"base_model_class\":\"LlamaForCausalLM\",\"unsloth_fixed\":true}}", NULL},
    {"{\"init_lora_weights\":false}", NULL},
    {"{\"init_lora_weights\":null}", NULL},
    {"{\"init_lora_weights\":\"gaussian\"}", NULL},
    {"{\"init_lora_weights\":\"eva\",\"eva_config\":{\"rho\":2.0}}", NULL},
    {"{\"init_lora_weights\":\"orthogonal\"}", NULL},
    {"{\"init_lora_weights\":\"PiSSA\"}", "adapter_unsupported_feature"},
    {"{\"init_lora_weights\":\"lora_ga\"}", "adapter_unsupported_feature"},
    {"{\"init_lora_weights\":\"something\"}", "adapter_unsupported_feature"},
    {"{\"init_lora_weights\":7}", "config_malformed"},
    {"{\"loftq_config\":{\"loftq_bits\":4}}", NULL},
    {"{\"megatron_core\":\"my.megatron\"}", NULL},
    {"{\"fan_in_fan_out\":true}", NULL},
    {"{\"lora_dropout\":0.1}", NULL},
    {"{\"inference_mode\":false}", NULL},
    {"{\"merge_weights\":true,\"enable_lora\":null}", NULL},
    {"{\"enable_lora\":[true,false,true]}", "adapter_unsupported_feature"},
    {"{\"modules_to_save\":[]}", NULL},
    {"{\"modules_to_save\":[\"lm_head\"]}", "adapter_missing_tensor"},
    {"{\"modules_to_save\":[\"classifier\"]}", NULL},                     /* a warning */
    {"{\"modules_to_save\":[\"q_proj\"]}", "adapter_unexpected_tensor"},  /* so it is no target */
    {"{\"modules_to_save\":[\"_proj\"]}", "adapter_unsupported_feature"}, /* an ending, no name: both */
    {"{\"modules_to_save\":\"lm_head\"}", "config_malformed"},
    {"{\"modules_to_save\":[7]}", "config_malformed"},
    {"{\"use_dora\":true}", "adapter_missing_tensor"},
    {"{\"use_dora\":1}", "config_malformed"},
    {"{\"use_dora\":null}", NULL},
    {"{\"bias\":null}", NULL},
    {"{\"bias\":\"all\"}", NULL}, /* the base has none */
    {"{\"bias\":\"lora_only\"}", NULL},
    {"{\"bias\":false}", "config_malformed"},
    {"{\"use_rslora\":1}", "config_malformed"},
    {"{\"use_rslora\":null}", NULL},
    {"{\"ensure_weight_tying\":true}", NULL}, /* nothing tied is a target */
    {"{\"future_number\":3,\"future_text\":\"x\",\"future_null\":null,\"future_off\":false,\"future_list\":[]"
     "}",
     NULL},
    {"{\"future_on\":true}", "adapter_unsupported_feature"},
    {"{\"future_object\":{\"a\":0}}", "adapter_unsupported_feature"},
    {"{\"lora_alpha\":16.5}", NULL},
    {"{\"lora_alpha\":-16}", NULL},
    {"{\"lora_alpha\":[16]}", "config_malformed"},
    {"{\"peft_type\":\"lora\"}", "adapter_unsupported_type"},
    {"{\"exclude_modules\":[]}", NULL},
    {"{\"exclude_modules\":\"\"}", NULL},
    {"{\"exclude_modules\":[\"not_there\"]}", NULL},
    {"{\"exclude_modules\":7}", "config_malformed"},
    {"{\"rank_pattern\":null,\"alpha_pattern\":null}", NULL},
    {"{\"rank_pattern\":{\"q_proj\":8.0}}", "config_malformed"},
    {"{\"rank_pattern\":{\"q_proj\":1025}}", "adapter_rank_too_large"},
    {"{\"rank_pattern\":{\"not_there\":1025}}", NULL},
    {"{\"alpha_pattern\":{\"q_proj\":true}}", "config_malformed"},
    {"{\"layers_to_transform\":[0,1,2]}", NULL},
    {"{\"layers_to_transform\":[]}", NULL},
    {"{\"layers_to_transform\":[0,1,2],\"layers_pattern\":\"layers\"}", NULL},
    {"{\"layers_to_transform\":[0,1,2],\"layers_pattern\":[\"h\",\"layers\"]}", NULL},
    {"{\"layers_to_transform\":[0,1,2],\"layers_pattern\":\"h\"}", "adapter_unknown_module"},
    {"{\"layers_to_transform\":[0,1,2],\"layers_pattern\":\"(\"}", "config_malformed"},
    {"{\"layers_to_transform\":[0,1,2],\"layers_pattern\":7}", "config_malformed"},
    {"{\"layers_to_transform\":[0.0]}", "config_malformed"},
    {"{\"layers_to_transform\":true}", "config_malformed"},
    {"{\"layers_pattern\":[]}", NULL},
    {"{\"layers_pattern\":\"\"}", NULL},
    {"{\"layers_pattern\":\"layers\"}", "config_malformed"},
    {"{\"target_modules\":\"all-linear\"}", NULL},
    {"{\"target_modules\":\"ALL-Linear\"}", NULL},
    {"{\"target_modules\":\"all-linear\",\"layers_to_transform\":[0]}", "config_malformed"},
    {"{\"target_modules\":\"all-linear\",\"layers_pattern\":[]}", "config_malformed"},
    {"{\"target_modules\":\"dummy-target-modules\"}",
     "adapter_unexpected_tensor"}, /* of LoRA: there is none */
    {"{\"target_modules\":[\"dummy-target-modules\"]}", "adapter_unknown_module"},
    {"{\"target_modules\":\".*_proj\"}", NULL},
    {"{\"target_modules\":\".*_pro\"}", "adapter_unknown_module"}, /* the whole path must match */
    {"{\"target_modules\":\"q_proj\"}", "adapter_unknown_module"},
    {"{\"target_modules\":\"a{,2}\"}", "config_malformed"},
    {"{\"target_modules\":\"\\\\C*\"}", "config_malformed"},
    {"{\"target_modules\":[\"\"]}", "config_malformed"},
    {"{\"target_modules\":null}", "adapter_unexpected_tensor"}, /* PEFT's default: q_proj and v_proj */
};

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct err e = {0};
        struct peft *p = loading_patched(loading_models.llama, fixture_path("adapters/llama/r8-all"),
                                         fields[i].fields, 0, &e);
        const char *code = p ? "accepted" : e.code, *expected = fields[i].code ? fields[i].code : "accepted";
        if (strcmp(code, expected) != 0)
            fail_msg("%s: expected %s, found %s (%s)", fields[i].fields, expected, code, p ? "" : e.message);
        peft_free(p);
    }
}

/* ---- which modules, with which rank and scale ---- */

#define LORA "\"peft_type\":\"LORA\",\"r\":8,\"lora_alpha\":16,"

static const struct {
    struct model **model;
    const char *config;
    const char *targets; /* "path rank scale;" of each, in order of the network */
} targets[] = {
    {&loading_models.llama, "{" LORA "\"target_modules\":[\"lm_head\"]}", "lm_head 8 2;"},
    {&loading_models.llama, "{" LORA "\"target_modules\":[\"embed_tokens\"]}", "model.embed_tokens 8 2;"},
    /* what is trained whole, by its own name or that of a module around it, has no LoRA */
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"lm_head\",\"embed_tokens\"],\"modules_to_save\":[\"lm_head\"]}",
     "model.embed_tokens 8 2;"},
    {&loading_models.mlp, "{" LORA "\"target_modules\":\"all-linear\",\"modules_to_save\":[\"fc4\"]}",
     "fc1 8 2;fc2 8 2;fc3 8 2;"},
    {&loading_models.mlp, "{" LORA "\"target_modules\":\"fc.\",\"modules_to_save\":[\"fc[13]\",\"c4\"]}",
     "fc2 8 2;fc4 8 2;"},
    {&loading_models.gpt2,
     "{" LORA "\"target_modules\":[\"c_fc\",\"wte\"],\"modules_to_save\":[\"h.0.mlp\",\"h.2\"]}",
     "transformer.h.1.mlp.c_fc 8 2;transformer.wte 8 2;"},
    {&loading_models.gpt2, "{" LORA "\"target_modules\":\".*w[tp]e\",\"rank_pattern\":{\"wpe\":4}}",
     "transformer.wte 8 2;transformer.wpe 4 4;"},
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"layers.1.mlp.up_proj\",\"model.layers.0.self_attn.k_proj\"]}",
     "model.layers.0.self_attn.k_proj 8 2;model.layers.1.mlp.up_proj 8 2;"},
    {&loading_models.llama, "{" LORA "\"target_modules\":[\"k_proj\"],\"layers_to_transform\":2}",
     "model.layers.2.self_attn.k_proj 8 2;"},
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"k_proj\",\"lm_head\"],\"layers_to_transform\":[2,77]}",
     "model.layers.2.self_attn.k_proj 8 2;lm_head 8 2;"}, /* a name in full is not filtered by layer */
    {&loading_models.llama,
     "{" LORA
     "\"target_modules\":[\"k_proj\",\"model.layers.0.self_attn.q_proj\"],\"layers_to_transform\":[1]}",
     "model.layers.0.self_attn.q_proj 8 2;model.layers.1.self_attn.k_proj 8 2;"},
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"layers_to_transform\":[1],\"layers_pattern\":\"la.ers\"}",
     "model.layers.1.self_attn.k_proj 8 2;"},
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"exclude_modules\":[\"layers.0.self_attn.k_proj\"],"
     "\"layers_to_transform\":[0,1]}",
     "model.layers.1.self_attn.k_proj 8 2;"},
    {&loading_models.llama, "{" LORA "\"target_modules\":[\"k_proj\"],\"exclude_modules\":\".*[02].*\"}",
     "model.layers.1.self_attn.k_proj 8 2;"},
    {&loading_models.llama,
     "{" LORA "\"target_modules\":\"model\\\\.layers\\\\.[02]\\\\.mlp\\\\.(up|down)_proj\"}",
     "model.layers.0.mlp.up_proj 8 2;model.layers.0.mlp.down_proj 8 2;"
     "model.layers.2.mlp.up_proj 8 2;model.layers.2.mlp.down_proj 8 2;"},
    /* Unsloth's. */
    {&loading_models.llama,
     "{" LORA "\"target_modules\":\"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|loading_models.mlp|"
     "feed_forward|ffn|dense)"
     ".*?(?:q_proj|k_proj).*?)|(?:\\\\bmodel\\\\.layers\\\\.[\\\\d]{1,}\\\\.(?:self_attn|attention|attn|"
     "loading_models.mlp|"
     "feed_"
     "forward|ffn|dense)\\\\.(?:(?:k_proj|not_there)))\"}",
     "model.layers.0.self_attn.k_proj 8 2;model.layers.1.self_attn.k_proj 8 "
     "2;model.layers.2.self_attn.k_proj 8 2;"},
    {&loading_models.llama,
     "{" LORA "\"use_rslora\":true,\"target_modules\":[\"lm_head\"],\"rank_pattern\":{\"lm_head\":16}}",
     "lm_head 16 4;"},
    /* The first key that matches wins, rank and alpha each on its own. */
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],"
     "\"rank_pattern\":{\"_proj\":1,\"layers.0.*\":2,\"k_proj\":4,\"^model.layers.1.self_attn.k_proj\":32},"
     "\"alpha_pattern\":{\"^k_proj\":1,\".*[12].self_attn.k_proj\":64,\"k_proj\":0.5}}",
     "model.layers.0.self_attn.k_proj 2 0.25;model.layers.1.self_attn.k_proj 4 16;"
     "model.layers.2.self_attn.k_proj 4 16;"},
    /* A key is put into ^(.*\.)?(KEY)$ as text: here its | splits the whole. */
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"rank_pattern\":{\"1.self_attn.k_proj)|(model.layers.2\":4}}",
     "model.layers.0.self_attn.k_proj 8 2;model.layers.1.self_attn.k_proj 4 "
     "4;model.layers.2.self_attn.k_proj 8 2;"},
    {&loading_models.llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"rank_pattern\":{\"self.attn.k_proj\":4},"
     "\"layers_to_transform\":0}",
     "model.layers.0.self_attn.k_proj 4 4;"}, /* "." is any character */
    {&loading_models.llama, "{\"peft_type\":\"LORA\",\"r\":16,\"target_modules\":[\"lm_head\"]}",
     "lm_head 16 0.5;"},
    {&loading_models.gpt2, "{" LORA "\"layers_to_transform\":1}", "transformer.h.1.attn.c_attn 8 2;"},
    {&loading_models.gpt2, "{" LORA "\"target_modules\":[\"c_proj\"],\"layers_to_transform\":[0]}",
     "transformer.h.0.attn.c_proj 8 2;transformer.h.0.mlp.c_proj 8 2;"},
    {&loading_models.mlp, "{" LORA "\"target_modules\":\"all-linear\"}", "fc1 8 2;fc2 8 2;fc3 8 2;fc4 8 2;"},
    {&loading_models.mlp, "{" LORA "\"target_modules\":[\"fc4\"],\"layers_to_transform\":[0]}", "fc4 8 2;"},
};

static void test_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        struct err e = {0};
        struct peft_load l = {.model = *targets[i].model};
        l.sites = model_sites(l.model, &l.site_count);
        l.parameters = model_parameters(l.model, &l.parameter_count);
        l.targets = calloc(l.site_count, sizeof *l.targets);
        int fd = loading_text(targets[i].config);
        if (peft_config_init(&l.config, fd, &e) != 0 || peft_match(&l, &e) != 0)
            fail_msg("%s: %s: %s", targets[i].config, e.code, e.message);
        struct buf text = {0};
        for (size_t s = 0; s < l.site_count; s++)
            if (l.targets[s].targeted)
                buf_printf(&text, "%s %d %g;", l.sites[s].path, l.targets[s].rank, l.targets[s].scale);
        assert_string_equal(text.data, targets[i].targets);
        buf_fini(&text);
        peft_config_fini(&l.config);
        free(l.targets);
        close(fd);
    }
}

static void test_no_default_targets(void **state)
{
    (void)state;
    struct err e = {0};
    assert_null(loading_patched(loading_models.mlp, fixture_path("adapters/mlp/r4"),
                                "{\"target_modules\":null}", 0, &e));
    assert_string_equal(e.code, "config_malformed");
}

/* The dozen fields that PEFT 0.3 wrote. */
static void test_old_config(void **state)
{
    (void)state;
    const char *directory = fixture_path("adapters/llama/r4-qv");
    struct err e = {0};
    struct peft *p = loading_load(
        loading_models.llama,
        loading_text("{\"base_model_name_or_path\":\"x\",\"bias\":\"none\",\"fan_in_fan_out\":false,"
                     "\"inference_mode\":true,\"init_lora_weights\":true,\"layers_pattern\":null,"
                     "\"layers_to_transform\":null,\"lora_alpha\":8,\"lora_dropout\":0.05,"
                     "\"modules_to_save\":null,\"peft_type\":\"LORA\",\"r\":4,\"revision\":null,"
                     "\"target_modules\":[\"q_proj\",\"v_proj\"],\"task_type\":\"CAUSAL_LM\"}"),
        loading_file(directory, "adapter_model.safetensors"), 0, &e);
    assert_non_null(p);
    peft_free(p);
}

/* Some editors write one. */
static void test_byte_order_mark(void **state)
{
    (void)state;
    const char *directory = fixture_path("adapters/llama/r4-qv");
    struct err e = {0};
    struct peft *p = loading_load(loading_models.llama,
                                  loading_text("\xef\xbb\xbf{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,"
                                               "\"target_modules\":[\"q_proj\",\"v_proj\"]}"),
                                  loading_file(directory, "adapter_model.safetensors"), 0, &e);
    assert_non_null(p);
    peft_free(p);
}

/* Many keys that backtrack share one budget, whatever each of them takes. */
/* ---- what is passed over, in a sentence each ---- */

static const struct {
    const char *fields, *says; /* NULL: nothing */
} passed_over[] = {
    {"{}", NULL},
    {"{\"metadata\":{\"a\":1},\"rank_pattern\":{\"q_proj\":8},\"exclude_modules\":[\"lm_head\"]}",
     "exclude_modules takes none"},
    {"{\"target_modules\":[\"q_proj\",\"k_proj\",\"v_proj\",\"o_proj\",\"gate_proj\",\"up_proj\",\"down_"
     "proj\","
     "\"wqkv\",\"dense\"]}",
     "target_modules: \"dense\", \"wqkv\": the base has no such module; ignored, as by PEFT"},
    {"{\"modules_to_save\":[\"score\"]}", "modules_to_save: \"score\": the base has no such module"},
    {"{\"rank_pattern\":{\"h.0.attn\":4}}", "rank_pattern: \"h.0.attn\": no module"},
    {"{\"alpha_pattern\":{\"lm_head\":4}}", "alpha_pattern: \"lm_head\": no module"},
    {"{\"layers_to_transform\":[0,1,2,40]}", "layers_to_transform: \"40\": no target"},
    {"{\"exclude_modules\":\"nothing\"}", "exclude_modules takes none"},
    {"{\"modules_to_save\":[\"\\u0001\\ud83d\\ude00\"]}", "modules_to_save: \"?\xf0\x9f\x98\x80\""},
};

static void test_passed_over(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof passed_over / sizeof *passed_over; i++) {
        struct err e = {0};
        struct peft *p = loading_patched(loading_models.llama, fixture_path("adapters/llama/r8-all"),
                                         passed_over[i].fields, 0, &e);
        if (!p)
            fail_msg("%s: %s", passed_over[i].fields, e.message);
        const struct warnings *w = peft_warnings(p);
        assert_int_equal(w->count, passed_over[i].says ? 1 : 0);
        if (w->count && !strstr(w->texts[0], passed_over[i].says))
            fail_msg("%s: %s", passed_over[i].fields, w->texts[0]);
        peft_free(p);
    }
}

/* As many names as a config can hold make one sentence of bounded length. */
static void test_passed_over_is_bounded(void **state)
{
    (void)state;
    struct buf patch = {0};
    struct err e = {0};
    buf_append_string(&patch, "{\"target_modules\":\"all-linear\",\"rank_pattern\":{");
    for (int i = 0; i < 4000; i++)
        buf_printf(&patch, "%s\"module_with_a_long_name_%d\":4", i ? "," : "", i);
    buf_append_string(&patch, "}}");
    struct peft *p =
        loading_patched(loading_models.llama, fixture_path("adapters/llama/r8-all"), patch.data, 0, &e);
    assert_non_null(p);
    assert_int_equal(peft_warnings(p)->count, 1);
    assert_true(strlen(peft_warnings(p)->texts[0]) < WARNING_BYTES);
    assert_non_null(strstr(peft_warnings(p)->texts[0], " more: "));
    peft_free(p);
    buf_fini(&patch);
}

static void test_budget_of_expressions(void **state)
{
    (void)state;
    struct buf patch = {0};
    buf_append_string(&patch, "{\"rank_pattern\":{");
    for (int i = 0; i < 4000; i++)
        buf_printf(&patch, "%s\"(.+.+.+.+)!%d\":8", i ? "," : "", i);
    buf_append_string(&patch, "}}");
    struct err e = {0};
    assert_null(
        loading_patched(loading_models.llama, fixture_path("adapters/llama/r8-all"), patch.data, 0, &e));
    assert_string_equal(e.code, "config_malformed");
    assert_string_equal(e.param, "rank_pattern");
    buf_fini(&patch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_no_default_targets),
        cmocka_unit_test(test_old_config),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_passed_over_is_bounded),
        cmocka_unit_test(test_budget_of_expressions),
    };
    return cmocka_run_group_tests(tests, loading_set_up, loading_tear_down);
}
