/* Tokenizers against what Hugging Face `tokenizers` gave (tests/fixtures/tokenizers), and bad input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/unicode/nfc.h"
#include "core/unicode/pattern.h"
#include "core/tokenizer/detokenizer.h"
#include "core/tokenizer/tokenizer.h"
#include "core/base/utf8.h"
#include "tests/unit/support/scratch.h"

static const char *fixtures(void)
{
    const char *directory = getenv("ADAPTERD_FIXTURES");
    return directory ? directory : "tests/fixtures";
}

static json_t *read_json(const char *format, const char *name)
{
    char path[512];
    json_error_t error;
    snprintf(path, sizeof path, "%s/tokenizers/", fixtures());
    size_t length = strlen(path);
    snprintf(path + length, sizeof path - length, "%s%s", name, format);
    json_t *json = json_load_file(path, JSON_ALLOW_NUL, &error);
    if (!json)
        fail_msg("%s: %s", path, error.text);
    return json;
}

static struct tokenizer *open_fixture(const char *name)
{
    char path[512];
    struct err e;
    struct tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/tokenizers/%s", fixtures(), name);
    if (tokenizer_open(&t, path, TOKENIZER_OF_FILE, &e) != 0)
        fail_msg("%s: %s", path, e.message);
    return t;
}

/* tokenizer_open on a tokenizer.json of these bytes. */
static int open_bytes(struct tokenizer **out, const char *data, size_t length, struct err *e)
{
    char *directory = scratch_new();
    scratch_write(directory, "tokenizer.json", data, length);
    int result = tokenizer_open(out, directory, TOKENIZER_OF_FILE, e);
    scratch_remove(directory);
    return result;
}

static int open_json(struct tokenizer **out, json_t *json, struct err *e)
{
    char *text = json_dumps(json, JSON_COMPACT);
    int result = open_bytes(out, text, strlen(text), e);
    free(text);
    return result;
}

/* ---- equal to the reference ---- */

