/* Vectors, for the plainest CPU. */
#define VARIANT vector_plain
#include "core/kernels/simd/vector_simd.h"
