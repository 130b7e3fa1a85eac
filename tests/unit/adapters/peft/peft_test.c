/* PEFT adapters: fixtures are accepted, bad uploads are refused and by which code. */
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/adapters/peft/loading.h"
#include "tests/unit/support/scratch.h"

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
        struct peft *p = loading_directory(m, directory, &e);
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
    if (loading_directory(loading_models.llama, path, &e))
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supported),
        cmocka_unit_test(test_bad_uploads),
    };
    return cmocka_run_group_tests(tests, loading_set_up, loading_tear_down);
}
