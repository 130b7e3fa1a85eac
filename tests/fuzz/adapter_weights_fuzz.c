/* An adapter's weights beside a configuration that is good: names, shapes and values of its tensors. */
#include <fcntl.h>

#include "adapters/peft/peft.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int config = -1;
    struct peft *p;
    struct err e;
    if (config < 0)
        config = open("tests/fixtures/adapters/llama/r4-qv/adapter_config.json", O_RDONLY | O_CLOEXEC);
    fuzz_check(config >= 0);
    if (peft_load(&p, fuzz_base(), config, fuzz_file(data, size), 0, &e) == 0)
        peft_free(p);
    return 0;
}