static int32_t *read_ids(json_t *list, size_t *count)
{
    *count = json_array_size(list);
    int32_t *ids = calloc(*count + 1, sizeof *ids);
    for (size_t i = 0; i < *count; i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

static void check_encode(const struct tokenizer *t, const char *name, json_t *text, bool special,
                         json_t *expected)
{
    size_t count;
    struct err e;
    struct token_list list = {0};
    int32_t *ids = read_ids(expected, &count);
    if (tokenizer_encode(t, json_string_value(text), json_string_length(text), special, &list, &e) != 0)
        fail_msg("%s: \"%s\": %s", name, json_string_value(text), e.message);
    if (list.count != count || memcmp(list.ids ? list.ids : ids, ids, count * sizeof *ids) != 0)
        fail_msg("%s: \"%s\" (special %d): other ids than expected", name, json_string_value(text), special);
    token_list_fini(&list);
    free(ids);
}

/* Push by push, never half a character; in the end what tokenizer_decode gives. */
static void decode_in_steps(const struct tokenizer *t, const int32_t *ids, size_t count, bool skip,
                            struct buf *out)
{
    struct err e;
    struct detokenizer d;
    struct buf whole = {0};
    detokenizer_init(&d, t, skip);
    for (size_t i = 0; i < count; i++) {
        size_t before = out->length;
        assert_int_equal(detokenizer_push(&d, ids[i], out, &e), 0);
        assert_true(utf8_valid(out->data + before, out->length - before));
    }
    assert_int_equal(detokenizer_finish(&d, out, &e), 0);
    detokenizer_fini(&d);
    assert_int_equal(tokenizer_decode(t, ids, count, skip, &whole, &e), 0);
    assert_int_equal(whole.length, out->length);
    assert_true(whole.length == 0 || memcmp(whole.data, out->data, whole.length) == 0);
    buf_fini(&whole);
}

static void check_decode(const struct tokenizer *t, const char *name, json_t *list, bool skip,
                         json_t *expected)
{
    size_t count;
    struct buf text = {0};
    int32_t *ids = read_ids(list, &count);
    decode_in_steps(t, ids, count, skip, &text);
    if (text.length != json_string_length(expected) ||
        (text.length > 0 && memcmp(text.data, json_string_value(expected), text.length) != 0))
        fail_msg("%s: decoded \"%s\", expected \"%s\"", name, text.data ? text.data : "",
                 json_string_value(expected));
    buf_fini(&text);
    free(ids);
}

static void check_fixture(const char *name)
{
    struct tokenizer *t = open_fixture(name);
    json_t *cases = read_json("/cases.json", name), *c;
    size_t index;
    assert_true(json_array_size(cases) > 100);
    json_array_foreach(cases, index, c)
    {
        json_t *text = json_object_get(c, "text"), *ids = json_object_get(c, "ids");
        json_t *plain = json_object_get(c, "ids_without_special");
        check_encode(t, name, text, true, ids);
        check_encode(t, name, text, false, plain);
        check_decode(t, name, plain, false, json_object_get(c, "decoded"));
        check_decode(t, name, ids, true, json_object_get(c, "decoded_skip_special"));
    }
    json_decref(cases);
    tokenizer_close(t);
}

static const char *const names[] = {"digits", "gpt2", "llama2", "llama3", "metaspace", "qwen2"};

static void every_fixture_case_is_equal(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        check_fixture(names[i]);
}

/* The tokenizer of a variant: a fixture's with other components. */
static json_t *build_variant(json_t *variant)
{
    json_t *json = read_json("/tokenizer.json", json_string_value(json_object_get(variant, "base")));
    json_t *model = json_object_get(json, "model"), *vocab = json_object_get(model, "vocab"), *value;
    json_t *merges = json_object_get(model, "merges"), *merge;
    const char *key;
    size_t index;
    json_object_update(json, json_object_get(variant, "set"));
    json_object_update(model, json_object_get(variant, "model"));
    json_object_foreach(json_object_get(variant, "rename"), key, value)
    {
        json_object_set(vocab, json_string_value(value), json_object_get(vocab, key));
        json_object_del(vocab, key);
    }
    if (json_object_get(variant, "merges"))
        json_array_foreach(merges, index, merge) if (json_is_array(merge))
            json_array_set_new(merges, index,
                               json_sprintf("%s %s", json_string_value(json_array_get(merge, 0)),
                                            json_string_value(json_array_get(merge, 1))));
    return json;
}

static void check_variant(json_t *variant, size_t number)
{
    char name[32];
    struct err e;
    struct tokenizer *t;
    json_t *json = build_variant(variant), *c;
    size_t index;
    snprintf(name, sizeof name, "variant %zu", number);
    if (open_json(&t, json, &e) != 0)
        fail_msg("%s: %s", name, e.message);
    json_array_foreach(json_object_get(variant, "cases"), index, c)
    {
        check_encode(t, name, json_object_get(c, "text"), true, json_object_get(c, "ids"));
        check_encode(t, name, json_object_get(c, "text"), false, json_object_get(c, "ids_without_special"));
    }
    json_array_foreach(json_object_get(variant, "decodings"), index, c)
    {
        check_decode(t, name, json_object_get(c, "ids"), false, json_object_get(c, "decoded"));
        check_decode(t, name, json_object_get(c, "ids"), true, json_object_get(c, "decoded_skip_special"));
    }
    json_decref(json);
    tokenizer_close(t);
}

static void every_variant_is_equal(void **state)
{
    (void)state;
    json_t *variants = read_json("variants.json", ""), *variant;
    size_t index;
    assert_true(json_array_size(variants) > 50);
    json_array_foreach(variants, index, variant) check_variant(variant, index);
    json_decref(variants);
}

/* ---- classes of transformers 5 ---- */

static void write_json(const char *directory, const char *name, const json_t *json)
{
    char *text = json_dumps(json, JSON_COMPACT);
    scratch_write(directory, name, text, strlen(text));
    free(text);
}

/* A directory as transformers saw it. */
static char *write_base(json_t *variant)
{
    char *directory = scratch_new();
    json_t *tokenizer = build_variant(variant);
    json_t *config = json_pack("{s:O}", "model_type", json_object_get(variant, "model_type"));
    write_json(directory, "tokenizer.json", tokenizer);
    write_json(directory, "tokenizer_config.json", json_object_get(variant, "config"));
    write_json(directory, "config.json", config);
    json_decref(tokenizer);
    json_decref(config);
    return directory;
}

static bool same_tokens(const struct tokenizer *a, const struct tokenizer *b, const json_t *text)
{
    struct token_list x = {0}, y = {0};
    struct err e;
    const char *bytes = json_string_value(text);
    size_t length = json_string_length(text);
    assert_int_equal(tokenizer_encode(a, bytes, length, true, &x, &e), 0);
    assert_int_equal(tokenizer_encode(b, bytes, length, true, &y, &e), 0);
    bool same = x.count == y.count && (x.count == 0 || memcmp(x.ids, y.ids, x.count * sizeof *x.ids) == 0);
    token_list_fini(&x);
    token_list_fini(&y);
    return same;
}

/* Whether the class makes a difference for one of the texts. */
static bool check_class(json_t *variant)
{
    const char *name = json_string_value(json_object_get(variant, "name"));
    char *directory = write_base(variant);
    struct tokenizer *of_class, *of_file;
    struct err e;
    json_t *c;
    size_t index;
    bool differs = false;
    if (tokenizer_open(&of_class, directory, TOKENIZER_OF_CLASS, &e) != 0 ||
        tokenizer_open(&of_file, directory, TOKENIZER_OF_FILE, &e) != 0)
        fail_msg("%s: %s", name, e.message);
    json_array_foreach(json_object_get(variant, "cases"), index, c)
    {
        json_t *text = json_object_get(c, "text");
        check_encode(of_class, name, text, true, json_object_get(c, "ids"));
        check_decode(of_class, name, json_object_get(c, "ids"), false, json_object_get(c, "decoded"));
        differs = differs || !same_tokens(of_class, of_file, text);
    }
    if (tokenizer_disputed(of_file) != tokenizer_disputed(of_class) || tokenizer_disputed(of_file) != differs)
        fail_msg("%s: the tokens %s, it says the opposite", name, differs ? "differ" : "are the same");
    tokenizer_close(of_class);
    tokenizer_close(of_file);
    scratch_remove(directory);
    return differs;
}

static void a_class_has_the_tokens_of_transformers_5(void **state)
{
    (void)state;
    json_t *variants = read_json("transformers5.json", ""), *variant;
    size_t index, differing = 0;
    json_array_foreach(variants, index, variant) differing += check_class(variant);
    assert_true(differing > 10 && json_array_size(variants) - differing > 4);
    json_decref(variants);
}

static void a_damaged_tokenizer_config_is_an_error(void **state)
{
    (void)state;
    static const char *const configs[] = {"", "[]", "{\"tokenizer_class\": \"LlamaTokenizer\"",
                                          "{\"a\": 1, \"a\": 2}"};
    json_t *json = read_json("/tokenizer.json", "llama2");
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        char *directory = scratch_new();
        struct tokenizer *t;
        struct err e;
        write_json(directory, "tokenizer.json", json);
        scratch_write(directory, "tokenizer_config.json", configs[i], strlen(configs[i]));
        assert_int_equal(tokenizer_open(&t, directory, TOKENIZER_OF_FILE, &e), -1);
        assert_string_equal(e.code, "tokenizer_malformed");
        assert_non_null(strstr(e.message, "tokenizer_config.json"));
        scratch_remove(directory);
    }
    json_decref(json);
}

/* ---- decoding ---- */

static void random_ids_decode_the_same_in_steps(void **state)
{
    (void)state;
    uint32_t random = 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tokenizer *t = open_fixture(names[i]);
        for (int round = 0; round < 200; round++) {
            int32_t ids[40];
            struct buf text = {0};
            for (size_t j = 0; j < 40; j++) {
                random = random * 1664525 + 1013904223;
                ids[j] = (int32_t)((random >> 8) % (uint32_t)(round % 2 ? tokenizer_vocab_size(t) : 270));
            }
            decode_in_steps(t, ids, 40, round % 3 == 0, &text);
            buf_fini(&text);
        }
        tokenizer_close(t);
    }
}

