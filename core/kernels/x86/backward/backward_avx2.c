/* The products of training, for AVX2. */
#include "core/kernels/simd/backward_simd.h"
#include "core/kernels/x86/x86.h"

const struct backward_kernels backward_avx2 = BACKWARD_F32;
