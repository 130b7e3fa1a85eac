#include "bench/peaks.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "bench/bench.h"
#include "core/system/clock.h"
#include "core/system/hugepage.h"

#if defined(__x86_64__)
#include <immintrin.h>

/* Long enough to reach the clock rate that heavy use has. */
enum {
    ROUNDS = 20000000,
    CHAINS = 10,
    TILE_ROUNDS = 32 /* a tile's instruction takes that much longer, or less */
};
/* The compiler must not know the value, so it computes in every round. */
#define HIDE(v) __asm__ volatile("" : "+x"(v))

/* Two multiplies and an add for 32 products: what AVX2 needs at least for bytes. */
static void int8_avx2(void *arg, int worker, int workers)
{
    (void)arg;
    (void)worker;
    (void)workers;
    __m256i sum[CHAINS], a = _mm256_set1_epi8(1), w = _mm256_set1_epi8(2);
    const __m256i ones = _mm256_set1_epi16(1);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_setzero_si256();
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++) {
            HIDE(a);
            sum[c] = _mm256_add_epi32(sum[c], _mm256_madd_epi16(_mm256_maddubs_epi16(a, w), ones));
        }
    for (int c = 0; c < CHAINS; c++)
        HIDE(sum[c]);
}

__attribute__((target("avxvnni"))) static void int8_avxvnni(void *arg, int worker, int workers)
{
    (void)arg;
    (void)worker;
    (void)workers;
    __m256i sum[CHAINS], a = _mm256_set1_epi8(1), w = _mm256_set1_epi8(2);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_setzero_si256();
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++) {
            HIDE(a);
            sum[c] = _mm256_dpbusd_avx_epi32(sum[c], a, w);
        }
    for (int c = 0; c < CHAINS; c++)
        HIDE(sum[c]);
}

__attribute__((target("avx512f,avx512bw,avx512vl,avx512vnni"))) static void int8_avx512(void *arg, int worker,
                                                                                        int workers)
{
    (void)arg;
    (void)worker;
    (void)workers;
    __m512i sum[CHAINS], a = _mm512_set1_epi8(1), w = _mm512_set1_epi8(2);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm512_setzero_si512();
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++) {
            HIDE(a);
            sum[c] = _mm512_dpbusd_epi32(sum[c], a, w);
        }
    for (int c = 0; c < CHAINS; c++)
        HIDE(sum[c]);
}

/* Four tiles of sums in turn. (In assembly: the compilers' own tile loads would need their flags.) */
static void int8_amx(void *arg, int worker, int workers)
{
    (void)arg;
    (void)worker;
    (void)workers;
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.bytes[i] = 64;
        config.rows[i] = 16;
    }
    __asm__ volatile("ldtilecfg %0" : : "m"(config) : "memory");
    for (int i = 0; i < ROUNDS * CHAINS / TILE_ROUNDS; i += 4)
        __asm__ volatile("tdpbssd %tmm5, %tmm4, %tmm0\n\ttdpbssd %tmm5, %tmm4, %tmm1\n\t"
                         "tdpbssd %tmm5, %tmm4, %tmm2\n\ttdpbssd %tmm5, %tmm4, %tmm3");
    __asm__ volatile("tilerelease");
}

static void f32_fma(void *arg, int worker, int workers)
{
    (void)arg;
    (void)worker;
    (void)workers;
    __m256 sum[CHAINS], a = _mm256_set1_ps(1.0f), w = _mm256_set1_ps(1e-9f);
    for (int c = 0; c < CHAINS; c++)
        sum[c] = _mm256_setzero_ps();
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 16
        for (int c = 0; c < CHAINS; c++) {
            HIDE(a);
            sum[c] = _mm256_fmadd_ps(a, w, sum[c]);
        }
    for (int c = 0; c < CHAINS; c++)
        HIDE(sum[c]);
}

static const struct {
    const char *variant, *mix;
    void (*work)(void *arg, int worker, int workers);
    int products; /* of one instruction */
} int8_mixes[] = {
    {"avx2", "vpmaddubsw, vpmaddwd, vpaddd", int8_avx2, 32},
    {"avxvnni", "vpdpbusd, 256 bits", int8_avxvnni, 32},
    {"avx512", "vpdpbusd, 512 bits", int8_avx512, 64},
    {"amx", "tdpbssd", int8_amx, 16 * 16 * 64 / TILE_ROUNDS},
};

/* Thousand millions of operations a second, the best of three. */
static double rate(struct pool *p, void (*work)(void *, int, int), double operations)
{
    double best = 0;
    for (int i = 0; i < 3; i++) {
        double begin = clock_ms();
        pool_run(p, work, NULL);
        double now = operations * ROUNDS * CHAINS * pool_threads(p) / (clock_ms() - begin) / 1e6;
        best = now > best ? now : best;
    }
    return best;
}

double peaks_int8(struct pool *p, const char *variant)
{
    for (size_t i = 0; i < sizeof int8_mixes / sizeof *int8_mixes; i++)
        if (strcmp(int8_mixes[i].variant, variant) == 0)
            return rate(p, int8_mixes[i].work, 2 * int8_mixes[i].products);
    return 0;
}

const char *peaks_int8_mix(const char *variant)
{
    for (size_t i = 0; i < sizeof int8_mixes / sizeof *int8_mixes; i++)
        if (strcmp(int8_mixes[i].variant, variant) == 0)
            return int8_mixes[i].mix;
    return "none";
}

double peaks_f32(struct pool *p)
{
    return rate(p, f32_fma, 2 * 8);
}
#else
double peaks_int8(struct pool *p, const char *variant)
{
    (void)p;
    (void)variant;
    return 0;
}

const char *peaks_int8_mix(const char *variant)
{
    (void)variant;
    return "none";
}

double peaks_f32(struct pool *p)
{
    (void)p;
    return 0;
}
#endif

#define READ_BYTES ((size_t)512 << 20)

struct reading {
    const unsigned char *memory;
    atomic_uint_fast64_t sink;
};

typedef uint64_t wide __attribute__((vector_size(32)));

static void read_share(void *arg, int worker, int workers)
{
    struct reading *r = arg;
    size_t share = READ_BYTES / (size_t)workers / 256 * 256;
    const wide *p = (const wide *)(const void *)(r->memory + share * (size_t)worker);
    wide a = {0}, b = {0}, c = {0}, d = {0};
    for (size_t i = 0; i + 8 <= share / sizeof *p; i += 8) {
        a += p[i] + p[i + 1];
        b += p[i + 2] + p[i + 3];
        c += p[i + 4] + p[i + 5];
        d += p[i + 6] + p[i + 7];
    }
    a += b + c + d;
    atomic_fetch_xor(&r->sink, a[0] ^ a[1] ^ a[2] ^ a[3]);
}

double peaks_read(struct pool *p)
{
    unsigned char *memory = hugepage_new(READ_BYTES);
    if (!memory)
        bench_fail("out of memory");
    memset(memory, 1, READ_BYTES);
    struct reading r = {.memory = memory};
    double best = 0;
    for (int i = 0; i < 3; i++) {
        double begin = clock_ms();
        pool_run(p, read_share, &r);
        double now = (double)READ_BYTES / (clock_ms() - begin) / 1e6;
        best = now > best ? now : best;
    }
    hugepage_free(memory, READ_BYTES);
    return best;
}
