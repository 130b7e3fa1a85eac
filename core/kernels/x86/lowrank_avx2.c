/* The thin products of adapters, for AVX2. */
#define VARIANT lowrank_avx2
#include "core/kernels/simd/lowrank_simd.h"
#include "core/kernels/x86/x86.h"
