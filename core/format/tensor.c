#include "core/format/tensor.h"

#include <stdio.h>

int64_t tensor_elements(const struct tensor *t)
{
    return (int64_t)(t->bytes / dtype_size(t->dtype));
}

void tensor_shape_text(const struct tensor *t, char *out, size_t size)
{
    size_t used = (size_t)snprintf(out, size, "[");
    for (int i = 0; i < t->dimensions && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    if (used < size)
        snprintf(out + used, size - used, "]");
}
