/* Vectors, for AVX2. */
#define VARIANT vector_avx2
#include "core/kernels/simd/vector_simd.h"
#include "core/kernels/x86/x86.h"
