/* From the `lora` of a request to what is trained, and back to files of PEFT: what is refused, by field; what
 * is written loads as what was trained. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/peft/peft.h"
#include "adapters/training/lora_export.h"
#include "adapters/training/lora_plan.h"
#include "adapters/types/warnings.h"
#include "core/base/buf.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

static json_t *parse(const char *text)
{
    json_t *value = text ? json_loads(text, JSON_DECODE_ANY, NULL) : NULL;
    assert_true(!text || value);
    return value;
}

static struct lora_plan *plan_of(const struct model *m, const char *lora, const char *saved, struct err *e)
{
    json_t *value = parse(lora), *names = parse(saved);
    struct lora_plan *p = NULL;
    int result = lora_plan_new(&p, m, value, names, e);
    json_decref(value);
    json_decref(names);
    return result == 0 ? p : NULL;
}

static struct lora_plan *good_plan(const struct model *m, const char *lora, const char *saved)
{
    struct err e;
    struct lora_plan *p = plan_of(m, lora, saved, &e);
    if (!p)
        fail_msg("%s: %s: %s", lora ? lora : "(none)", e.code, e.message);
    return p;
}

static void what_is_left_out_has_defaults(void **state)
{
    (void)state;
    static const char *const nothing[] = {NULL, "{}", "{\"r\": null, \"target_modules\": null}",
                                          "{\"target_modules\": \"all-linear\"}"};
    struct model *m = fixture_model(fixture_path("models/llama"));
    size_t sites;
    model_sites(m, &sites);
    for (size_t i = 0; i < sizeof nothing / sizeof *nothing; i++) {
        struct lora_plan *p = good_plan(m, nothing[i], NULL);
        const struct train_plan *t = &p->peft.train;
        assert_int_equal(t->site_count, sites - 2); /* but lm_head and the embedding */
        assert_int_equal(t->whole_count, 0);
        for (size_t k = 0; k < t->site_count; k++)
            assert_true(t->sites[k].rank == 16 && t->sites[k].scale == 2 && !t->sites[k].dora);
        assert_int_equal(lora_plan_rank(p), 16);
        assert_true(p->dropout == 0);
        lora_plan_free(p);
    }
    model_close(m);
}

