/* Tokens that an adapter brings: tokenizer_config.json, and behind a zero byte added_tokens.json. What is
 * taken is found in texts and written again, within the vocabulary; every other token stays what it was. */
#include <jansson.h>
#include <string.h>

#include "adapters/serving/settings_tokens.h"
#include "tests/fuzz/support/fuzz.h"

enum { VOCAB = 340 };

static const struct tokenizer *base(void)
{
    static struct tokenizer *t;
    struct err e;
    if (!t)
        fuzz_check(tokenizer_open(&t, "tests/fixtures/models/llama", TOKENIZER_OF_FILE, &e) == 0);
    return t;
}

/* The id of its text alone, as the tokenizer finds it. */
static void check_token(const struct tokenizer *t, int32_t id)
{
    struct buf text = {0};
    struct token_list ids = {0};
    struct err e;
    fuzz_check(tokenizer_decode(t, &id, 1, false, &text, &e) == 0);
    if (text.length)
        fuzz_check(tokenizer_encode(t, text.data, text.length, false, &ids, &e) == 0);
    for (size_t i = 0; i < ids.count; i++)
        fuzz_check(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocab_size(t));
    token_list_fini(&ids);
    buf_fini(&text);
}

static void check(const struct tokenizer *t)
{
    int size = tokenizer_vocab_size(t), known = tokenizer_vocab_size(base());
    fuzz_check(size > known && size <= VOCAB);
    for (int32_t id = 0; id < size; id++)
        check_token(t, id);
    for (int32_t id = 0; id < known; id++)
        fuzz_check(tokenizer_is_special(t, id) == tokenizer_is_special(base(), id));
}

static json_t *object(const uint8_t *data, size_t size)
{
    json_t *value = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
    if (value && json_is_object(value))
        return value;
    json_decref(value);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *zero = size ? memchr(data, 0, size) : NULL;
    size_t first = zero ? (size_t)(zero - data) : size;
    json_t *config = object(data, first), *added = zero ? object(zero + 1, size - first - 1) : NULL;
    struct tokenizer *t = NULL;
    struct warnings warnings = {0};
    struct err e;
    if (settings_tokens(&t, base(), VOCAB, config, added, &warnings, &e) != 0)
        fuzz_check(!t);
    if (t)
        check(t);
    tokenizer_close(t);
    warnings_fini(&warnings);
    json_decref(config);
    json_decref(added);
    return 0;
}
