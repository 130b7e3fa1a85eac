/* What the two files of an adapter may measure. */
#pragma once
#include <stdint.h>

enum { ADAPTER_CONFIG_BYTES_MAX = 1 << 20 };
#define ADAPTER_WEIGHTS_BYTES_MAX (UINT64_C(4) << 30)
