/* PEFT adapters: what is accepted and how it is understood, what is refused and by which code. */
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/peft/peft.h"
#include "adapters/peft/peft_stages.h"
#include "core/base/buf.h"
#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

static struct model *llama, *gpt2, *mlp;

static int set_up(void **state)
{
    (void)state;
    llama = fixture_model(fixture_path("models/llama"));
    gpt2 = fixture_model(fixture_path("models/gpt2"));
    mlp = fixture_model(fixture_path("models/mlp"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    model_close(llama);
    model_close(gpt2);
    model_close(mlp);
    return 0;
}

static int open_file(const char *directory, const char *name)
{
    char *path = file_join(directory, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        fail_msg("cannot open %s", path);
    free(path);
    return fd;
}

static int open_text(const char *text)
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    return fd;
}

/* Closes both descriptors. */
static struct peft *load(const struct model *m, int config, int weights, int allow_no_effect, struct err *e)
{
    struct peft *p = NULL;
    int result = peft_load(&p, m, config, weights, allow_no_effect, e);
    assert_int_equal(result, p ? 0 : -1);
    if (!p) {
        assert_string_not_equal(e->message, "");
        assert_string_not_equal(e->param, "");
    }
    close(config);
    close(weights);
    return p;
}

static struct peft *load_directory(const struct model *m, const char *directory, struct err *e)
{
    return load(m, open_file(directory, "adapter_config.json"),
                open_file(directory, "adapter_model.safetensors"), 0, e);
}

/* ---- fixtures ---- */

static const struct {
    const char *model, *adapter;
    int rank_max, sites;
    long parameters;
} supported[] = {
    {"gpt2", "r4-attn", 4, 3, 3072},
    {"gpt2", "r8-conv1d", 8, 12, 24576},
    {"gpt2", "wte", 4, 4, 5376},
    {"llama", "all-linear", 4, 21, 13056},
    {"llama", "dora", 8, 21, 27744},
    {"llama", "embed", 8, 4, 4992},
    {"llama", "exclude", 8, 18, 23040},
    {"llama", "layers", 8, 2, 2816},
    {"llama", "lm-head", 8, 4, 6144},
    {"llama", "patterns", 16, 21, 17216},
    {"llama", "r1-q", 1, 3, 384},
    {"llama", "r24-odd", 24, 6, 21888},
    {"llama", "r4-qv", 4, 6, 2496},
    {"llama", "r8-all", 8, 21, 26112},
    {"llama", "r8-all-bf16", 8, 21, 26112},
    {"llama", "r8-all-f16", 8, 21, 26112},
    {"llama", "regex", 8, 4, 3328},
    {"llama", "rslora-pattern", 32, 6, 15360},
    {"llama3-rope", "r8-all", 8, 21, 29952},
    {"mistral", "r8-all", 8, 21, 29952},
    {"llama", "save-embed-norm", 4, 3, 22464},
    {"llama", "save-head", 4, 3, 22016},
    {"llama", "save-only-attn-norm", 4, 3, 1152},
    {"llama", "tokens-both", 4, 6, 6976},
    {"mlp", "head", 2, 1, 618},
    {"mlp", "r4", 4, 3, 1728},
    {"mlp", "r8-fc2", 8, 1, 1536},
    {"qwen2", "bias-all", 4, 3, 1824},
    {"qwen2", "bias-lora-only", 4, 9, 4272},
    {"qwen2", "dora-bias", 4, 9, 5616},
    {"qwen2", "r8-all", 8, 21, 26112},
    {"qwen2", "tied-embed", 4, 4, 2496},
    {"qwen2", "tied-lora", 4, 5, 4608},
    {"qwen2", "tokens-tied-head", 4, 4, 5104},
    {"qwen2", "tied-save-embed", 4, 3, 21440},
    {"qwen2", "tied-save-head", 4, 3, 21440},
    {"qwen2", "rslora-r8", 8, 21, 26112},
    {"qwen2", "tied-head", 4, 4, 2496},
    {"qwen3", "r8-all", 8, 21, 31488},
};

static void test_supported(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof supported / sizeof *supported; i++) {
        struct model *m = fixture_model(fixture_path("models/%s", supported[i].model));
        struct err e = {0};
        const char *directory = fixture_path("adapters/%s/%s", supported[i].model, supported[i].adapter);
        struct peft *p = load_directory(m, directory, &e);
        if (!p)
            fail_msg("%s: %s: %s", directory, e.code, e.message);
        assert_int_equal(peft_info(p)->rank_max, supported[i].rank_max);
        assert_int_equal(peft_info(p)->sites, supported[i].sites);
        assert_int_equal(peft_info(p)->parameters, supported[i].parameters);
        assert_int_equal(peft_source(p)->count, supported[i].sites);
        struct delta *d;
        assert_int_equal(delta_new(&d, m, peft_source(p), &e), 0);
        delta_unref(d);
        peft_free(p);
        model_close(m);
    }
}

/* ---- bad uploads, made from a good one ---- */

static void check_bad(const char *directory, json_t *item)
{
    struct err e = {0};
    const char *name = json_string_value(json_object_get(item, "dir"));
    char *path = file_join(directory, name);
    if (load_directory(llama, path, &e))
        fail_msg("%s is accepted", name);
    json_t *codes = json_object_get(item, "code"), *code;
    size_t i;
    bool listed = false;
    json_array_foreach(codes, i, code) listed = listed || strcmp(json_string_value(code), e.code) == 0;
    if (!listed)
        fail_msg("%s: %s: %s", name, e.code, e.message);
    free(path);
}

static void test_bad_uploads(void **state)
{
    (void)state;
    char *directory = scratch_new(), command[4096];
    snprintf(command, sizeof command, "python3 '%s' '%s' '%s'", fixture_path("make_bad.py"),
             fixture_path("adapters/llama/r8-all"), directory);
    assert_int_equal(system(command), 0);
    char *list = file_join(directory, "cases.json");
    json_t *cases = fixture_json(list), *item;
    size_t i;
    assert_true(json_array_size(cases) > 100);
    json_array_foreach(cases, i, item) check_bad(directory, item);
    json_decref(cases);
    free(list);
    scratch_remove(directory);
}

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

static void merge(json_t *config, const char *text)
{
    json_error_t error;
    json_t *patch = json_loads(text, 0, &error);
    if (!patch)
        fail_msg("%s: %s", text, error.text);
    json_object_update(config, patch);
    json_decref(patch);
}

/* Load the adapter with its config changed. */
static struct peft *load_patched(const struct model *m, const char *directory, const char *patch,
                                 int allow_no_effect, struct err *e)
{
    char *path = file_join(directory, "adapter_config.json");
    json_t *config = fixture_json(path);
    merge(config, patch);
    char *text = json_dumps(config, 0);
    struct peft *p =
        load(m, open_text(text), open_file(directory, "adapter_model.safetensors"), allow_no_effect, e);
    free(text);
    json_decref(config);
    free(path);
    return p;
}

static void test_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        struct err e = {0};
        struct peft *p = load_patched(llama, fixture_path("adapters/llama/r8-all"), fields[i].fields, 0, &e);
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
    {&llama, "{" LORA "\"target_modules\":[\"lm_head\"]}", "lm_head 8 2;"},
    {&llama, "{" LORA "\"target_modules\":[\"embed_tokens\"]}", "model.embed_tokens 8 2;"},
    /* what is trained whole, by its own name or that of a module around it, has no LoRA */
    {&llama, "{" LORA "\"target_modules\":[\"lm_head\",\"embed_tokens\"],\"modules_to_save\":[\"lm_head\"]}",
     "model.embed_tokens 8 2;"},
    {&mlp, "{" LORA "\"target_modules\":\"all-linear\",\"modules_to_save\":[\"fc4\"]}",
     "fc1 8 2;fc2 8 2;fc3 8 2;"},
    {&mlp, "{" LORA "\"target_modules\":\"fc.\",\"modules_to_save\":[\"fc[13]\",\"c4\"]}",
     "fc2 8 2;fc4 8 2;"},
    {&gpt2, "{" LORA "\"target_modules\":[\"c_fc\",\"wte\"],\"modules_to_save\":[\"h.0.mlp\",\"h.2\"]}",
     "transformer.h.1.mlp.c_fc 8 2;transformer.wte 8 2;"},
    {&gpt2, "{" LORA "\"target_modules\":\".*w[tp]e\",\"rank_pattern\":{\"wpe\":4}}",
     "transformer.wte 8 2;transformer.wpe 4 4;"},
    {&llama, "{" LORA "\"target_modules\":[\"layers.1.mlp.up_proj\",\"model.layers.0.self_attn.k_proj\"]}",
     "model.layers.0.self_attn.k_proj 8 2;model.layers.1.mlp.up_proj 8 2;"},
    {&llama, "{" LORA "\"target_modules\":[\"k_proj\"],\"layers_to_transform\":2}",
     "model.layers.2.self_attn.k_proj 8 2;"},
    {&llama, "{" LORA "\"target_modules\":[\"k_proj\",\"lm_head\"],\"layers_to_transform\":[2,77]}",
     "model.layers.2.self_attn.k_proj 8 2;lm_head 8 2;"}, /* a name in full is not filtered by layer */
    {&llama,
     "{" LORA
     "\"target_modules\":[\"k_proj\",\"model.layers.0.self_attn.q_proj\"],\"layers_to_transform\":[1]}",
     "model.layers.0.self_attn.q_proj 8 2;model.layers.1.self_attn.k_proj 8 2;"},
    {&llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"layers_to_transform\":[1],\"layers_pattern\":\"la.ers\"}",
     "model.layers.1.self_attn.k_proj 8 2;"},
    {&llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"exclude_modules\":[\"layers.0.self_attn.k_proj\"],"
     "\"layers_to_transform\":[0,1]}",
     "model.layers.1.self_attn.k_proj 8 2;"},
    {&llama, "{" LORA "\"target_modules\":[\"k_proj\"],\"exclude_modules\":\".*[02].*\"}",
     "model.layers.1.self_attn.k_proj 8 2;"},
    {&llama, "{" LORA "\"target_modules\":\"model\\\\.layers\\\\.[02]\\\\.mlp\\\\.(up|down)_proj\"}",
     "model.layers.0.mlp.up_proj 8 2;model.layers.0.mlp.down_proj 8 2;"
     "model.layers.2.mlp.up_proj 8 2;model.layers.2.mlp.down_proj 8 2;"},
    /* Unsloth's. */
    {&llama,
     "{" LORA
     "\"target_modules\":\"(?:.*?(?:language|text).*?(?:self_attn|attention|attn|mlp|feed_forward|ffn|dense)"
     ".*?(?:q_proj|k_proj).*?)|(?:\\\\bmodel\\\\.layers\\\\.[\\\\d]{1,}\\\\.(?:self_attn|attention|attn|mlp|"
     "feed_"
     "forward|ffn|dense)\\\\.(?:(?:k_proj|not_there)))\"}",
     "model.layers.0.self_attn.k_proj 8 2;model.layers.1.self_attn.k_proj 8 "
     "2;model.layers.2.self_attn.k_proj 8 2;"},
    {&llama,
     "{" LORA "\"use_rslora\":true,\"target_modules\":[\"lm_head\"],\"rank_pattern\":{\"lm_head\":16}}",
     "lm_head 16 4;"},
    /* The first key that matches wins, rank and alpha each on its own. */
    {&llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],"
     "\"rank_pattern\":{\"_proj\":1,\"layers.0.*\":2,\"k_proj\":4,\"^model.layers.1.self_attn.k_proj\":32},"
     "\"alpha_pattern\":{\"^k_proj\":1,\".*[12].self_attn.k_proj\":64,\"k_proj\":0.5}}",
     "model.layers.0.self_attn.k_proj 2 0.25;model.layers.1.self_attn.k_proj 4 16;"
     "model.layers.2.self_attn.k_proj 4 16;"},
    /* A key is put into ^(.*\.)?(KEY)$ as text: here its | splits the whole. */
    {&llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"rank_pattern\":{\"1.self_attn.k_proj)|(model.layers.2\":4}}",
     "model.layers.0.self_attn.k_proj 8 2;model.layers.1.self_attn.k_proj 4 "
     "4;model.layers.2.self_attn.k_proj 8 2;"},
    {&llama,
     "{" LORA "\"target_modules\":[\"k_proj\"],\"rank_pattern\":{\"self.attn.k_proj\":4},"
     "\"layers_to_transform\":0}",
     "model.layers.0.self_attn.k_proj 4 4;"}, /* "." is any character */
    {&llama, "{\"peft_type\":\"LORA\",\"r\":16,\"target_modules\":[\"lm_head\"]}", "lm_head 16 0.5;"},
    {&gpt2, "{" LORA "\"layers_to_transform\":1}", "transformer.h.1.attn.c_attn 8 2;"},
    {&gpt2, "{" LORA "\"target_modules\":[\"c_proj\"],\"layers_to_transform\":[0]}",
     "transformer.h.0.attn.c_proj 8 2;transformer.h.0.mlp.c_proj 8 2;"},
    {&mlp, "{" LORA "\"target_modules\":\"all-linear\"}", "fc1 8 2;fc2 8 2;fc3 8 2;fc4 8 2;"},
    {&mlp, "{" LORA "\"target_modules\":[\"fc4\"],\"layers_to_transform\":[0]}", "fc4 8 2;"},
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
        int fd = open_text(targets[i].config);
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
    assert_null(load_patched(mlp, fixture_path("adapters/mlp/r4"), "{\"target_modules\":null}", 0, &e));
    assert_string_equal(e.code, "config_malformed");
}

