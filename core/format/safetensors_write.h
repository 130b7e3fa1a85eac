/* Writes safetensors files, as the reference implementation does. Owns nothing; any thread. */
#pragma once
#include <stddef.h>

#include "core/base/err.h"

/* A tensor of f32. */
struct safetensors_out {
    const char *name; /* of letters, digits, '.', '_' and '-' */
    int rows, cols;   /* cols 0: a vector */
    const float *values;
};

/* In pieces, one behind the other, for `write` to put where it likes; tensors in their order. Errors: those
 * of `write`; "out_of_memory". */
MUST_USE int safetensors_write(const struct safetensors_out *tensors, size_t count,
                               int (*write)(void *arg, const void *data, size_t length, struct err *e),
                               void *arg, struct err *e);