static void a_token_shows_as_soon_as_it_is_whole(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *t = open_fixture("gpt2");
    struct token_list ids = {0};
    struct detokenizer d;
    struct buf out = {0};
    assert_int_equal(tokenizer_encode(t,
                                      "a\xF4\x8F\xBF\xBF"
                                      "b",
                                      6, false, &ids, &e),
                     0);
    assert_int_equal(ids.count, 6); /* this vocabulary has the character as four bytes */
    static const size_t shown[] = {1, 1, 1, 1, 5, 6};
    detokenizer_init(&d, t, false);
    for (size_t i = 0; i < ids.count; i++) {
        assert_int_equal(detokenizer_push(&d, ids.ids[i], &out, &e), 0);
        assert_int_equal(out.length, shown[i]);
    }
    detokenizer_fini(&d);
    buf_fini(&out);
    token_list_fini(&ids);
    tokenizer_close(t);
}

/* The bytes of all tokens, one by one, are the text: also where a character takes several tokens. */
static void tokens_have_bytes_of_their_own(void **state)
{
    (void)state;
    static const char *const with_bytes[] = {"gpt2", "llama3", "qwen2", "llama2"};
    static const char text[] = "a\xF4\x8F\xBF\xBF\xE2\x9A\x93 b";
    for (size_t i = 0; i < sizeof with_bytes / sizeof *with_bytes; i++) {
        struct err e;
        struct tokenizer *t = open_fixture(with_bytes[i]);
        struct token_list ids = {0};
        struct buf out = {0};
        size_t parts = 0;
        assert_int_equal(tokenizer_encode(t, text, sizeof text - 1, false, &ids, &e), 0);
        for (size_t k = 0; k < ids.count; k++) {
            size_t before = out.length;
            assert_int_equal(tokenizer_bytes(t, ids.ids[k], &out, &e), 0);
            parts += !utf8_valid(out.data + before, out.length - before);
        }
        assert_true(parts > 1);
        assert_true(out.length >= 8 && memcmp(out.data, text, 8) == 0);
        assert_int_equal(tokenizer_bytes(t, -1, &out, &e), -1);
        size_t before = out.length; /* of a base with more ids than this */
        assert_int_equal(tokenizer_bytes(t, tokenizer_vocab_size(t), &out, &e), 0);
        assert_int_equal(out.length, before);
        buf_fini(&out);
        token_list_fini(&ids);
        tokenizer_close(t);
    }
}

