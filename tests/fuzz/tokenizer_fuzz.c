/* tokenizer.json, and a text through the tokenizer that it makes: decoding it in steps is decoding it at
 * once. */
#include "core/tokenizer/tokenizer.h"

#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/detokenizer.h"
#include "tests/fuzz/support/fuzz.h"

static const char text[] =
    " Hello  wörld's 123\n\t<|im_end|>\xEF\xBF\xBD\xF0\x9F\x98\x80 i\xCC\x87 \xE2\x96\x81x ";

static void decode(const struct tokenizer *t, const struct token_list *ids, bool skip)
{
    struct buf whole = {0}, steps = {0};
    struct detokenizer d;
    struct err e;
    fuzz_check(tokenizer_decode(t, ids->ids, ids->count, skip, &whole, &e) == 0);
    detokenizer_init(&d, t, skip);
    for (size_t i = 0; i < ids->count; i++) {
        size_t before = steps.length;
        fuzz_check(detokenizer_push(&d, ids->ids[i], &steps, &e) == 0);
        fuzz_check(steps.length == before || utf8_valid(steps.data + before, steps.length - before));
    }
    fuzz_check(detokenizer_finish(&d, &steps, &e) == 0);
    detokenizer_fini(&d);
    fuzz_check(whole.length == steps.length &&
               (!whole.length || !memcmp(whole.data, steps.data, whole.length)));
    buf_fini(&whole);
    buf_fini(&steps);
}

static void open_and_use(enum tokenizer_pipeline pipeline)
{
    struct tokenizer *t;
    struct token_list ids = {0};
    struct err e;
    if (tokenizer_open(&t, fuzz_directory(), pipeline, &e) != 0)
        return;
    if (tokenizer_encode(t, text, sizeof text - 1, true, &ids, &e) == 0) {
        for (size_t i = 0; i < ids.count; i++)
            fuzz_check(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocab_size(t));
        decode(t, &ids, false);
        decode(t, &ids, true);
    }
    token_list_fini(&ids);
    tokenizer_close(t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char class[] = "{\"tokenizer_class\": \"LlamaTokenizer\", \"legacy\": true}";
    fuzz_write("tokenizer.json", data, size);
    fuzz_write("tokenizer_config.json", (const uint8_t *)class, sizeof class - 1);
    open_and_use(TOKENIZER_OF_FILE);
    open_and_use(TOKENIZER_OF_CLASS);
    return 0;
}
