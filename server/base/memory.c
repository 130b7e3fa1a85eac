#include "server/base/memory.h"

#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first number of a file of the kernel; `missing` for none ("max" says: no limit). */
static uint64_t read_number(const char *path, uint64_t missing)
{
    uint64_t value = missing;
    FILE *f = fopen(path, "re");
    if (!f)
        return missing;
    if (fscanf(f, "%" SCNu64, &value) != 1)
        value = missing;
    fclose(f);
    return value;
}

static uint64_t machine_available(void)
{
    char line[128];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            break;
    if (f)
        fclose(f);
    if (kib)
        return kib << 10;
    long pages = sysconf(_SC_AVPHYS_PAGES), size = sysconf(_SC_PAGESIZE);
    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_C(1) << 30;
}

uint64_t memory_available(void)
{
    uint64_t machine = machine_available();
    uint64_t limit = read_number("/sys/fs/cgroup/memory.max", UINT64_MAX);
    uint64_t used = read_number("/sys/fs/cgroup/memory.current", 0);
    if (limit == UINT64_MAX) {
        limit = read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", UINT64_MAX);
        used = read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", 0);
    }
    uint64_t group = limit == UINT64_MAX ? UINT64_MAX : limit > used ? limit - used : 0;
    return group < machine ? group : machine;
}

void memory_free_wiped(void *p)
{
    if (p)
        explicit_bzero(p, malloc_usable_size(p));
    free(p);
}

void __attribute__((noinline)) memory_wipe_stack(void)
{
    char room[MEMORY_STACK_BYTES];
    explicit_bzero(room, sizeof room);
}

void memory_give_back(size_t text_bytes)
{
    if (text_bytes >= MEMORY_GIVE_BACK_BYTES)
        malloc_trim(0);
}
