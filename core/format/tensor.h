/* A stored tensor: where it lies in its file, its type and its shape. Owns nothing; any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/format/dtype.h"

enum { TENSOR_DIMENSIONS_MAX = 8 };

struct tensor {
    const char *name;
    enum dtype dtype;
    int dimensions;
    int64_t shape[TENSOR_DIMENSIONS_MAX];
    uint64_t offset; /* of the first byte, from the start of the file */
    uint64_t bytes;
};

/* Elements of a tensor: the product of its shape. */
int64_t tensor_elements(const struct tensor *t);
/* Write the shape as "[8, 64]" for messages. */
void tensor_shape_text(const struct tensor *t, char *out, size_t size);
