#include "server/base/process.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/kernels/cpu.h"

static uint64_t resident_bytes(void)
{
    uint64_t pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (!f)
        return 0;
    if (fscanf(f, "%*u %" SCNu64, &pages) != 1)
        pages = 0;
    fclose(f);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Without the one that reads the list. */
static int open_files(void)
{
    int count = 0;
    DIR *d = opendir("/proc/self/fd");
    if (!d)
        return 0;
    for (const struct dirent *entry; (entry = readdir(d));)
        count += entry->d_name[0] != '.';
    closedir(d);
    return count - 1;
}

void process_look(struct process *out)
{
    struct rusage used;
    struct rlimit limit;
    *out = (struct process){.resident_bytes = resident_bytes(), .files = open_files()};
    if (getrusage(RUSAGE_SELF, &used) == 0)
        out->cpu_us = (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000 +
                      (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        out->files_max = limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
}

const char *process_isa(void)
{
    return cpu_kernels()->name;
}
