/* Attention, for AVX-512. */
#define VARIANT attention_avx512
#define SIMD_LANES 16
#include "core/kernels/simd/attention_simd.h"
#include "core/kernels/x86/x86.h"
