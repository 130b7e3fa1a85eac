/* The products of training, for the plainest CPU. */
#include "core/kernels/simd/backward_simd.h"

const struct backward_kernels backward_plain = BACKWARD_F32;
