/* How much memory the daemon may plan with, from /proc and /sys; and giving it back without what was in it.
 * Any thread. */
#pragma once
#include <stdint.h>

/* Bytes that are free now: the machine's, or the control group's where that has less. */
uint64_t memory_available(void);
/* free, for what held texts of tenants: overwritten before. */
void memory_free_wiped(void *p);
