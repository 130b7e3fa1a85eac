/* A tenant's text through tokenizers of several kinds; of those that lose nothing it comes back. */
#include "core/tokenizer/tokenizer.h"

#include <string.h>

#include "core/base/utf8.h"
#include "tests/fuzz/support/fuzz.h"

static struct {
    const char *directory;
    bool lossless;
    struct tokenizer *tokenizer;
} tokenizers[] = {{"tests/fixtures/tokenizers/gpt2", true, NULL},
                  {"tests/fixtures/tokenizers/llama3", true, NULL},
                  {"tests/fixtures/tokenizers/llama2", false, NULL},
                  {"tests/fixtures/tokenizers/qwen2", false, NULL}, /* normalizes */
                  {"tests/fixtures/tokenizers/metaspace", false, NULL}};

static void try(const struct tokenizer *t, bool lossless, const char *text, size_t length)
{
    struct token_list ids = {0};
    struct buf out = {0};
    struct err e;
    int result = tokenizer_encode(t, text, length, false, &ids, &e);
    fuzz_check((result == 0) == utf8_valid(text, length));
    if (result == 0) {
        fuzz_check(tokenizer_decode(t, ids.ids, ids.count, false, &out, &e) == 0);
        fuzz_check(utf8_valid(out.data ? out.data : "", out.length));
        if (lossless)
            fuzz_check(out.length == length && (!length || memcmp(out.data, text, length) == 0));
    }
    buf_fini(&out);
    token_list_fini(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct err e;
    for (size_t i = 0; i < sizeof tokenizers / sizeof *tokenizers; i++) {
        if (!tokenizers[i].tokenizer)
            fuzz_check(tokenizer_open(&tokenizers[i].tokenizer, tokenizers[i].directory, TOKENIZER_OF_FILE,
                                      &e) == 0);
        try(tokenizers[i].tokenizer, tokenizers[i].lossless, (const char *)data, size);
    }
    return 0;
}
