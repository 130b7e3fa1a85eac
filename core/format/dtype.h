/* The stored number formats, their exact widening to f32 and rounding to bf16. Any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };

size_t dtype_size(enum dtype t);
const char *dtype_name(enum dtype t); /* "F32" */
/* Widen `count` stored elements to f32; exact for every dtype. `stored` needs no alignment. */
void dtype_widen(enum dtype t, const void *stored, float *out, size_t count);
/* Round to bf16, to the nearest, ties to even; false where a result is not finite. */
bool dtype_narrow_bf16(const float *x, uint16_t *out, size_t count);
