#include "tests/kernels/emulated.h"
#include "tests/kernels/emulated_instructions.h"
#include "tests/kernels/emulated_tiles.h"

#define qgemm_avx512 emulated_avx512
#define qgemm_amx emulated_amx
#include "core/kernels/x86/qgemm_amx.c"
