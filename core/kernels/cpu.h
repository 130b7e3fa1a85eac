/* Which kernels run here: plain C first, raised by what the CPU has, held lower by the environment variable
 * ADAPTERD_KERNELS (plain, avx2, avxvnni, avx512, amx). Decided once, at the first call; any thread.
 *
 * This file and all that stands beside it are compiled for the plainest CPU, so that what a CPU lacks can be
 * said on that CPU. */
#pragma once
#include "core/base/err.h"
#include "core/kernels/kernels.h"

/* Error "cpu_unsupported": the kernels that this machine's architecture needs at least (on x86-64 AVX2, FMA,
 * F16C) are missing; or the variable names kernels that do not exist or that this CPU cannot run. */
int cpu_check(struct err *e);
const struct kernels *cpu_kernels(void);
/* All variants that this program has, from the slowest to the fastest; ask each whether it `runs`. */
const struct kernels *cpu_variants(size_t *count);
