/* The thin products of adapters, for AVX-512. */
#define VARIANT lowrank_avx512
#define SIMD_LANES 16
#include "core/kernels/simd/lowrank_simd.h"
#include "core/kernels/x86/x86.h"
