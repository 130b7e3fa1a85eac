/* The bytes of tokens, put together, are what decoding them gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/base/utf8.h"
#include "core/grammar/tokens/token_bytes.h"

static struct tokenizer *open_fixture(const char *name)
{
    const char *directory = getenv("ADAPTERD_FIXTURES");
    char path[512];
    struct err e;
    struct tokenizer *t = NULL;
    snprintf(path, sizeof path, "%s/tokenizers/%s", directory ? directory : "tests/fixtures", name);
    if (tokenizer_open(&t, path, TOKENIZER_OF_FILE, &e) != 0)
        fail_msg("%s: %s", path, e.message);
    return t;
}

/* 1: they are equal; 0: the bytes are no text; special tokens are left out. */
static int compare(const struct tokenizer *t, const struct token_trie *trie, const int32_t *ids, size_t count)
{
    struct buf bytes = {0}, text = {0};
    struct err e;
    int compared = 0;
    for (size_t i = 0; i < count; i++) {
        const char *token;
        size_t length = token_trie_bytes(trie, ids[i], &token);
        size_t dropped = i == 0 && trie->first_space_dropped && length > 0 && token[0] == ' ';
        assert_int_equal(buf_append(&bytes, token + dropped, length - dropped), 0);
    }
    assert_int_equal(tokenizer_decode(t, ids, count, false, &text, &e), 0);
    if (utf8_valid(bytes.data ? bytes.data : "", bytes.length)) {
        assert_int_equal(bytes.length, text.length);
        assert_memory_equal(bytes.data ? bytes.data : "", text.data ? text.data : "", text.length);
        compared = 1;
    }
    buf_fini(&bytes);
    buf_fini(&text);
    return compared;
}

static void check(const char *name, bool space_dropped)
{
    struct tokenizer *t = open_fixture(name);
    struct token_trie *trie;
    struct err e;
    int size = tokenizer_vocab_size(t), compared = 0;
    uint32_t random = 1;
    assert_int_equal(token_bytes_trie(&trie, t, size + 3, &(int32_t){size + 1}, 1, &e), 0);
    assert_int_equal(trie->first_space_dropped, space_dropped);
    for (int i = 0; i < 5000; i++) {
        int32_t ids[5];
        size_t count = 0;
        for (int k = 0; k <= i % 5; k++) {
            random = random * 1664525u + 1013904223u;
            int32_t id = (int32_t)((random >> 8) % (uint32_t)size);
            if (!tokenizer_is_special(t, id))
                ids[count++] = id;
        }
        compared += compare(t, trie, ids, count);
    }
    assert_true(compared > 1000);
    for (int id = 0; id < size; id++) {
        const char *bytes;
        if (tokenizer_is_special(t, id) && token_trie_bytes(trie, id, &bytes) > 0)
            assert_int_equal((uint8_t)bytes[0], TOKEN_SPECIAL_BYTE);
    }
    token_trie_free(trie);
    tokenizer_close(t);
}

static void bytes_are_what_decoding_gives(void **state)
{
    (void)state;
    check("gpt2", false);
    check("qwen2", false);
    check("llama3", false);
    check("llama2", true);
    check("metaspace", true);
    check("digits", false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_are_what_decoding_gives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
