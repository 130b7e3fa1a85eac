/* How much memory the daemon may plan with. Reads /proc and /sys; any thread. */
#pragma once
#include <stdint.h>

/* Bytes that are free now: the machine's, or the control group's where that has less. */
uint64_t memory_available(void);
