/* The stored number formats and their exact widening to f32. Any thread. */
#pragma once
#include <stddef.h>

enum dtype { DTYPE_F32, DTYPE_F16, DTYPE_BF16 };

size_t dtype_size(enum dtype t);
const char *dtype_name(enum dtype t); /* "F32" */
/* Widen `count` stored elements to f32; exact for every dtype. `stored` needs no alignment. */
void dtype_widen(enum dtype t, const void *stored, float *out, size_t count);