/* The dozen fields that PEFT 0.3 wrote. */
static void test_old_config(void **state)
{
    (void)state;
    const char *directory = fixture_path("adapters/llama/r4-qv");
    struct err e = {0};
    struct peft *p =
        load(llama,
             open_text("{\"base_model_name_or_path\":\"x\",\"bias\":\"none\",\"fan_in_fan_out\":false,"
                       "\"inference_mode\":true,\"init_lora_weights\":true,\"layers_pattern\":null,"
                       "\"layers_to_transform\":null,\"lora_alpha\":8,\"lora_dropout\":0.05,"
                       "\"modules_to_save\":null,\"peft_type\":\"LORA\",\"r\":4,\"revision\":null,"
                       "\"target_modules\":[\"q_proj\",\"v_proj\"],\"task_type\":\"CAUSAL_LM\"}"),
             open_file(directory, "adapter_model.safetensors"), 0, &e);
    assert_non_null(p);
    peft_free(p);
}

/* Some editors write one. */
static void test_byte_order_mark(void **state)
{
    (void)state;
    const char *directory = fixture_path("adapters/llama/r4-qv");
    struct err e = {0};
    struct peft *p = load(llama,
                          open_text("\xef\xbb\xbf{\"peft_type\":\"LORA\",\"r\":4,\"lora_alpha\":8,"
                                    "\"target_modules\":[\"q_proj\",\"v_proj\"]}"),
                          open_file(directory, "adapter_model.safetensors"), 0, &e);
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
        struct peft *p =
            load_patched(llama, fixture_path("adapters/llama/r8-all"), passed_over[i].fields, 0, &e);
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
    struct peft *p = load_patched(llama, fixture_path("adapters/llama/r8-all"), patch.data, 0, &e);
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
    assert_null(load_patched(llama, fixture_path("adapters/llama/r8-all"), patch.data, 0, &e));
    assert_string_equal(e.code, "config_malformed");
    assert_string_equal(e.param, "rank_pattern");
    buf_fini(&patch);
}

