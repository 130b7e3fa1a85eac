/* What this machine can do at most, measured: multiplications in registers, reading memory. Runs on all
 * workers of a pool. */
#pragma once
#include <stdbool.h>

#include "core/system/pool.h"

/* GOP/s of int8 multiply-and-add into int32 (a multiplication and an addition are two), with the instructions
 * of a variant of kernels ("avx2", "avxvnni", "avx512", "amx") and nothing else; 0 for one without such. */
double peaks_int8(struct pool *p, const char *variant);
const char *peaks_int8_mix(const char *variant); /* the instructions, for people */
/* GFLOP/s of 256-bit fused multiply-add in f32. */
double peaks_f32(struct pool *p);
/* GB/s of reading memory that is in no cache; the best of three passes over 512 MiB. */
double peaks_read(struct pool *p);
