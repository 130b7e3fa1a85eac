/* Adapters in GGUF: read, and made into the two files that PEFT would have saved. */
#include "adapters/gguf/gguf_peft.h"

#include "tests/fuzz/support/fuzz.h"

static int take(void *arg, const void *bytes, size_t length, struct err *e)
{
    (void)bytes, (void)e;
    *(size_t *)arg += length;
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gguf g;
    struct err e;
    size_t written = 0;
    const struct gguf_sink sink = {.config = take, .weights = take, .arg = &written};
    int fd = fuzz_file(data, size);
    if (gguf_open(&g, fd, &e) != 0)
        return 0;
    for (size_t i = 0; i < g.count; i++)
        fuzz_check(g.tensors[i].bytes <= size && g.tensors[i].offset <= size - g.tensors[i].bytes);
    gguf_fini(&g);
    (void)!gguf_peft_convert(fuzz_base(), fd, &sink, &e);
    return 0;
}