/* What the text trains: "rank:scale" of the site, "d" behind that with DoRA, "-" of what is not trained. */
static void a_config_trains_what_peft_makes_of_it(void **state)
{
    (void)state;
    static const struct {
        const char *model, *lora, *saved, *path, *wanted;
        size_t sites, whole;
    } cases[] = {
        {"llama", "{\"target_modules\":[\"q_proj\",\"v_proj\"],\"r\":4,\"lora_alpha\":8}", NULL,
         "model.layers.1.self_attn.v_proj", "4:2", 6, 0},
        {"llama", "{\"r\":16,\"use_rslora\":true}", NULL, "model.layers.1.mlp.up_proj", "16:8", 21, 0},
        {"llama",
         "{\"r\":4,\"lora_alpha\":8,\"rank_pattern\":{\"q_proj\":16},\"alpha_pattern\":{\"^model.layers.0."
         "self_attn.q_proj\":64}}",
         NULL, "model.layers.0.self_attn.q_proj", "16:4", 21, 0},
        {"llama", "{\"use_dora\":true}", NULL, "model.layers.2.mlp.down_proj", "16:2d", 21, 0},
        {"llama", "{\"layers_to_transform\":[2]}", NULL, "model.layers.1.mlp.up_proj", "-", 7, 0},
        {"llama", "{\"exclude_modules\":[\"up_proj\"]}", NULL, "model.layers.1.mlp.up_proj", "-", 18, 0},
        {"llama", "{\"target_modules\":[\"lm_head\",\"embed_tokens\"]}", NULL, "lm_head", "16:2", 2, 0},
        {"llama", "{\"modules_to_save\":[\"lm_head\",\"norm\"]}", NULL, "lm_head", "-", 21, 8},
        {"qwen2", "{\"target_modules\":[\"q_proj\",\"o_proj\"],\"bias\":\"lora_only\"}", NULL, "lm_head", "-",
         6, 3},
        {"qwen2", "{\"target_modules\":[\"o_proj\"],\"bias\":\"all\"}", NULL, "lm_head", "-", 3, 9},
        {"qwen2", "null", "[\"lm_head\"]", "model.layers.0.mlp.up_proj", "-", 0, 1},
        {"gpt2", "{}", NULL, "transformer.h.0.attn.c_attn", "16:2", 12, 0},
        {"mlp", "{\"target_modules\":[\"fc1\"],\"modules_to_save\":[\"fc4\"]}", NULL, "fc1", "16:2", 1, 2},
        {"mlp", "{}", NULL, "fc4", "16:2", 4, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model *m = fixture_model(fixture_path("models/%s", cases[i].model));
        struct lora_plan *p = good_plan(m, cases[i].lora, cases[i].saved);
        const struct train_plan *t = &p->peft.train;
        char found[32] = "-";
        for (size_t k = 0; k < t->site_count; k++)
            if (t->sites[k].site == model_find_site(m, cases[i].path))
                snprintf(found, sizeof found, "%d:%g%s", t->sites[k].rank, (double)t->sites[k].scale,
                         t->sites[k].dora ? "d" : "");
        bool turned = json_is_true(json_object_get(p->config, "fan_in_fan_out"));
        assert_int_equal(turned, strcmp(cases[i].model, "gpt2") == 0); /* PEFT warns of what does not agree */
        if (strcmp(found, cases[i].wanted) != 0 || t->site_count != cases[i].sites ||
            t->whole_count != cases[i].whole)
            fail_msg("%s %s: %s of %s, %zu sites, %zu whole tensors", cases[i].model, cases[i].lora, found,
                     cases[i].path, t->site_count, t->whole_count);
        lora_plan_free(p);
        model_close(m);
    }
}

static void what_cannot_be_trained_is_refused_by_field(void **state)
{
    (void)state;
    static const struct {
        const char *model, *lora, *saved, *code, *param;
    } cases[] = {
        {"llama", "[]", NULL, "config_malformed", ""},
        {"llama", "null", NULL, "config_malformed", ""},
        {"llama", "null", "[]", "config_malformed", ""},
        {"llama", "{}", "[\"lm_head\"]", "config_malformed", ""},
        {"llama", "null", "\"lm_head\"", "config_malformed", "lora.modules_to_save"},
        {"llama", "null", "[\"lm_haed\"]", "adapter_unknown_module", "lora.modules_to_save"},
        {"llama", "{\"rank\":8}", NULL, "unknown_field", "lora.rank"},
        {"llama", "{\"r\":0}", NULL, "config_malformed", "lora.r"},
        {"llama", "{\"r\":8.5}", NULL, "config_malformed", "lora.r"},
        {"llama", "{\"r\":4096}", NULL, "adapter_rank_too_large", "lora.r"},
        {"llama", "{\"lora_alpha\":\"8\"}", NULL, "config_malformed", "lora.lora_alpha"},
        {"llama", "{\"lora_alpha\":1e300}", NULL, "adapter_not_finite", "lora.lora_alpha"},
        {"llama", "{\"lora_dropout\":1}", NULL, "config_malformed", "lora.lora_dropout"},
        {"llama", "{\"lora_dropout\":-0.1}", NULL, "config_malformed", "lora.lora_dropout"},
        {"llama", "{\"peft_type\":\"IA3\"}", NULL, "adapter_unsupported_type", "lora.peft_type"},
        {"llama", "{\"init_lora_weights\":\"pissa\"}", NULL, "adapter_unsupported_feature",
         "lora.init_lora_weights"},
        {"llama", "{\"init_lora_weights\":false}", NULL, "adapter_unsupported_feature",
         "lora.init_lora_weights"},
        {"llama", "{\"lora_bias\":true}", NULL, "adapter_unsupported_feature", "lora.lora_bias"},
        {"llama", "{\"trainable_token_indices\":[1]}", NULL, "adapter_unsupported_feature",
         "lora.trainable_token_indices"},
        {"llama", "{\"target_modules\":[\"q_proj\",\"k_porj\"]}", NULL, "adapter_unknown_module",
         "lora.target_modules"},
        {"llama", "{\"target_modules\":[\"norm\"]}", NULL, "adapter_unsupported_feature",
         "lora.target_modules"},
        {"llama", "{\"target_modules\":[\"lm_head\"],\"modules_to_save\":[\"head\"]}", NULL,
         "adapter_unsupported_feature", "lora.modules_to_save"},
        {"llama", "{\"rank_pattern\":{\"fc1\":4}}", NULL, "adapter_unknown_module", "lora.rank_pattern"},
        {"llama", "{\"layers_to_transform\":[7]}", NULL, "adapter_unknown_module", "lora.target_modules"},
        {"llama", "{\"layers_to_transform\":[1,7]}", NULL, "adapter_unknown_module",
         "lora.layers_to_transform"},
        {"llama", "{\"exclude_modules\":[\"fc1\"]}", NULL, "adapter_unknown_module", "lora.exclude_modules"},
        {"qwen2", "{\"target_modules\":[\"embed_tokens\"],\"ensure_weight_tying\":true}", NULL,
         "adapter_unsupported_feature", "lora.ensure_weight_tying"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model *m = fixture_model(fixture_path("models/%s", cases[i].model));
        struct err e = {0};
        struct lora_plan *p = plan_of(m, cases[i].lora, cases[i].saved, &e);
        if (p || strcmp(e.code, cases[i].code) != 0 || strcmp(e.param, cases[i].param) != 0 ||
            strstr(e.message, "adapter_config.json"))
            fail_msg("%s: %s of %s, expected %s of %s (%s)", cases[i].lora, p ? "(taken)" : e.code, e.param,
                     cases[i].code, cases[i].param, e.message);
        model_close(m);
    }
}

/* ---- files ---- */

static int append(void *arg, const void *data, size_t length, struct err *e)
{
    return buf_append(arg, data, length) == 0 ? 0 : err_memory(e);
}

static int refuse_to_write(void *arg, const void *data, size_t length, struct err *e)
{
    (void)arg;
    (void)data;
    (void)length;
    return err_set(e, "storage_full", "no room");
}

/* The directory that a client would download. */
static char *export_all(const struct lora_plan *p, const struct train_params *params)
{
    struct buf config = {0}, weights = {0};
    struct err e;
    char *directory = scratch_new();
    assert_int_equal(lora_export_config(p, append, &config, &e), 0);
    assert_int_equal(lora_export_weights(params, append, &weights, &e), 0);
    scratch_write(directory, "adapter_config.json", config.data, config.length);
    scratch_write(directory, "adapter_model.safetensors", weights.data, weights.length);
    buf_fini(&config);
    buf_fini(&weights);
    return directory;
}

static int open_in(const char *directory, const char *file)
{
    char path[1200];
    snprintf(path, sizeof path, "%s/%s", directory, file);
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    return fd;
}

/* Load the files again, go on from them, and find the same numbers. */
static void check_loaded(const struct model *m, const struct lora_plan *p, const struct train_params *params,
                         const char *directory)
{
    struct err e;
    struct peft *loaded;
    struct lora_plan *again;
    struct train_params *taken;
    int config = open_in(directory, "adapter_config.json"),
        weights = open_in(directory, "adapter_model.safetensors");
    if (peft_load(&loaded, m, config, weights, 0, &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    assert_int_equal(peft_warnings(loaded)->count, 0);
    assert_int_equal(lora_plan_of_adapter(&again, m, p->config, &e), 0);
    assert_int_equal(again->peft.train.site_count, p->peft.train.site_count);
    if (train_params_from(&taken, m, &again->peft.train, peft_source(loaded), &e) != 0)
        fail_msg("%s: %s", e.code, e.message);
    assert_int_equal(taken->count, params->count);
    assert_memory_equal(taken->memory, params->memory, params->numbers * sizeof(float));
    train_params_free(taken);
    lora_plan_free(again);
    peft_free(loaded);
    close(config);
    close(weights);
}

static void what_is_written_loads_as_what_was_trained(void **state)
{
    (void)state;
    static const struct {
        const char *model, *lora, *saved;
    } cases[] = {
        {"llama", "{\"r\":3,\"use_dora\":true}", NULL},
        {"llama", "{\"target_modules\":[\"lm_head\",\"embed_tokens\",\"v_proj\"]}", NULL},
        {"llama", "{\"target_modules\":[\"embed_tokens\"],\"use_dora\":true}", NULL},
        {"llama", "{\"r\":4,\"modules_to_save\":[\"lm_head\",\"norm\",\"embed_tokens\"]}", NULL},
        {"llama", "{\"rank_pattern\":{\"q_proj\":7},\"use_rslora\":true,\"layers_to_transform\":[0,2]}",
         NULL},
        {"llama", "null", "[\"model.norm\"]"},
        {"qwen2", "{\"target_modules\":[\"q_proj\",\"o_proj\"],\"bias\":\"lora_only\"}", NULL},
        {"qwen2", "{\"target_modules\":[\"o_proj\"],\"bias\":\"all\"}", NULL},
        {"qwen2", "{\"target_modules\":[\"lm_head\",\"embed_tokens\"]}", NULL},
        {"qwen2", "{\"modules_to_save\":[\"lm_head\"]}", NULL},
        {"gpt2", "{\"bias\":\"all\",\"modules_to_save\":[\"ln_f\"]}", NULL},
        {"gpt2", "{\"target_modules\":[\"wpe\",\"wte\",\"c_attn\"]}", NULL},
        {"mlp", "{\"target_modules\":[\"fc1\"],\"modules_to_save\":[\"fc4\"]}", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model *m = fixture_model(fixture_path("models/%s", cases[i].model));
        struct lora_plan *p = good_plan(m, cases[i].lora, cases[i].saved);
        struct train_params *params;
        struct err e;
        assert_int_equal(train_params_new(&params, m, &p->peft.train, i, &e), 0);
        for (int k = 0; k < params->count; k++)
            for (size_t n = 0; n < params->tensors[k].count; n++)
                params->tensors[k].value[n] += (float)(n % 17) / 64;
        char *directory = export_all(p, params);
        check_loaded(m, p, params, directory);
        scratch_remove(directory);
        train_params_free(params);
        lora_plan_free(p);
        model_close(m);
    }
}

static void what_cannot_be_written_is_an_error(void **state)
{
    (void)state;
    struct model *m = fixture_model(fixture_path("models/mlp"));
    struct lora_plan *p = good_plan(m, "{}", NULL);
    struct train_params *params;
    struct err e;
    assert_int_equal(train_params_new(&params, m, &p->peft.train, 1, &e), 0);
    assert_int_equal(lora_export_config(p, refuse_to_write, NULL, &e), -1);
    assert_string_equal(e.code, "storage_full");
    e.code = "";
    assert_int_equal(lora_export_weights(params, refuse_to_write, NULL, &e), -1);
    assert_string_equal(e.code, "storage_full");
    train_params_free(params);
    lora_plan_free(p);
    model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_left_out_has_defaults),
        cmocka_unit_test(a_config_trains_what_peft_makes_of_it),
        cmocka_unit_test(what_cannot_be_trained_is_refused_by_field),
        cmocka_unit_test(what_is_written_loads_as_what_was_trained),
        cmocka_unit_test(what_cannot_be_written_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