/* ---- values ---- */

static void test_values(void **state)
{
    (void)state;
    struct err e = {0};
    struct peft *p = load_directory(mlp, fixture_path("adapters/mlp/r8-fc2"), &e);
    assert_non_null(p);
    struct delta_part part;
    assert_int_equal(peft_source(p)->count, 1);
    assert_int_equal(delta_source_part(peft_source(p), 0, &part, &e), 0);
    assert_int_equal(part.site, model_find_site(mlp, "fc2"));
    assert_int_equal(part.rank, 8);
    assert_true(part.scale == 0.5f);
    float a[8 * 128], b[64 * 8]; /* F32, A before B, behind the header */
    int fd = open_file(fixture_path("adapters/mlp/r8-fc2"), "adapter_model.safetensors");
    uint64_t header;
    assert_int_equal(file_pread(fd, &header, 8, 0, &e), 0);
    assert_int_equal(file_pread(fd, a, sizeof a, 8 + header, &e), 0);
    assert_int_equal(file_pread(fd, b, sizeof b, 8 + header + sizeof a, &e), 0);
    assert_memory_equal(part.a, a, sizeof a);
    assert_memory_equal(part.b, b, sizeof b);
    close(fd);
    peft_free(p);
}

static void test_no_effect_allowed(void **state)
{
    (void)state;
    struct err e = {0};
    struct peft *p = load_patched(mlp, fixture_path("adapters/mlp/r4"), "{\"lora_alpha\":0}", 1, &e);
    assert_non_null(p);
    peft_free(p);
    assert_null(load_patched(mlp, fixture_path("adapters/mlp/r4"), "{\"lora_alpha\":0}", 0, &e));
    assert_string_equal(e.code, "adapter_no_effect");
}

