/* Files of weights: the header is checked, and every tensor lies in the file. */
#include "core/format/safetensors.h"

#include <string.h>

#include "tests/fuzz/support/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct safetensors *s;
    struct err e;
    char shape[64];
    int fd = fuzz_file(data, size);
    if (safetensors_open(&s, fd, 1 << 20, &e) != 0)
        return 0;
    for (size_t i = 0; i < safetensors_count(s); i++) {
        const struct tensor *t = safetensors_at(s, i);
        fuzz_check(t->bytes <= size && t->offset <= size - t->bytes);
        fuzz_check(i == 0 || strcmp(t[-1].name, t->name) < 0);
        fuzz_check(safetensors_find(s, t->name) == t);
        size_t count = (size_t)tensor_elements(t);
        float *values = malloc((count + 1) * sizeof *values);
        fuzz_check(values);
        tensor_shape_text(t, shape, sizeof shape);
        if (safetensors_read(fd, t, values, i % 2, &e) != 0)
            fuzz_check(strcmp(e.code, "adapter_not_finite") == 0);
        free(values);
    }
    safetensors_close(s);
    return 0;
}
