/* Which adapters have the same version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/adapters/peft/loading.h"

/* ---- version ---- */

static void version_of(const struct model *m, const char *directory, const char *patch,
                       char out[SHA256_HEX + 1])
{
    struct err e = {0};
    struct peft *p = loading_patched(m, directory, patch, 0, &e);
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
    version_of(loading_models.mlp, fixture_path("adapters/mlp/r8-fc2"), "{}", version);
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
    version_of(loading_models.llama, directory, "{}", first);
    for (size_t i = 0; i < sizeof same / sizeof *same; i++) {
        version_of(loading_models.llama, directory, same[i], other);
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
    version_of(loading_models.llama, directory, "{}", first);
    for (size_t i = 0; i < sizeof different / sizeof *different; i++) {
        version_of(loading_models.llama, directory, different[i], other);
        assert_string_not_equal(first, other);
    }
    version_of(loading_models.llama, fixture_path("adapters/llama/r8-all-f16"), "{}", other);
    assert_string_not_equal(first, other);
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

/* An adapter's name in the tensors' names is no part of the adapter. */
static void test_version_without_names(void **state)
{
    (void)state;
    const char *directory = fixture_path("adapters/llama/r4-qv");
    char plain[SHA256_HEX + 1], named[SHA256_HEX + 1];
    struct err e = {0};
    version_of(loading_models.llama, directory, "{}", plain);
    int weights = renamed_weights(directory, ".lora_A.", ".lora_A.default.");
    struct peft *p =
        loading_load(loading_models.llama, loading_file(directory, "adapter_config.json"), weights, 0, &e);
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
    version_of(loading_models.llama, fixture_path("adapters/llama/save-head"), "{}", saved);
    version_of(loading_models.llama, fixture_path("adapters/llama/save-head"), "{\"modules_to_save\":null}",
               shared);
    assert_string_equal(saved, shared);
    model_close(qwen2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_version_definition),      cmocka_unit_test(test_version_of_same_effect),
        cmocka_unit_test(test_version_of_other_effect), cmocka_unit_test(test_version_without_names),
        cmocka_unit_test(test_version_of_saved),
    };
    return cmocka_run_group_tests(tests, loading_set_up, loading_tear_down);
}
