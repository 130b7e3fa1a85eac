/* How much memory the daemon may plan with, from /proc and /sys; and giving it back without what was in it.
 * Any thread. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Bytes that are free now: the machine's, or the control group's where that has less. */
uint64_t memory_available(void);
/* free, for what held texts of tenants: overwritten before. */
void memory_free_wiped(void *p);
/* What functions that have returned left on this thread's stack, texts of tenants in messages among it: so
 * much below the caller is overwritten. */
enum { MEMORY_STACK_BYTES = 16 << 10 };
void memory_wipe_stack(void);
/* Text of so many bytes was taken apart, and all of it was freed: where that was much, what the allocator
 * keeps of it goes back to the system, for small objects leave holes that it would not give back by itself.
 * Takes milliseconds then. */
enum { MEMORY_GIVE_BACK_BYTES = 256 << 10 };
void memory_give_back(size_t text_bytes);
