/* The thin products of adapters, for the plainest CPU. */
#define VARIANT lowrank_plain
#include "core/kernels/simd/lowrank_simd.h"
