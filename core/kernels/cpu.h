/* Which kernels run here: plain C first, raised by what the CPU has, held lower by the environment variable
 * ADAPTERD_KERNELS (plain, avx2, avxvnni, avx512). Decided once, at the first call; any thread afterwards. */
#pragma once
#include "core/base/err.h"
#include "core/kernels/qgemm.h"

/* Error "cpu_unsupported": this program was built for x86-64-v3 (AVX2, FMA, F16C) and the CPU lacks it; or
 * the variable names kernels that do not exist or that this CPU cannot run. */
int cpu_check(struct err *e);
const struct qgemm_kernels *cpu_kernels(void);
