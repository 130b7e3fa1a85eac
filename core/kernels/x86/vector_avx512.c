/* Vectors, for AVX-512. */
#define VARIANT vector_avx512
#define SIMD_LANES 16
#include "core/kernels/simd/vector_simd.h"
#include "core/kernels/x86/x86.h"
