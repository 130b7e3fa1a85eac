/* What stands in the place of a file: named, with what to do; and JSON files of others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/format/filetype.h"
#include "core/format/json_file.h"

#define BYTES(text) text, sizeof text - 1
#define LFS "version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 4242\n"

static const struct {
    const char *start;
    size_t length;
    const char *code;          /* of weights; NULL: not known, left to the reader */
    const char *says, *advice; /* in the message, in the hint */
} starts[] = {
    {BYTES(LFS), "bad", "a Git LFS pointer, not weights", "git lfs pull"},
    {BYTES("version https://git-lfs.github.com/spec/v1\r\noid sha256:0\r\n"), "bad", "Git LFS",
     "git lfs pull"},
    {BYTES("version https://hawser.github.com/spec/v1\noid sha256:0\n"), "bad", "Git LFS", "git lfs pull"},
    {BYTES("<!DOCTYPE html>\n<html><head>"), "bad", "an HTML page", "sign-in"},
    {BYTES("\xef\xbb\xbf\r\n  <HTML lang=en>"), "bad", "an HTML page", "sign-in"},
    {BYTES("<!-- saved from url --><html>"), "bad", "an HTML page", "sign-in"},
    {BYTES("<?xml version=\"1.0\"?>\n<!DOCTYPE html PUBLIC>"), "bad", "an HTML page", "sign-in"},
    {BYTES("<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>"), "bad", "an XML document",
     "sign-in"},
    {BYTES("{\"error\":\"Repository not found\"}"), "bad", "a JSON text, not weights", "server's answer"},
    {BYTES("Entry not found"), "bad", "begins with: Entry not found", "Fetch the file itself"},
    {BYTES("Acc\xc3\xa8s refus\xc3\xa9"), "bad", "begins with: Acc\xc3\xa8s", "Fetch"},
    {BYTES("\x1f\x8b\x08\0\0\0\0\0\0\3"), "bad", "a gzip archive", "Unpack"},
    {BYTES("\xfd\x37zXZ\0\0\4"), "bad", "an xz archive", "Unpack"},
    {BYTES("\x28\xb5\x2f\xfd\0\0\0\0"), "bad", "a zstd archive", "Unpack"},
    {BYTES("BZh91AY&SY\x80\x80"), "bad", "a bzip2 archive", "Unpack"},
    {BYTES("7z\xbc\xaf\x27\x1c\0\4"), "bad", "a 7z archive", "Unpack"},
    {BYTES("PK\3\4\24\0\0\0\10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\25\0\0\0a/adapter_config.json"), "bad",
     "a zip archive", "Unpack"},
    {BYTES("PK\3\4\24\0\0\0\10\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\20\0\0\0archive/data.pkl"), "pickle_refused",
     "torch.save", "safe_serialization=True"},
    {BYTES("PK\3\4"), "pickle_refused", "torch.save", "safe_serialization=True"},
    {BYTES("\x80\2}q\0."), "pickle_refused", "a Python pickle", "safe_serialization=True"},
    {BYTES("\x80\5\x95"), "pickle_refused", "a Python pickle", "safe_serialization=True"},
    {BYTES("\x89HDF\r\n\x1a\n\0\0"), "bad", "an HDF5 file", "save_pretrained"},
    {BYTES("GGUF\3\0\0\0"), "bad", "a GGUF file", "GGUF"},
    {BYTES(""), NULL, NULL, NULL},
    {BYTES("\x80\6"), NULL, NULL, NULL},
    {BYTES("   \n"), NULL, NULL, NULL},
    {BYTES("\x10\0\0\0\0\0\0\0{\"a\":1}"), NULL, NULL, NULL},
    {BYTES("words\0words"), NULL, NULL, NULL},
    {BYTES("words\xffwords"), NULL, NULL, NULL},
};

