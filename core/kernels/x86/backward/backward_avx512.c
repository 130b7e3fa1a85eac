/* The products of training, for AVX-512. */
#define SIMD_LANES 16
#include "core/kernels/simd/backward_simd.h"
#include "core/kernels/x86/x86.h"

const struct backward_kernels backward_avx512 = BACKWARD_F32;