/* ---- tensors in the place of the base's ---- */

/* A file's bytes with one number of tensor `name` moved. Returns a descriptor. */
static int moved_weights(const char *directory, const char *name)
{
    char *path = file_join(directory, "adapter_model.safetensors"), quoted[128];
    struct buf file = {0};
    struct err e = {0};
    assert_int_equal(file_read(path, 1 << 20, &file, &e), 0);
    uint64_t header;
    memcpy(&header, file.data, 8);
    snprintf(quoted, sizeof quoted, "\"base_model.model.%s\"", name);
    const char *entry = memmem(file.data + 8, header, quoted, strlen(quoted));
    assert_non_null(entry);
    unsigned long offset = strtoul(strstr(entry, "data_offsets\":[") + 15, NULL, 10);
    float value;
    memcpy(&value, file.data + 8 + header + offset, sizeof value);
    value = nextafterf(value, 10);
    memcpy(file.data + 8 + header + offset, &value, sizeof value);
    int fd = memfd_create("weights", MFD_CLOEXEC);
    assert_int_equal(file_write_all(fd, file.data, file.length, &e), 0);
    buf_fini(&file);
    free(path);
    return fd;
}

/* The file with `from` in its tensors' names as `to`. Returns a descriptor. */
static int renamed_weights(const char *directory, const char *from, const char *to)
{
    char *path = file_join(directory, "adapter_model.safetensors");
    struct buf file = {0}, header = {0};
    struct err e = {0};
    assert_int_equal(file_read(path, 1 << 20, &file, &e), 0);
    uint64_t length;
    memcpy(&length, file.data, 8);
    const char *at = file.data + 8, *end = at + length, *found;
    while ((found = memmem(at, (size_t)(end - at), from, strlen(from)))) {
        assert_int_equal(buf_append(&header, at, (size_t)(found - at)), 0);
        assert_int_equal(buf_append_string(&header, to), 0);
        at = found + strlen(from);
    }
    assert_int_equal(buf_append(&header, at, (size_t)(end - at)), 0);
    int fd = memfd_create("weights", MFD_CLOEXEC);
    uint64_t new_length = header.length;
    assert_int_equal(file_write_all(fd, (const char *)&new_length, 8, &e), 0);
    assert_int_equal(file_write_all(fd, header.data, header.length, &e), 0);
    assert_int_equal(file_write_all(fd, end, file.length - 8 - length, &e), 0);
    buf_fini(&file);
    buf_fini(&header);
    free(path);
    return fd;
}

