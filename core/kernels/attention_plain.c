/* Attention, for the plainest CPU. */
#define VARIANT attention_plain
#include "core/kernels/simd/attention_simd.h"
