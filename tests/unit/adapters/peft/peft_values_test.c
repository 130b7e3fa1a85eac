/* The numbers of an adapter: low-rank parts, tensors in the place of the base's, their kinds. */
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

#include "core/base/buf.h"
#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/adapters/peft/loading.h"

/* ---- values ---- */

static void test_values(void **state)
{
    (void)state;
    struct err e = {0};
    struct peft *p = loading_directory(loading_models.mlp, fixture_path("adapters/mlp/r8-fc2"), &e);
    assert_non_null(p);
    struct delta_part part;
    assert_int_equal(peft_source(p)->count, 1);
    assert_int_equal(delta_source_part(peft_source(p), 0, &part, &e), 0);
    assert_int_equal(part.site, model_find_site(loading_models.mlp, "fc2"));
    assert_int_equal(part.rank, 8);
    assert_true(part.scale == 0.5f);
    float a[8 * 128], b[64 * 8]; /* F32, A before B, behind the header */
    int fd = loading_file(fixture_path("adapters/mlp/r8-fc2"), "adapter_model.safetensors");
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
    struct peft *p =
        loading_patched(loading_models.mlp, fixture_path("adapters/mlp/r4"), "{\"lora_alpha\":0}", 1, &e);
    assert_non_null(p);
    peft_free(p);
    assert_null(
        loading_patched(loading_models.mlp, fixture_path("adapters/mlp/r4"), "{\"lora_alpha\":0}", 0, &e));
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
        struct peft *p = loading_load(qwen2, loading_file(directory, "adapter_config.json"), weights, 0, &e);
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
    int weights =
        moved ? moved_weights(directory, moved) : loading_file(directory, "adapter_model.safetensors");
    struct peft *p = loading_load(m, loading_file(directory, "adapter_config.json"), weights, 0, &e);
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
    check_replaced(loading_models.llama, "llama/lm-head", NULL, "");
    check_replaced(loading_models.llama, "llama/lm-head", "lm_head.base_layer.weight", "lm_head.weight;");
    check_replaced(loading_models.llama, "llama/embed", NULL, "");
    check_replaced(loading_models.llama, "llama/embed", "model.embed_tokens.base_layer.weight",
                   "model.embed_tokens.weight;");
    check_replaced(loading_models.llama, "llama/save-head", NULL, "lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-head", NULL, "");
    check_replaced(qwen2, "qwen2/tied-head", "lm_head.base_layer.weight",
                   "model.embed_tokens.weight;lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-embed", "model.embed_tokens.base_layer.weight",
                   "model.embed_tokens.weight;lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-save-head", NULL, "lm_head.weight;");
    check_replaced(qwen2, "qwen2/tied-save-embed", NULL, "model.embed_tokens.weight;");
    check_replaced(loading_models.mlp, "mlp/head", NULL, "fc4.weight;fc4.bias;");
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
        struct peft *p = loading_load(loading_models.mlp, loading_text(config),
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
    {&loading_models.llama, "llama/dora", "{\"use_dora\":false}", "adapter_unexpected_tensor"},
    {&loading_models.llama, "llama/save-head", "{\"modules_to_save\":[\"model.norm\"]}",
     "adapter_missing_tensor"},
    {&loading_models.llama, "llama/save-embed-norm", "{\"modules_to_save\":[\"embed_tokens\"]}",
     "adapter_unexpected_tensor"},
    {&loading_models.llama, "llama/save-embed-norm",
     "{\"modules_to_save\":[\"embed_tokens\",\"model.norm\"]}", "adapter_unexpected_tensor"},
    {&loading_models.llama, "llama/save-embed-norm",
     "{\"modules_to_save\":[\"embed_tokens\",\"norm\",\"lm_head\"]}", "adapter_missing_tensor"},
    {&loading_models.llama, "llama/save-only-attn-norm", "{\"modules_to_save\":null}",
     "adapter_unexpected_tensor"},
    {&loading_models.llama, "llama/save-only-attn-norm", "{\"modules_to_save\":[\"ut_layernorm\"]}", NULL},
    {&loading_models.llama, "llama/embed", "{\"target_modules\":[\"v_proj\"]}", "adapter_unexpected_tensor"},
    {&loading_models.llama, "llama/embed", "{\"use_dora\":true}", "adapter_missing_tensor"},
    {&loading_models.llama, "llama/embed", "{\"ensure_weight_tying\":true}", NULL}, /* nothing is tied */
    {&loading_models.llama, "llama/save-head", "{\"ensure_weight_tying\":true}", NULL},
    {&loading_models.mlp, "mlp/head", "{\"target_modules\":[\"fc1\",\"fc4\"]}",
     NULL}, /* fc4 is trained whole */
    {&loading_models.mlp, "mlp/head", "{\"target_modules\":[\"fc4\"]}", "adapter_unknown_module"},
    {&loading_models.mlp, "mlp/head", "{\"modules_to_save\":[\"fc4\",\"fc3\"]}", "adapter_missing_tensor"},
    {&loading_models.mlp, "mlp/head", "{\"bias\":\"all\"}", "adapter_missing_tensor"},
    {&loading_models.gpt2, "gpt2/wte", "{\"bias\":\"all\"}", "adapter_missing_tensor"},
    {&loading_models.gpt2, "gpt2/wte", "{\"fan_in_fan_out\":false}", NULL},
    {&loading_models.gpt2, "gpt2/wte", "{\"target_modules\":[\"c_fc\",\"wte\",\"wpe\"]}",
     "adapter_missing_tensor"},
};

static void test_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct err e = {0};
        struct peft *p = loading_patched(*kinds[i].model, fixture_path("adapters/%s", kinds[i].adapter),
                                         kinds[i].fields, 0, &e);
        const char *code = p ? "accepted" : e.code, *expected = kinds[i].code ? kinds[i].code : "accepted";
        if (strcmp(code, expected) != 0)
            fail_msg("%s with %s: expected %s, found %s (%s)", kinds[i].adapter, kinds[i].fields, expected,
                     code, p ? "" : e.message);
        peft_free(p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_no_effect_allowed),
        cmocka_unit_test(test_tied_sides_that_differ),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_copies_of_saved_biases),
        cmocka_unit_test(test_kinds),
    };
    return cmocka_run_group_tests(tests, loading_set_up, loading_tear_down);
}
