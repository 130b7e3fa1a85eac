/* What the kernels of x86-64 offer to the table in cpu.c. */
#pragma once
#include "core/kernels/kernels.h"

extern const struct qgemm_kernels qgemm_avx2, qgemm_avxvnni, qgemm_avx512, qgemm_amx;
extern const struct lowrank_kernels lowrank_avx2, lowrank_avx512;
extern const struct attention_kernels attention_avx2, attention_avx512, attention_amx;
extern const struct vector_kernels vector_avx2, vector_avx512;
extern const struct backward_kernels backward_avx2, backward_avx512;
extern const struct backward_half_kernels backward_half_amx;