static void ids_out_of_range_are_refused(void **state)
{
    (void)state;
    struct tokenizer *t = open_fixture("gpt2");
    const int32_t bad[] = {-1, tokenizer_vocab_size(t), INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < 4; i++) {
        struct err e;
        struct buf out = {0};
        const int32_t ids[] = {1, bad[i]};
        assert_int_equal(tokenizer_decode(t, ids, 2, false, &out, &e), -1);
        assert_string_equal(e.code, "token_out_of_range");
        assert_int_equal(out.length, 0);
        assert_false(tokenizer_is_special(t, bad[i]));
        buf_fini(&out);
    }
    tokenizer_close(t);
}

static void tokens_are_found_by_content(void **state)
{
    (void)state;
    struct tokenizer *t = open_fixture("digits");
    assert_int_equal(tokenizer_vocab_size(t), 703);
    assert_int_equal(tokenizer_find(t, "<mask>"), 700);
    assert_int_equal(tokenizer_find(t, "<|im_end|>"), 2);
    assert_int_equal(tokenizer_find(t, "<|nothing|>"), -1);
    assert_true(tokenizer_is_special(t, 700));
    assert_false(tokenizer_is_special(t, 701));
    assert_false(tokenizer_is_special(t, 50));
    tokenizer_close(t);
}

/* ---- hostile text ---- */

static void invalid_utf8_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80", "a\xC3", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                      "\xFF"};
    struct tokenizer *t = open_fixture("llama2");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e;
        struct token_list ids = {0};
        assert_int_equal(tokenizer_encode(t, bad[i], strlen(bad[i]), true, &ids, &e), -1);
        assert_string_equal(e.code, "invalid_utf8");
        assert_int_equal(ids.count, 0);
        token_list_fini(&ids);
    }
    tokenizer_close(t);
}

/* ThreadSanitizer makes some of these texts four hundred times slower. */
#ifdef __SANITIZE_THREAD__
enum { SLOW_BYTES = 1 << 17 };
#else
enum { SLOW_BYTES = 1 << 20 };
#endif

