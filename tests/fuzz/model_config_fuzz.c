/* config.json of a base model. */
#include "core/model/config/config_read.h"

#include "tests/fuzz/support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config c;
    struct err e;
    fuzz_write("config.json", data, size);
    if (config_read(&c, fuzz_directory(), &e) != 0)
        return 0;
    fuzz_check(c.layers >= 0 && c.layers <= CONFIG_LAYERS_MAX && c.eos_count <= CONFIG_EOS_MAX);
    fuzz_check(c.hidden <= CONFIG_DIMENSION_MAX && c.context <= CONFIG_CONTEXT_MAX);
    return 0;
}
