/* Files of sentence-transformers: what is understood, what is a problem, what ends the start. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "core/system/file.h"
#include "server/base/pooling.h"
#include "tests/unit/support/scratch.h"

#define MODULE(CLASS, PATH) "{\"type\":\"sentence_transformers.models." CLASS "\",\"path\":\"" PATH "\"}"
#define MODULES                                                                              \
    "[" MODULE("Transformer", "") "," MODULE("Pooling", "1_Pooling") "," MODULE("Normalize", \
                                                                                "2_Normalize") "]"

/* Files that are NULL are not there. */
static int read_files(const char *modules, const char *config, enum pooling_kind wanted, struct pooling *out,
                      struct err *e)
{
    char *directory = scratch_new(), *folder = file_join(directory, "1_Pooling");
    assert_int_equal(mkdir(folder, 0700), 0);
    if (modules)
        scratch_write(directory, "modules.json", modules, strlen(modules));
    if (config)
        scratch_write(directory, "1_Pooling/config.json", config, strlen(config));
    int result = pooling_read(out, directory, wanted, e);
    free(folder);
    scratch_remove(directory);
    return result;
}

static const struct {
    const char *modules, *config;
    enum pooling_kind wanted, kind;
    const char *problem; /* words of it; NULL: none */
} good[] = {
    {NULL, NULL, POOLING_BY_FILES, POOLING_LAST, NULL},
    {NULL, NULL, POOLING_MEAN, POOLING_MEAN, NULL},
    {NULL, "{\"pooling_mode_mean_tokens\":true}", POOLING_BY_FILES, POOLING_LAST, NULL}, /* nobody names it */
    {MODULES, "{\"pooling_mode_mean_tokens\":true}", POOLING_BY_FILES, POOLING_MEAN, NULL},
    {MODULES, "{\"pooling_mode_mean_tokens\":true}", POOLING_LAST, POOLING_LAST, NULL},
    {MODULES, "{}", POOLING_BY_FILES, POOLING_MEAN, NULL},
    {MODULES, "{\"pooling_mode_mean_tokens\":false,\"pooling_mode_lasttoken\":true,\"include_prompt\":true}",
     POOLING_BY_FILES, POOLING_LAST, NULL},
    {MODULES, "{\"pooling_mode\":\"lasttoken\"}", POOLING_BY_FILES, POOLING_LAST, NULL},
    {MODULES, "{\"pooling_mode\":\"mean\"}", POOLING_BY_FILES, POOLING_MEAN, NULL},
    {MODULES, "{\"pooling_mode\":\"max\"}", POOLING_BY_FILES, POOLING_LAST, "max"},
    {MODULES, "{\"pooling_mode\":\"by moonlight\"}", POOLING_BY_FILES, POOLING_LAST, "by moonlight"},
    {MODULES, "{\"pooling_mode_mean_tokens\":false,\"pooling_mode_cls_token\":true}", POOLING_BY_FILES,
     POOLING_LAST, "pooling_mode_cls_token"},
    {MODULES, "{\"pooling_mode_lasttoken\":true}", POOLING_BY_FILES, POOLING_LAST, "2 vectors"},
    {MODULES, "{\"pooling_mode_mean_tokens\":false}", POOLING_BY_FILES, POOLING_LAST, "0 vectors"},
    {"[" MODULE("Transformer", "") "," MODULE("Dense", "2_Dense") "]", NULL, POOLING_BY_FILES, POOLING_LAST,
     "Dense"},
    {"not even JSON", NULL, POOLING_MEAN, POOLING_MEAN, NULL}, /* the option goes before the files */
};

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct pooling p;
        struct err e;
        if (read_files(good[i].modules, good[i].config, good[i].wanted, &p, &e) != 0)
            fail_msg("case %zu: %s: %s", i, e.code, e.message);
        if (p.kind != good[i].kind || !p.problem[0] != !good[i].problem ||
            (good[i].problem && !strstr(p.problem, good[i].problem)))
            fail_msg("case %zu: %s, problem \"%s\"", i, pooling_name(p.kind), p.problem);
    }
}

static const struct {
    const char *modules, *config;
} bad[] = {
    {"not even JSON", NULL},
    {"", NULL},
    {"{}", NULL},
    {"[1]", NULL},
    {"[{}]", NULL},
    {"[{\"type\":\"Pooling\"}]", NULL},
    {"[{\"type\":5,\"path\":\"1_Pooling\"}]", "{}"},
    {"[" MODULE("Pooling", "") "]", "{}"},
    {"[" MODULE("Pooling", "..") "]", "{}"},
    {"[" MODULE("Pooling", ".hidden") "]", "{}"},
    {"[" MODULE("Pooling", "../1_Pooling") "]", "{}"},
    {"[" MODULE("Pooling", "/etc") "]", "{}"},
    {MODULES, NULL},
    {MODULES, "[]"},
    {MODULES, "{\"pooling_mode\":1}"},
    {MODULES, "{\"pooling_mode_mean_tokens\":\"yes\"}"},
    {MODULES, "{\"a\":1,\"a\":2}"},
};

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct pooling p;
        struct err e;
        if (read_files(bad[i].modules, bad[i].config, POOLING_BY_FILES, &p, &e) == 0)
            fail_msg("case %zu was accepted", i);
        assert_string_equal(e.code, "model_malformed");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_good), cmocka_unit_test(test_bad)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