static void encode_repeated(const struct tokenizer *t, const char *name, const char *unit, const char *tail)
{
    enum { LIMIT_MS = 10000 }; /* a quadratic step would take hours */
    struct buf text = {0};
    struct err e;
    struct token_list ids = {0};
    while (text.length < SLOW_BYTES)
        assert_int_equal(buf_append_string(&text, unit), 0);
    assert_int_equal(buf_append_string(&text, tail), 0);
    clock_t start = clock(); /* of this process alone: the machine may be busy */
    if (tokenizer_encode(t, text.data, text.length, true, &ids, &e) != 0)
        fail_msg("%s: %s: %s", name, unit, e.message);
    double took = (double)(clock() - start) * 1000 / CLOCKS_PER_SEC;
    const char *scale = getenv("ADAPTERD_TIMEOUT_SCALE"); /* sanitizers are slow */
    if (took > LIMIT_MS * (scale ? atof(scale) : 1))
        fail_msg("%s: %d bytes of \"%s\" took %.0f ms", name, SLOW_BYTES, unit, took);
    token_list_fini(&ids);
    buf_fini(&text);
}

static void no_text_is_slow(void **state)
{
    (void)state;
    static const char *const units[] = {"a",
                                        " ",
                                        "\n",
                                        "ab",
                                        "<",
                                        "<|",
                                        "<|im_start|>",
                                        "<unk>",
                                        "  <mask>  ",
                                        "\t x",
                                        "1",
                                        "\r\n",
                                        " \n",
                                        "\xCC\x81",
                                        "'s",
                                        "'",
                                        "world ",
                                        "\xCC\x81\xCC\xA3",
                                        "\xC2\xA0",
                                        "\xE2\x96\x81",
                                        "\xE4\xB8\x96",
                                        "\xF0\x9F\x91\x8D",
                                        "\xE0\xBD\xB3\xE0\xBD\xB1",
                                        "<0x41>"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct tokenizer *t = open_fixture(names[i]);
        for (size_t j = 0; j < sizeof units / sizeof *units; j++)
            if ((i + j) % 3 == 0 || i == 5) /* each kind of text with each kind of split, in a few seconds */
                encode_repeated(t, names[i], units[j], "x");
        tokenizer_close(t);
    }
}

/* An added token of white space that strips white space must not walk a long run again and again. */
static void stripping_is_linear(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *t;
    json_t *json = read_json("/tokenizer.json", "gpt2");
    json_array_append_new(json_object_get(json, "added_tokens"),
                          json_pack("{s:i,s:s,s:b,s:b,s:b}", "id", 900, "content", "\t", "lstrip", 1,
                                    "rstrip", 1, "normalized", 0));
    assert_int_equal(open_json(&t, json, &e), 0);
    encode_repeated(t, "gpt2", "\t", "");
    encode_repeated(t, "gpt2", "\t ", "x");
    tokenizer_close(t);
    json_decref(json);
}

/* ---- bad files ---- */

#define MODEL(fields) \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[]" fields "}}"
#define WITH(fields) "{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[]}," fields "}"
#define MALFORMED "tokenizer_malformed"
#define UNSUPPORTED "tokenizer_unsupported"

