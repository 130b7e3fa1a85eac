/* The AMX, AVX-512 and AVX-VNNI kernels on any machine: their own source, with the instructions that this CPU
 * may lack written out in C. What is tested is everything but the instructions. */
#pragma once
#include "core/kernels/kernels.h"

extern const struct qgemm_kernels emulated_avx512, emulated_avxvnni, emulated_amx;
extern const struct attention_kernels emulated_attention_amx;
