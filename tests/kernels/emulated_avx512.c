#include "tests/kernels/emulated.h"
#include "tests/kernels/emulated_instructions.h"

#define KEEP(v) (void)(v)
#define qgemm_avx512 emulated_avx512
#include "core/kernels/x86/qgemm_avx512.c"
