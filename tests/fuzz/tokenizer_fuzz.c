/* tokenizer.json, and a text through the tokenizer that it makes: decoding it in steps is decoding it at
 * once. */
#include "core/tokenizer/tokenizer.h"

#include <string.h>

#include "core/base/utf8.h"
#include "core/tokenizer/detokenizer.h"
#include "tests/fuzz/fuzz.h"

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
        fuzz_check(utf8_valid(steps.data + before, steps.length - before));
    }
    fuzz_check(detokenizer_finish(&d, &steps, &e) == 0);
    detokenizer_fini(&d);
    fuzz_check(whole.length == steps.length &&
               (!whole.length || !memcmp(whole.data, steps.data, whole.length)));
    buf_fini(&whole);
    buf_fini(&steps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tokenizer *t;
    struct token_list ids = {0};
    struct err e;
    fuzz_write("tokenizer.json", data, size);
    if (tokenizer_open(&t, fuzz_directory(), &e) != 0)
        return 0;
    if (tokenizer_encode(t, text, sizeof text - 1, true, &ids, &e) == 0) {
        for (size_t i = 0; i < ids.count; i++)
            fuzz_check(ids.ids[i] >= 0 && ids.ids[i] < tokenizer_vocab_size(t));
        decode(t, &ids, false);
        decode(t, &ids, true);
    }
    token_list_fini(&ids);
    tokenizer_close(t);
    return 0;
}