/* ensure_weight_tying makes the two sides one: what PEFT would have to choose from is refused. */
static void test_tied_sides_that_differ(void **state)
{
    (void)state;
    static const struct {
        const char *adapter, *moved, *code;
    } cases[] = {
        {"peft/tied-lora-dora", "lm_head.lora_A.weight", "adapter_unsupported_feature"},
        {"peft/tied-lora-dora", "model.embed_tokens.lora_embedding_A", "adapter_unsupported_feature"},
        {"peft/tied-lora-dora", "lm_head.lora_magnitude_vector", "accepted"}, /* each has its own */
        {"peft/tied-lora-one-side-ranks", "model.embed_tokens.lora_embedding_B", "accepted"},
        {"peft/tied-saved", "lm_head.weight", "adapter_unsupported_feature"},
        {"peft/tied-saved", "model.norm.weight", "accepted"},
    };
    struct model *qwen2 = fixture_model(fixture_path("models/qwen2"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *directory = fixture_path("%s", cases[i].adapter);
        struct err e = {0};
        int weights = moved_weights(directory, cases[i].moved);
        struct peft *p = load(qwen2, open_file(directory, "adapter_config.json"), weights, 0, &e);
        if (strcmp(p ? "accepted" : e.code, cases[i].code) != 0)
            fail_msg("%s, %s: %s", cases[i].adapter, cases[i].moved, p ? "accepted" : e.message);
        peft_free(p);
    }
    model_close(qwen2);
}

/* The parameters that an adapter replaces, as "path.leaf;" of each. */
static void check_replaced(const struct model *m, const char *adapter, const char *moved,
                           const char *expected)
{
    const char *directory = fixture_path("adapters/%s", adapter);
    struct err e = {0};
    size_t count;
    int weights = moved ? moved_weights(directory, moved) : open_file(directory, "adapter_model.safetensors");
    struct peft *p = load(m, open_file(directory, "adapter_config.json"), weights, 0, &e);
    if (!p)
        fail_msg("%s: %s: %s", adapter, e.code, e.message);
    const struct delta_source *s = peft_source(p);
    const struct parameter *parameters = model_parameters(m, &count);
    struct buf text = {0};
    buf_append_string(&text, "");
    for (size_t i = 0; i < s->replacement_count; i++)
        buf_printf(&text, "%s.%s;", parameters[s->replacements[i].parameter].path,
                   parameters[s->replacements[i].parameter].leaf);
    assert_string_equal(text.data ? text.data : "", expected);
    struct delta *d;
    assert_int_equal(delta_new(&d, m, s, &e), 0);
    delta_unref(d);
    buf_fini(&text);
    peft_free(p);
}

/* Copies that PEFT saves of the base's tensors are dropped where they equal them, and replace them elsewhere.
 * In a tied base the matrix is one, unless modules_to_save gave one side a copy of its own. */
static void test_replaced(void **state)
{
    (void)state;
    struct model *qwen2 = fixture_model(fixture_path("models/qwen2"));
    check_replaced(llama, "llama/lm-head", NULL, "");
    check_replaced(llama, "llama/lm-head", "lm_head.base_layer.weight", "lm_head.weight;");
    check_replaced(llama, "llama/embed", NULL, "");
    check_replaced(llama, "llama/embed", "model.embed_tokens.base_layer.weight",
                   "model.embed_tokens.weight;");
    check_replaced(llama, "llama/save-head", NULL, "lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-head", NULL, "");
    check_replaced(qwen2, "qwen2/tied-head", "lm_head.base_layer.weight",
                   "model.embed_tokens.weight;lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-embed", "model.embed_tokens.base_layer.weight",
                   "model.embed_tokens.weight;lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-save-head", NULL, "lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-save-embed", NULL, "model.embed_tokens.weight;");
    check_replaced(mlp, "mlp/head", NULL, "fc4.weight;fc4.bias;");
    model_close(qwen2);
}

/* With bias = "all" PEFT writes a saved module's bias three times: what it became, what it was before
 * training, and what it became once more. Only the first counts. */
static int weights_with(const char *directory, const char *const *vectors, const int *sizes, size_t count)
{
    char *path = file_join(directory, "adapter_model.safetensors");
    struct buf file = {0}, data = {0};
    struct err e = {0};
    assert_int_equal(file_read(path, 1 << 20, &file, &e), 0);
    uint64_t length;
    memcpy(&length, file.data, 8);
    json_t *header = json_loadb(file.data + 8, length, 0, NULL);
    assert_int_equal(buf_append(&data, file.data + 8 + length, file.length - 8 - length), 0);
    for (size_t i = 0; i < count; i++) {
        json_int_t begin = (json_int_t)data.length;
        for (int k = 0; k < sizes[i]; k++)
            assert_int_equal(buf_append(&data, &(float){0.25f * (float)(k + 1)}, sizeof(float)), 0);
        json_object_set_new(header, vectors[i],
                            json_pack("{s:s, s:[i], s:[I, I]}", "dtype", "F32", "shape", sizes[i],
                                      "data_offsets", begin, (json_int_t)data.length));
    }
    char *text = json_dumps(header, 0);
    length = strlen(text);
    int fd = memfd_create("weights", MFD_CLOEXEC);
    assert_int_equal(file_write_all(fd, (const char *)&length, 8, &e), 0);
    assert_int_equal(file_write_all(fd, text, length, &e), 0);
    assert_int_equal(file_write_all(fd, data.data, data.length, &e), 0);
    json_decref(header);
    free(text);
    buf_fini(&file);
    buf_fini(&data);
    free(path);
    return fd;
}

static void test_copies_of_saved_biases(void **state)
{
    (void)state;
#define P "base_model.model."
    static const char *const vectors[] = {P "fc1.base_layer.bias", P "fc2.bias", P "fc3.bias",
                                          P "fc4.modules_to_save.bias", P "fc4.original_module.bias"};
    static const struct {
        const char *bias;
        int count, size; /* of the vectors; of the last one */
        const char *code;
    } cases[] = {{"all", 5, 10, "accepted"},
                 {"all", 3, 64, "accepted"},
                 {"all", 5, 9, "adapter_shape_mismatch"},
                 {"lora_only", 1, 128, "accepted"},
                 {"lora_only", 4, 10, "adapter_unexpected_tensor"}};
    const char *directory = fixture_path("adapters/mlp/head");
    uint8_t version[2][SHA256_BYTES];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int sizes[] = {128, 64, 32, 10, 10};
        if (cases[i].count == 5)
            sizes[4] = cases[i].size;
        struct err e = {0};
        char config[512];
        snprintf(config, sizeof config,
                 "{\"peft_type\":\"LORA\",\"r\":2,\"lora_alpha\":2,\"target_modules\":[\"fc1\"],"
                 "\"modules_to_save\":[\"fc4\"],\"bias\":\"%s\"}",
                 cases[i].bias);
        struct peft *p = load(mlp, open_text(config),
                              weights_with(directory, vectors, sizes, (size_t)cases[i].count), 0, &e);
        assert_string_equal(p ? "accepted" : e.code, cases[i].code);
        if (p && i < 2)
            memcpy(version[i], peft_info(p)->version, SHA256_BYTES);
        peft_free(p);
    }
    assert_memory_equal(version[0], version[1], SHA256_BYTES);
#undef P
}

