/* Dtypes and shapes of stored tensors: what does not need a file. Declared in safetensors.h. */
#include "core/model/safetensors.h"

#include <stdio.h>
#include <string.h>

size_t dtype_size(enum dtype t)
{
    return t == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype t)
{
    static const char *const names[] = {[DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16"};
    return names[t];
}

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

static float float_of_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* IEEE 754 binary16 -> binary32. A subnormal half is a normal float, so it is made by arithmetic. */
static float widen_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent == 0) {
        float magnitude = (float)fraction * 0x1p-24f;
        return sign ? -magnitude : magnitude;
    }
    uint32_t wide = exponent == 31 ? 255 : exponent + 127 - 15;
    return float_of_bits(sign | wide << 23 | fraction << 13);
}

void dtype_widen(enum dtype t, const void *stored, float *out, size_t count)
{
    if (t == DTYPE_F32) {
        memcpy(out, stored, count * sizeof *out);
        return;
    }
    const unsigned char *bytes = stored; /* tensors need not be aligned */
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, bytes + 2 * i, sizeof half);
        out[i] = t == DTYPE_F16 ? widen_f16(half) : float_of_bits((uint32_t)half << 16);
    }
}
