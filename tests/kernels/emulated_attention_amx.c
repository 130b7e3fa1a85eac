#include "tests/kernels/emulated.h"
#include "tests/kernels/emulated_tiles.h"

#define attention_avx512 attention_avx2
#define attention_amx emulated_attention_amx
#include "core/kernels/x86/attention_amx.c"