/* What each kind needs of the config: without it, its tensors have no place. */
static const struct {
    struct model **model;
    const char *adapter, *fields, *code;
} kinds[] = {
    {&llama, "llama/dora", "{\"use_dora\":false}", "adapter_unexpected_tensor"},
    {&llama, "llama/save-head", "{\"modules_to_save\":[\"model.norm\"]}", "adapter_missing_tensor"},
    {&llama, "llama/save-embed-norm", "{\"modules_to_save\":[\"embed_tokens\"]}",
     "adapter_unexpected_tensor"},
    {&llama, "llama/save-embed-norm", "{\"modules_to_save\":[\"embed_tokens\",\"model.norm\"]}",
     "adapter_unexpected_tensor"},
    {&llama, "llama/save-embed-norm", "{\"modules_to_save\":[\"embed_tokens\",\"norm\",\"lm_head\"]}",
     "adapter_missing_tensor"},
    {&llama, "llama/save-only-attn-norm", "{\"modules_to_save\":null}", "adapter_unexpected_tensor"},
    {&llama, "llama/save-only-attn-norm", "{\"modules_to_save\":[\"ut_layernorm\"]}", NULL},
    {&llama, "llama/embed", "{\"target_modules\":[\"v_proj\"]}", "adapter_unexpected_tensor"},
    {&llama, "llama/embed", "{\"use_dora\":true}", "adapter_missing_tensor"},
    {&llama, "llama/embed", "{\"ensure_weight_tying\":true}", NULL}, /* nothing is tied */
    {&llama, "llama/save-head", "{\"ensure_weight_tying\":true}", NULL},
    {&mlp, "mlp/head", "{\"target_modules\":[\"fc1\",\"fc4\"]}", NULL}, /* fc4 is trained whole */
    {&mlp, "mlp/head", "{\"target_modules\":[\"fc4\"]}", "adapter_unknown_module"},
    {&mlp, "mlp/head", "{\"modules_to_save\":[\"fc4\",\"fc3\"]}", "adapter_missing_tensor"},
    {&mlp, "mlp/head", "{\"bias\":\"all\"}", "adapter_missing_tensor"},
    {&gpt2, "gpt2/wte", "{\"bias\":\"all\"}", "adapter_missing_tensor"},
    {&gpt2, "gpt2/wte", "{\"fan_in_fan_out\":false}", NULL},
    {&gpt2, "gpt2/wte", "{\"target_modules\":[\"c_fc\",\"wte\",\"wpe\"]}", "adapter_missing_tensor"},
};

