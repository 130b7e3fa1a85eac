/* The README's table of models is what the families' data say; what a config uses, and what of it nobody here
 * knows, is said in words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/buf.h"
#include "core/model/config/config_read.h"
#include "core/model/config/features.h"
#include "core/system/file.h"
#include "tests/golden/fixture.h"
#include "tests/unit/support/scratch.h"

static void the_readme_has_the_families(void **state)
{
    (void)state;
    struct buf readme = {0}, table = {0};
    struct err e;
    char features[1024];
    buf_append_string(&table, "| `model_type` | models | beyond llama's network |\n|---|---|---|\n");
    for (size_t i = 0; family_at(i); i++) {
        const struct family *f = family_at(i);
        assert_non_null(f->about);
        features_of_family(f, features, sizeof features);
        assert_true(strlen(features) < sizeof features - 1);
        buf_printf(&table, "| `%s` | %s | %s |\n", f->name, f->about, features);
    }
    assert_int_equal(file_read("README.md", 1 << 20, &readme, &e), 0);
    buf_append(&readme, "", 1);
    buf_append(&table, "", 1);
    if (!strstr(readme.data, table.data)) {
        printf("%s", (const char *)table.data);
        fail_msg("README.md has another table of models than the one above, of core/model/config/families.c");
    }
    buf_fini(&readme);
    buf_fini(&table);
}

static const struct {
    const char *model, *word;
} used[] = {
    {"llama", "8 heads share 2 of keys"},
    {"llama-yarn", "rope yarn by 8"},
    {"phi3-longrope", "12 of 16 numbers of a head rotated"},
    {"gemma2", "scores within 3"},
    {"gemma3", "rope theta 10000 of layers that slide"},
    {"smollm3", "1 layers without rotation"},
    {"exaone4", "a window of 24 tokens in 3 of 4 layers"},
    {"qwen2", "the head is the embedding"},
};

static void a_config_says_what_it_uses(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof used / sizeof *used; i++) {
        struct config c;
        struct err e;
        char features[1024];
        assert_int_equal(config_read(&c, fixture_path("models/%s", used[i].model), &e), 0);
        features_of_config(&c, features, sizeof features);
        if (!strstr(features, used[i].word))
            fail_msg("%s: \"%s\" is not in \"%s\"", used[i].model, used[i].word, features);
        if (c.unknown[0])
            fail_msg("%s: %s are not known", used[i].model, c.unknown);
    }
}

static void unknown_fields_are_listed(void **state)
{
    (void)state;
    static const char text[] =
        "{\"model_type\": \"llama\", \"hidden_size\": 64, \"num_hidden_layers\": 1, \"num_attention_heads\": "
        "8,"
        "\"intermediate_size\": 160, \"vocab_size\": 320, \"max_position_embeddings\": 256,"
        "\"initializer_range\": 0.02, \"new_number\": 3, \"new_word\": \"x\", \"new_nothing\": null}";
    char *directory = scratch_new();
    struct config c;
    struct err e;
    scratch_write(directory, "config.json", text, strlen(text));
    assert_int_equal(config_read(&c, directory, &e), 0);
    assert_string_equal(c.unknown, "new_number, new_word");
    scratch_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_readme_has_the_families),
        cmocka_unit_test(a_config_says_what_it_uses),
        cmocka_unit_test(unknown_fields_are_listed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
