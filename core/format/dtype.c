#include "core/format/dtype.h"

#include <string.h>

#include "core/format/bf16.h"
#include "core/format/half.h"

size_t dtype_size(enum dtype t)
{
    return t == DTYPE_F32 ? 4 : 2;
}

const char *dtype_name(enum dtype t)
{
    static const char *const names[] = {[DTYPE_F32] = "F32", [DTYPE_F16] = "F16", [DTYPE_BF16] = "BF16"};
    return names[t];
}

static void widen_bf16(const unsigned char *stored, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, stored + 2 * i, 2);
        out[i] = bf16_widen(half);
    }
}

static void widen_f16(const unsigned char *stored, float *out, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint16_t half;
        memcpy(&half, stored + 2 * i, 2);
        out[i] = half_widen(half);
    }
}

void dtype_widen(enum dtype t, const void *stored, float *out, size_t count)
{
    if (t == DTYPE_F32)
        memcpy(out, stored, 4 * count);
    else if (t == DTYPE_BF16)
        widen_bf16(stored, out, count);
    else
        widen_f16(stored, out, count);
}

bool dtype_narrow_bf16(const float *x, uint16_t *out, size_t count)
{
    uint16_t largest = 0;
    for (size_t i = 0; i < count; i++) {
        out[i] = bf16_of(x[i]);
        uint16_t magnitude = out[i] & 0x7FFF;
        largest = magnitude > largest ? magnitude : largest;
    }
    return largest < 0x7F80;
}