static void test_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct err e = {0};
        struct peft *p = load_patched(*kinds[i].model, fixture_path("adapters/%s", kinds[i].adapter),
                                      kinds[i].fields, 0, &e);
        const char *code = p ? "accepted" : e.code, *expected = kinds[i].code ? kinds[i].code : "accepted";
        if (strcmp(code, expected) != 0)
            fail_msg("%s with %s: expected %s, found %s (%s)", kinds[i].adapter, kinds[i].fields, expected,
                     code, p ? "" : e.message);
        peft_free(p);
    }
}

/* ---- version ---- */

static void version_of(const struct model *m, const char *directory, const char *patch,
                       char out[SHA256_HEX + 1])
{
    struct err e = {0};
    struct peft *p = load_patched(m, directory, patch, 0, &e);
    if (!p)
        fail_msg("%s: %s", patch, e.message);
    hex_encode(peft_info(p)->version, SHA256_BYTES, out);
    peft_free(p);
}

/* The text of docs/internals/adapters.md, hashed by another program. */
static void test_version_definition(void **state)
{
    (void)state;
    char version[SHA256_HEX + 1];
    version_of(mlp, fixture_path("adapters/mlp/r8-fc2"), "{}", version);
    assert_string_equal(version, "e230e68b98434bfdda6d436ab41a5c33ad97ccf74b969b9cd18701b525c6d438");
}