static void bad_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *json, *code, *says;
    } cases[] = {
        {"", MALFORMED, "tokenizer.json"},
        {"{", MALFORMED, "tokenizer.json"},
        {"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", MALFORMED,
         "tokenizer.json is a Git LFS pointer"},
        {"[]", MALFORMED, "object"},
        {"{}", MALFORMED, "model"},
        {"{\"model\":null}", MALFORMED, "model"},
        {"{\"model\":{\"vocab\":{}}}", MALFORMED, "merges"},
        {"{\"model\":{\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":[],\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\":99999999999},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\":1.5},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\":1,\"b\":1},\"merges\":[]}}", MALFORMED, "twice"},
        {"{\"model\":{\"vocab\":{\"a\":1,\"a\":2},\"merges\":[]}}", MALFORMED, "twice"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"vocab\":{},\"merges\":[]}}", MALFORMED, "duplicate"},
        {"{\"model\":{\"vocab\":{},\"merges\":[]},\"model\":{}}", MALFORMED, "duplicate"},
        {"{\"model\":{\"vocab\":{\"a\":0,},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\" 0},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\":0 \"b\":1},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\":00},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"\\ud800\":0},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"\\udc00\":0},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"\\x\":0},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"\n\":0},\"merges\":[]}}", MALFORMED, "vocab"},
        {"{\"model\":{\"vocab\":{\"\xff\":0},\"merges\":[]}}", MALFORMED, "UTF-8"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\",]}}", MALFORMED, "merges"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[[\"a\",\"a\",\"a\"]]}}", MALFORMED, "merges"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a\"", MALFORMED, "tokenizer.json"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a x\"]}}", MALFORMED, "merges"},
        {"{\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}}", MALFORMED, "\"ab\""},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a\"]}}", MALFORMED, "pair"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a a\"]}}", MALFORMED, "pair"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", MALFORMED, "pair"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\",1]]}}", MALFORMED, "pair"},
        {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[7]}}", MALFORMED, "pair"},
        {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", UNSUPPORTED, "WordPiece"},
        {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", UNSUPPORTED, "Unigram"},
        {MODEL(",\"dropout\":0.1"), UNSUPPORTED, "dropout"},
        {MODEL(",\"continuing_subword_prefix\":\"##\""), UNSUPPORTED, "continuing_subword_prefix"},
        {MODEL(",\"end_of_word_suffix\":\"</w>\""), UNSUPPORTED, "end_of_word_suffix"},
        {MODEL(",\"byte_fallback\":1"), MALFORMED, "byte_fallback"},
        {MODEL(",\"unk_token\":1"), MALFORMED, "unk_token"},
        {MODEL(",\"something_new\":true"), UNSUPPORTED, "something_new"},
        {WITH("\"version\":\"2.0\""), UNSUPPORTED, "version"},
        {WITH("\"truncation\":{\"max_length\":8}"), UNSUPPORTED, "truncation"},
        {WITH("\"padding\":{}"), UNSUPPORTED, "padding"},
        {WITH("\"something_new\":[1]"), UNSUPPORTED, "something_new"},
        {WITH("\"normalizer\":{\"type\":\"Lowercase\"}"), UNSUPPORTED, "Lowercase"},
        {WITH("\"normalizer\":{\"type\":\"NFKC\"}"), UNSUPPORTED, "NFKC"},
        {WITH("\"normalizer\":7"), MALFORMED, "normalizer"},
        {WITH("\"normalizer\":{}"), MALFORMED, "type"},
        {WITH("\"normalizer\":{\"type\":\"Sequence\"}"), MALFORMED, "normalizers"},
        {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":\" \",\"content\":\"\"}"), MALFORMED,
         "Replace"},
        {WITH("\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x*\"},\"content\":\"\"}"),
         UNSUPPORTED, "Replace"},
        {WITH("\"pre_tokenizer\":{\"type\":\"BertPreTokenizer\"}"), UNSUPPORTED, "BertPreTokenizer"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Whitespace\"}"), UNSUPPORTED, "Whitespace"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":"
              "\"Isolated\"}"),
         UNSUPPORTED, "empty"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Other\"}"),
         UNSUPPORTED, "Other"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":"
              "\"Isolated\"}"),
         UNSUPPORTED, "("},
        {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"ab\"}"), MALFORMED, "replacement"},
        {WITH("\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":\"_\",\"prepend_scheme\":\"x\"}"),
         MALFORMED, "prepend_scheme"},
        {WITH("\"decoder\":{\"type\":\"WordPiece\"}"), UNSUPPORTED, "WordPiece"},
        {WITH("\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":"
              "\"ByteFallback\"}]}"),
         UNSUPPORTED, "ByteFallback"},
        {WITH("\"post_processor\":{\"type\":\"BertProcessing\"}"), UNSUPPORTED, "BertProcessing"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":"
              "\"x\"}}]}"),
         MALFORMED, "special_tokens"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"B\"}}]"
              "}"),
         UNSUPPORTED, "Sequence A"},
        {WITH("\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[{\"Sequence\":{\"id\":\"A\"}},"
              "{\"SpecialToken\":{\"id\":\"x\"}}],\"special_tokens\":{\"x\":{\"ids\":[77]}}}"),
         MALFORMED, "77"},
        {WITH("\"added_tokens\":{}"), MALFORMED, "added_tokens"},
        {WITH("\"added_tokens\":[{\"content\":1}]"), MALFORMED, "content"},
        {WITH("\"added_tokens\":[{\"content\":\"x\",\"lstrip\":\"yes\"}]"), MALFORMED, "lstrip"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e = {0};
        struct tokenizer *t = NULL;
        int result = open_bytes(&t, cases[i].json, strlen(cases[i].json), &e);
        if (result != -1 || strcmp(e.code, cases[i].code) != 0 || !strstr(e.message, cases[i].says) || t)
            fail_msg("%s: %d %s %s", cases[i].json, result, result ? e.code : "", result ? e.message : "");
    }
}

