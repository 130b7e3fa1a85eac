#include "core/kernels/cpu.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static bool anywhere(void)
{
    return true;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/kernels/x86/x86.h"

/* Of the features that not every compiler knows by name; for those whose registers __builtin_cpu_supports has
 * found the system to keep. */
static bool has_f16c(void)
{
    unsigned eax, ebx, ecx, edx;
    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx >> 29 & 1);
}

static bool has_v3(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi2") && has_f16c();
}

static bool has_avxvnni(void)
{
    unsigned eax, ebx, ecx, edx;
    return has_v3() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax >> 4 & 1);
}

static bool has_avx512(void)
{
    return has_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}

/* Tiles need the kernel's permission, for the whole process and threads to come; asking again does no
 * harm. */
static bool has_amx(void)
{
    enum { PERMISSION = 0x1023 /* ARCH_REQ_XCOMP_PERM */, TILES = 18 /* XFEATURE_XTILEDATA */ };
    unsigned eax, ebx, ecx, edx;
    return has_avx512() && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (edx >> 24 & 1) /* tiles */ &&
           (edx >> 22 & 1) /* of bf16 */ && (edx >> 25 & 1) /* of int8 */ &&
           syscall(SYS_arch_prctl, PERMISSION, TILES) == 0;
}
#endif

/* From the slowest to the fastest. */
static const struct kernels variants[] = {
    {"plain", anywhere, &qgemm_plain, &lowrank_plain, &attention_plain, &vector_plain, &backward_plain, NULL},
#if defined(__x86_64__)
    {"avx2", has_v3, &qgemm_avx2, &lowrank_avx2, &attention_avx2, &vector_avx2, &backward_avx2, NULL},
    {"avxvnni", has_avxvnni, &qgemm_avxvnni, &lowrank_avx2, &attention_avx2, &vector_avx2, &backward_avx2,
     NULL},
    {"avx512", has_avx512, &qgemm_avx512, &lowrank_avx512, &attention_avx512, &vector_avx512,
     &backward_avx512, NULL},
    {"amx", has_amx, &qgemm_amx, &lowrank_avx512, &attention_amx, &vector_avx512, &backward_avx512,
     &backward_half_amx},
#endif
};

const struct kernels *cpu_variants(size_t *count)
{
    *count = sizeof variants / sizeof *variants;
    return variants;
}

/* The fastest that runs, up to and including the one that `limit` names; NULL when it names none of them. */
static const struct kernels *choose(const char *limit)
{
    const struct kernels *best = NULL;
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        bool runs = variants[i].runs();
        if (runs)
            best = &variants[i];
        if (limit && strcmp(limit, variants[i].name) == 0)
            return runs ? best : NULL;
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

const struct kernels *cpu_kernels(void)
{
    /* Whoever comes first decides; two at the same time decide alike. */
    static const struct kernels *_Atomic chosen;
    const struct kernels *k = atomic_load_explicit(&chosen, memory_order_acquire);
    if (k)
        return k;
    k = choose(getenv("ADAPTERD_KERNELS"));
    if (!k)
        k = &variants[0];
    atomic_store_explicit(&chosen, k, memory_order_release);
    return k;
}
