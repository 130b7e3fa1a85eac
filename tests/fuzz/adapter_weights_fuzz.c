/* An adapter's weights beside a configuration that is good: names, shapes and values of its tensors. */
#include <fcntl.h>

#include "adapters/peft/peft.h"
#include "tests/fuzz/support/fuzz.h"

#define ADAPTER(NAME) "tests/fixtures/adapters/llama/" NAME "/adapter_config.json"
static const char *const configs[] = {ADAPTER("r4-qv"), ADAPTER("tokens-both"), ADAPTER("dora")};
enum { COUNT = sizeof configs / sizeof *configs };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fds[COUNT];
    struct peft *p;
    struct err e;
    int fd = fuzz_file(data, size);
    for (int i = 0; i < COUNT; i++) {
        if (fds[i] == 0)
            fds[i] = open(configs[i], O_RDONLY | O_CLOEXEC);
        fuzz_check(fds[i] > 0);
        if (peft_load(&p, fuzz_base(), fds[i], fd, 0, &e) == 0)
            peft_free(p);
    }
    return 0;
}
