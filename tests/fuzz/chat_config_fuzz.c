/* tokenizer_config.json: the chat template in it and the special tokens. */
#include "core/template/chat.h"

#include "tests/fuzz/support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct chat *c;
    struct buf out = {0};
    struct err e;
    fuzz_write("tokenizer_config.json", data, size);
    if (chat_open(&c, fuzz_directory(), &e) != 0)
        return 0;
    json_t *messages = json_pack("[{s:s, s:s}]", "role", "user", "content", "Hello");
    fuzz_check(messages);
    (void)!chat_render(c, messages, &out, &e);
    json_decref(messages);
    buf_fini(&out);
    chat_close(c);
    return 0;
}