static void the_model_may_be_written_in_any_way_json_allows(void **state)
{
    (void)state;
    static const char json[] =
        " { \"x\" : [ \"}{\\\"\" , null ] , \"model\" : { \"merges\" : [ \"#version: 0.2\" , [ \"a\" , \"b\" "
        "] , \"ab \\u00e9\" ]"
        ", \"vocab\" : { \"a\" : 0 , \"\\u0062\" : 1 , \"ab\" : 5 , \"\\u00E9\" : 3 , \"ab\xC3\xA9\" : 4 ,"
        " \"\\u0000\" : 2 , \"\\ud83d\\ude42\\/\\n\" : 6 } } } ";
    static const int32_t expected[] = {4, 2, 5};
    struct err e;
    struct tokenizer *t;
    struct token_list ids = {0};
    if (open_bytes(&t, json, sizeof json - 1, &e) == 0) /* "x" switches something on */
        fail_msg("the field x was taken");
    const char *model = strstr(json, "\"model\"");
    char text[512];
    snprintf(text, sizeof text, "{%s", model);
    if (open_bytes(&t, text, strlen(text), &e) != 0)
        fail_msg("%s", e.message);
    assert_int_equal(tokenizer_vocab_size(t), 7);
    assert_int_equal(tokenizer_find(t, "\xF0\x9F\x99\x82/\n"), 6);
    assert_int_equal(tokenizer_encode(t, "ab\xC3\xA9\0ab", 7, true, &ids, &e), 0);
    assert_int_equal(ids.count, 3);
    assert_memory_equal(ids.ids, expected, sizeof expected);
    token_list_fini(&ids);
    tokenizer_close(t);
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *t = NULL;
    struct buf text = {0};
    buf_append_string(&text, "{\"normalizer\":");
    for (int i = 0; i < 100000; i++)
        buf_append_string(&text, "{\"type\":\"Sequence\",\"normalizers\":[");
    assert_int_equal(open_bytes(&t, text.data, text.length, &e), -1);
    assert_string_equal(e.code, MALFORMED);
    buf_clear(&text);
    buf_append_string(&text, "{\"model\":{\"vocab\":{},\"merges\":[]},\"normalizer\":");
    for (int i = 0; i < 50; i++)
        buf_append_string(&text, "{\"type\":\"Sequence\",\"normalizers\":[");
    buf_append_string(&text, "{\"type\":\"NFC\"}");
    for (int i = 0; i < 50; i++)
        buf_append_string(&text, "]}");
    buf_append_string(&text, "}");
    assert_int_equal(open_bytes(&t, text.data, text.length, &e), -1);
    assert_string_equal(e.code, UNSUPPORTED);
    buf_fini(&text);
}

static void a_missing_unk_token_is_an_error_when_needed(void **state)
{
    (void)state;
    struct err e;
    struct tokenizer *t;
    struct token_list ids = {0};
    const char *json = MODEL(",\"unk_token\":\"<unk>\"");
    assert_int_equal(open_bytes(&t, json, strlen(json), &e), 0);
    assert_int_equal(tokenizer_encode(t, "ab", 2, true, &ids, &e), 0);
    assert_int_equal(tokenizer_encode(t, "c", 1, true, &ids, &e), -1);
    assert_string_equal(e.code, MALFORMED);
    assert_int_equal(ids.count, 2);
    token_list_fini(&ids);
    tokenizer_close(t);
}

/* ---- parts ---- */

