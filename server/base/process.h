/* What the kernel says of this process, and what of the CPU it uses. Reads /proc/self; any thread, never the
 * disk. */
#pragma once
#include <stdint.h>

struct process {
    uint64_t resident_bytes; /* 0: the kernel did not say; so below */
    uint64_t cpu_us;         /* of all threads, user and system */
    int files, files_max;    /* descriptors: open, and as many as there may be */
};
void process_look(struct process *out);
const char *process_isa(void); /* the compute kernels, as ADAPTERD_KERNELS names them; static */
