/* Quantizing weights, for AVX2. */
#include "core/kernels/x86/qgemm_x86.h"
#define VARIANT qgemm_pack_row_avx2
#include "core/kernels/simd/pack_simd.h"