static void patterns_that_might_mean_something_else_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "\\w",    "\\b",       "\\h",     "\\1",      "(?<n>a)",     "(?i)a",         "[[a]b]",
        "[a&&b]", "a{1}+",     "a{2,3}?", "a{",       "\\p{Foo}",    "\\pL",          "[a",
        "a)",     "(a",        "\\",      "[\\P{L}]", "[b-a]",       "(?i:ss)",       "(?i:[a])",
        "[]a]",   "\\x{d800}", "\\xff",   "[:alpha:", "[[:alpha:]]", "(?i:\xC3\xA4)", "[a-\\s]",
        "\\G",    "\\K",       "\\R",     "(?#x)"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = {0};
        struct pattern *p = NULL;
        if (pattern_new_regex(&p, bad[i], strlen(bad[i]), &e) == 0 || strcmp(e.code, UNSUPPORTED) != 0)
            fail_msg("%s: taken, or refused with %s", bad[i], e.code ? e.code : "nothing");
    }
}

static void composition_is_canonical_and_of_unicode_9(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"", ""},
        {"plain", "plain"},
        {"e\xCC\x81", "\xC3\xA9"},
        {"x\xCC\x81", "x\xCC\x81"},
        {"s\xCC\x87\xCC\xA3", "\xE1\xB9\xA9"},                    /* marks in the other order */
        {"\xE2\x84\xAB", "\xC3\x85"},                             /* Angstrom sign */
        {"\xE0\xA5\x98", "\xE0\xA4\x95\xE0\xA4\xBC"},             /* excluded from composition */
        {"\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"}, /* Hangul */
        {"\xEA\xB0\x80\xE1\x86\xA7", "\xEA\xB0\x80\xE1\x86\xA7"}, /* U+11A7 is no trailing consonant */
        {"\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0",
         "\xF0\x91\xA4\xB5\xF0\x91\xA4\xB0"},               /* composes since Unicode 13 */
        {"a\xE0\xA3\x93\xCC\xA3", "a\xE0\xA3\x93\xCC\xA3"}, /* U+08D3 is a mark since Unicode 11 */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err e;
        struct buf out = {0};
        assert_int_equal(nfc_append(cases[i].from, strlen(cases[i].from), &out, &e), 0);
        assert_string_equal(out.data ? out.data : "", cases[i].to);
        buf_fini(&out);
    }
}

static void utf8_is_told_from_what_is_not(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum utf8_kind kind;
        size_t size;
    } cases[] = {
        {"a", UTF8_WHOLE, 1},
        {"\xC3\xA4", UTF8_WHOLE, 2},
        {"\xF4\x8F\xBF\xBF", UTF8_WHOLE, 4},
        {"\xC3", UTF8_PARTIAL, 1},
        {"\xF0\x9F\x91", UTF8_PARTIAL, 3},
        {"\x80", UTF8_INVALID, 1},
        {"\xC0\x80", UTF8_INVALID, 1},
        {"\xE0\x80\x80", UTF8_INVALID, 1},
        {"\xED\xA0\x80", UTF8_INVALID, 1},
        {"\xF0\x9F\x91"
         "a",
         UTF8_INVALID, 3},
        {"\xF4\x90\x80\x80", UTF8_INVALID, 1},
        {"\xF5", UTF8_INVALID, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        assert_int_equal(utf8_next(cases[i].text, strlen(cases[i].text), &size), cases[i].kind);
        assert_int_equal(size, cases[i].size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_fixture_case_is_equal),
        cmocka_unit_test(every_variant_is_equal),
        cmocka_unit_test(a_class_has_the_tokens_of_transformers_5),
        cmocka_unit_test(a_damaged_tokenizer_config_is_an_error),
        cmocka_unit_test(random_ids_decode_the_same_in_steps),
        cmocka_unit_test(a_token_shows_as_soon_as_it_is_whole),
        cmocka_unit_test(tokens_have_bytes_of_their_own),
        cmocka_unit_test(ids_out_of_range_are_refused),
        cmocka_unit_test(tokens_are_found_by_content),
        cmocka_unit_test(invalid_utf8_is_refused),
        cmocka_unit_test(no_text_is_slow),
        cmocka_unit_test(stripping_is_linear),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(the_model_may_be_written_in_any_way_json_allows),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(a_missing_unk_token_is_an_error_when_needed),
        cmocka_unit_test(patterns_that_might_mean_something_else_are_refused),
        cmocka_unit_test(composition_is_canonical_and_of_unicode_9),
        cmocka_unit_test(utf8_is_told_from_what_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
