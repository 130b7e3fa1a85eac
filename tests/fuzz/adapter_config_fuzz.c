/* adapter_config.json beside weights that are good: what it says is matched with a base and its tensors. */
#include <fcntl.h>

#include "adapters/peft/peft.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int weights = -1;
    struct peft *p;
    struct err e;
    if (weights < 0)
        weights = open("tests/fixtures/adapters/llama/r4-qv/adapter_model.safetensors", O_RDONLY | O_CLOEXEC);
    fuzz_check(weights >= 0);
    if (peft_load(&p, fuzz_base(), fuzz_file(data, size), weights, 0, &e) == 0)
        peft_free(p);
    return 0;
}
