#include "core/kernels/cpu.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct candidate {
    const struct qgemm_kernels *kernels;
    bool runs;
};

#if defined(__x86_64__)
static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("f16c");
}

static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
#endif

/* From the slowest to the fastest. */
static size_t list(struct candidate out[4])
{
    size_t count = 0;
    out[count++] = (struct candidate){&qgemm_plain, true};
#if defined(__x86_64__)
    out[count++] = (struct candidate){&qgemm_avx2, has_v3()};
    out[count++] = (struct candidate){&qgemm_avxvnni, has_v3() && __builtin_cpu_supports("avxvnni")};
    out[count++] = (struct candidate){&qgemm_avx512, has_v3() && has_avx512()};
#endif
    return count;
}

/* The fastest that runs, up to and including the one that the environment names; NULL when it names none of
 * them. */
static const struct qgemm_kernels *choose(const char *limit)
{
    struct candidate all[4];
    size_t count = list(all);
    const struct qgemm_kernels *best = NULL;
    for (size_t i = 0; i < count; i++) {
        if (all[i].runs)
            best = all[i].kernels;
        if (limit && strcmp(limit, all[i].kernels->name) == 0)
            return all[i].runs ? best : NULL;
    }
    return limit ? NULL : best;
}

int cpu_check(struct err *e)
{
#if defined(__x86_64__)
    if (!has_v3())
        return err_set(e, "cpu_unsupported",
                       "this CPU lacks AVX2, FMA or F16C (x86-64-v3), which adapterd needs");
#endif
    const char *limit = getenv("ADAPTERD_KERNELS");
    if (!choose(limit))
        return err_set(e, "cpu_unsupported", "ADAPTERD_KERNELS=%.60s: no such kernels on this CPU", limit);
    return 0;
}

const struct qgemm_kernels *cpu_kernels(void)
{
    const struct qgemm_kernels *chosen = choose(getenv("ADAPTERD_KERNELS"));
    return chosen ? chosen : &qgemm_plain;
}