static void what_stands_in_the_place_of_weights(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        struct err e = {0};
        int result = filetype_refuse(starts[i].start, starts[i].length, false, "the weights are", "weights",
                                     "bad", &e);
        if (!starts[i].code) {
            assert_int_equal(result, 0);
            continue;
        }
        if (result != -1 || strcmp(e.code, starts[i].code) != 0 || !strstr(e.message, starts[i].says) ||
            !strstr(e.hint, starts[i].advice))
            fail_msg("%.20s: %s: %s (%s)", starts[i].start, e.code, e.message, e.hint);
        assert_ptr_equal(strstr(e.message, "the weights are "), e.message);
    }
}

/* An archive may begin with anything; the mark is behind the first entry's name. */
static void a_tar_archive_is_known_by_its_mark(void **state)
{
    (void)state;
    char start[FILETYPE_BYTES] = "adapter_config.json";
    struct err e = {0};
    memcpy(start + 257, "ustar", 5);
    assert_int_equal(filetype_refuse(start, sizeof start, false, "the weights are", "weights", "bad", &e),
                     -1);
    assert_non_null(strstr(e.message, "a tar archive"));
    assert_int_equal(filetype_refuse(start, 261, false, "the weights are", "weights", "bad", &e), 0);
}

static void names_of_pickles(void **state)
{
    (void)state;
    static const char *const pickles[] = {"adapter_model.bin", "x.PT",  "a.pth", "a.pkl",
                                          "a.Pickle",          "a.ckpt"},
                             *const others[] = {
                                 "adapter_model.safetensors", "bin", ".bin", "", "a.bin.json", "x.gguf"};
    struct err e = {0};
    for (size_t i = 0; i < sizeof pickles / sizeof *pickles; i++)
        assert_true(filetype_is_pickle(pickles[i]));
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(filetype_is_pickle(others[i]));
    assert_int_equal(filetype_refuse_pickle("adapter_model.bin", &e), -1);
    assert_string_equal(e.code, "pickle_refused");
    assert_ptr_equal(strstr(e.message, "adapter_model.bin"), e.message);
}

static const struct {
    const char *text;
    size_t length;
    const char *says; /* NULL: read */
} texts[] = {
    {BYTES("{\"a\":1}"), NULL},
    {BYTES("\xef\xbb\xbf{\"a\":1}"), NULL},
    {BYTES("[]"), NULL},
    {BYTES("\xff\xfe{\0\"\0"), "UTF-16"},
    {BYTES("\xfe\xff\0{\0\""), "UTF-16"},
    {BYTES("\xef\xbb\xbf"), "byte order mark (BOM)"},
    {BYTES("\xef\xbb\xbf\xef\xbb\xbf{}"), "behind its byte order mark"},
    {BYTES(""), "not valid JSON"},
    {BYTES("{\"a\":1,\"a\":2}"), "duplicate"},
    {BYTES("{\"a\":1\0}"), "zero byte"},
    {BYTES("{}x"), "not valid JSON"},
    {BYTES(LFS), "Git LFS"},
    {BYTES("<html>"), "HTML"},
    {BYTES("\x1f\x8b\x08"), "gzip"},
};

static void json_texts(void **state)
{
    (void)state;
    static const struct json_file file = {.name = "config.json", .code = "bad"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct err e = {0};
        json_t *value = NULL;
        int result = json_file_parse(&file, texts[i].text, texts[i].length, &value, &e);
        assert_int_equal(result, texts[i].says ? -1 : 0);
        assert_true(!value == (result != 0));
        json_decref(value);
        if (!texts[i].says)
            continue;
        if (strcmp(e.code, "bad") != 0 || !strstr(e.message, texts[i].says) ||
            !strstr(e.message, "config.json"))
            fail_msg("%zu: %s: %s", i, e.code, e.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_stands_in_the_place_of_weights),
        cmocka_unit_test(a_tar_archive_is_known_by_its_mark),
        cmocka_unit_test(names_of_pickles),
        cmocka_unit_test(json_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