static void test_version_of_same_effect(void **state)
{
    (void)state;
    const char *directory = fixture_path("adapters/llama/r8-all");
    static const char *const same[] = {
        "{\"base_model_name_or_path\":\"elsewhere\",\"lora_dropout\":0.5,\"future\":0}",
        "{\"lora_alpha\":16.0}",
        "{\"target_modules\":\"all-linear\"}",
        "{\"alpha_pattern\":{\"q_proj\":16},\"lora_alpha\":16}",
        "{\"r\":3,\"rank_pattern\":{\".*\":8}}",
    };
    char first[SHA256_HEX + 1], other[SHA256_HEX + 1];
    version_of(llama, directory, "{}", first);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        version_of(llama, directory, same[i], other);
        assert_string_equal(first, other);
    }
}

static void test_version_of_other_effect(void **state)
{
    (void)state;
    static const char *const different[] = {"{\"lora_alpha\":17}", "{\"use_rslora\":true}",
                                            "{\"alpha_pattern\":{\"layers.0.self_attn.q_proj\":17}}"};
    const char *directory = fixture_path("adapters/llama/r8-all");
    char first[SHA256_HEX + 1], other[SHA256_HEX + 1];
    version_of(llama, directory, "{}", first);
    for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
        version_of(llama, directory, different[i], other);
        assert_string_not_equal(first, other);
    }
    version_of(llama, fixture_path("adapters/llama/r8-all-f16"), "{}", other);
    assert_string_not_equal(first, other);
}

/* An adapter's name in the tensors' names is no part of the adapter. */
static void test_version_without_names(void **state)
{
    (void)state;
    const char *directory = fixture_path("adapters/llama/r4-qv");
    char plain[SHA256_HEX + 1], named[SHA256_HEX + 1];
    struct err e = {0};
    version_of(llama, directory, "{}", plain);
    int weights = renamed_weights(directory, ".lora_A.", ".lora_A.default.");
    struct peft *p = load(llama, open_file(directory, "adapter_config.json"), weights, 0, &e);
    if (!p)
        fail_msg("%s", e.message);
    hex_encode(peft_info(p)->version, SHA256_BYTES, named);
    assert_string_equal(plain, named);
    peft_free(p);
}

/* Without modules_to_save the same tensor changes both sides of a tied base: another adapter. */
static void test_version_of_saved(void **state)
{
    (void)state;
    struct model *qwen2 = fixture_model(fixture_path("models/qwen2"));
    char saved[SHA256_HEX + 1], shared[SHA256_HEX + 1];
    version_of(qwen2, fixture_path("adapters/qwen2/tied-save-head"), "{}", saved);
    version_of(qwen2, fixture_path("adapters/qwen2/tied-save-head"), "{\"modules_to_save\":null}", shared);
    assert_string_not_equal(saved, shared);
    version_of(llama, fixture_path("adapters/llama/save-head"), "{}", saved);
    version_of(llama, fixture_path("adapters/llama/save-head"), "{\"modules_to_save\":null}", shared);
    assert_string_equal(saved, shared);
    model_close(qwen2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supported),
        cmocka_unit_test(test_bad_uploads),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_no_default_targets),
        cmocka_unit_test(test_old_config),
        cmocka_unit_test(test_byte_order_mark),
        cmocka_unit_test(test_passed_over),
        cmocka_unit_test(test_passed_over_is_bounded),
        cmocka_unit_test(test_budget_of_expressions),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_no_effect_allowed),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_copies_of_saved_biases),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_version_definition),
        cmocka_unit_test(test_version_of_same_effect),
        cmocka_unit_test(test_version_of_other_effect),
        cmocka_unit_test(test_version_of_saved),
        cmocka_unit_test(test_version_without_names),
        cmocka_unit_test(test_tied_sides_that_differ),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
