/* Attention, for AVX2. */
#define VARIANT attention_avx2
#include "core/kernels/simd/attention_simd.h"
#include "core/kernels/x86/x86.h"
