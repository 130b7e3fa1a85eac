/* Measures the compute kernels of every variant that this CPU runs, beside what the machine can do at most.
 *
 *   kernels [--shape 0.5b] [--tokens 1,2,4,8,16,32,64,128,512] [--quick] */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/bench.h"
#include "bench/noise.h"
#include "bench/peaks.h"
#include "bench/shape.h"
#include "core/system/clock.h"
#include "core/system/hugepage.h"
#include "core/system/pool.h"
#include "core/kernels/attention.h"
#include "core/format/bf16.h"
#include "core/kernels/cpu.h"
#include "core/kernels/lowrank.h"
#include "core/kernels/qgemm.h"

enum { TOKENS_MAX = 512, SIZES_MAX = 16, MATRICES_MAX = 1024, PLAIN_TOKENS_MAX = 8 };

struct limits { /* [0] one thread, [1] all */
    struct pool *pool[2];
    double int8[2], f32[2], read[2];
};

struct options {
    struct shape shape;
    int sizes[SIZES_MAX], size_count;
    bool quick;
};

/* Copies of one block's linear layers, more than a cache holds. */
struct set {
    struct packed matrix[MATRICES_MAX];
    struct activation input[2]; /* of hidden and of intermediate columns */
    int count, hidden;
    double products; /* of one token, over all matrices */
    double bytes;
    void *memory;
    size_t memory_bytes;
    float *y;               /* [workers, TOKENS_MAX, widest]: results, overwritten */
    size_t y_size, y_bytes; /* of one worker, in floats; of all */
};

/* ---- what is multiplied ---- */

static void *new_bytes(size_t bytes)
{
    void *memory = hugepage_new(bytes);
    if (!memory)
        bench_fail("out of memory");
    return memory;
}

static void fill_bytes(void *memory, size_t bytes)
{
    struct bench_random r = bench_seeded(7, 7);
    for (size_t i = 0; i + 8 <= bytes; i += 8) {
        uint64_t bits = bench_random(&r);
        memcpy((char *)memory + i, &bits, sizeof bits);
    }
}

/* Scales must be finite numbers: all 2^-6. */
static void fill_scales(const struct packed *p, size_t bytes)
{
    size_t lines = (size_t)((const uint8_t *)p->scale - p->q), count = (bytes - lines) / sizeof(uint16_t);
    for (size_t i = 0; i < count; i++)
        ((uint16_t *)(uintptr_t)p->scale)[i] = 0x2400;
}

static void new_input(struct activation *a, int cols, struct noise *n)
{
    const struct qgemm_kernels *k = cpu_kernels()->qgemm;
    size_t padded = (size_t)r16_pad(cols);
    float *x = malloc(padded * sizeof *x);
    a->cols_padded = (int)padded;
    a->q = aligned_alloc(R16_LINE, TOKENS_MAX * padded);
    a->scale = calloc(TOKENS_MAX * padded / R16_K, sizeof *a->scale);
    a->sum = calloc(TOKENS_MAX * padded / R16_SUM_K, sizeof *a->sum);
    a->wide = k->widen ? calloc(TOKENS_MAX * padded, sizeof *a->wide) : NULL;
    if ((k->widen && !a->wide) || !x || !a->q || !a->scale || !a->sum)
        bench_fail("out of memory");
    for (size_t t = 0; t < TOKENS_MAX; t++) {
        noise_f32(n, 1, x, (size_t)cols);
        qgemm_plain.quantize(x, cols, a->q + t * padded, a->scale + t * padded / R16_K,
                             a->sum + t * padded / R16_SUM_K);
        if (k->widen)
            k->widen(a->q + t * padded, (int)padded, a->wide + t * padded);
    }
    free(x);
}

static struct set *set_new(const struct shape *s, enum qgemm_bits bits, size_t least, int workers,
                           struct noise *n)
{
    struct shape_linear linears[SHAPE_LINEARS];
    struct set *set = calloc(1, sizeof *set);
    size_t block = 0, copies, at = 0;
    shape_linears(s, linears);
    for (int i = 0; i < SHAPE_LINEARS; i++)
        block += (qgemm_bytes(bits, linears[i].rows, linears[i].cols) + R16_LINE) / R16_LINE * R16_LINE;
    copies = least / block + 1;
    if (copies > MATRICES_MAX / SHAPE_LINEARS)
        copies = MATRICES_MAX / SHAPE_LINEARS;
    set->memory_bytes = copies * block;
    set->memory = new_bytes(set->memory_bytes);
    set->hidden = s->hidden;
    fill_bytes(set->memory, set->memory_bytes);
    for (size_t c = 0; c < copies; c++)
        for (int i = 0; i < SHAPE_LINEARS; i++) {
            struct packed *p = &set->matrix[set->count++];
            size_t bytes = qgemm_bytes(bits, linears[i].rows, linears[i].cols);
            qgemm_view(p, bits, linears[i].rows, linears[i].cols, (char *)set->memory + at);
            fill_scales(p, bytes);
            at += (bytes + R16_LINE) / R16_LINE * R16_LINE;
            set->products += (double)p->rows * p->cols;
            set->bytes += (double)bytes;
        }
    new_input(&set->input[0], s->hidden, n);
    new_input(&set->input[1], s->intermediate, n);
    set->y_size = (size_t)TOKENS_MAX * (size_t)(s->intermediate + s->hidden + 32);
    set->y_bytes = (size_t)workers * set->y_size * sizeof *set->y;
    set->y = new_bytes(set->y_bytes);
    return set;
}

static void set_free(struct set *s)
{
    for (int i = 0; i < 2; i++) {
        free(s->input[i].q);
        free(s->input[i].scale);
        free(s->input[i].sum);
        free(s->input[i].wide);
    }
    hugepage_free(s->memory, s->memory_bytes);
    hugepage_free(s->y, s->y_bytes);
    free(s);
}

/* ---- products ---- */

struct product {
    const struct set *set;
    const struct qgemm_kernels *kernels;
    int tokens, first, count; /* which matrices */
};

static void multiply_share(void *arg, int worker, int workers)
{
    const struct product *p = arg;
    for (int i = 0; i < p->count; i++) {
        const struct packed *w = &p->set->matrix[(p->first + i) % p->set->count];
        int begin = w->panels * worker / workers, end = w->panels * (worker + 1) / workers;
        float *y = p->set->y + (size_t)worker * p->set->y_size + begin * R16_ROWS;
        const struct activation *x = &p->set->input[w->cols == p->set->hidden ? 0 : 1];
        (w->bits == R16_INT8 ? p->kernels->multiply_int8 : p->kernels->multiply_int4)(
            w, begin, end, x, p->tokens, y, w->panels * R16_ROWS);
    }
}

/* Milliseconds of one pass over one block's layers: the median of several. */
static double block_ms(const struct set *set, const struct qgemm_kernels *k, struct pool *pool, int tokens,
                       bool quick)
{
    double times[64];
    int count = 0, blocks = set->count / SHAPE_LINEARS, at = 0;
    double least = quick ? 1 : 150, spent = 0;
    while (count < 3 || (spent < least && count < 64)) {
        int step = tokens == 1 ? (blocks < 8 ? blocks : 8) : 1;
        struct product p = {set, k, tokens, at * SHAPE_LINEARS, step * SHAPE_LINEARS};
        double begin = clock_ms();
        pool_run(pool, multiply_share, &p);
        times[count] = (clock_ms() - begin) / step;
        spent += times[count++] * step;
        at = (at + step) % blocks;
    }
    return bench_median(times, count);
}

/* The variant number `i` if this CPU runs it, else NULL. */
static const struct kernels *runs_here(size_t i)
{
    size_t count;
    const struct kernels *k = cpu_variants(&count) + i;
    return k->runs() ? k : NULL;
}

static size_t variants(void)
{
    size_t count;
    cpu_variants(&count);
    return count;
}

static void measure_products(const struct options *o, const char *shape, enum qgemm_bits bits,
                             const struct limits *l, struct noise *n)
{
    char title[160];
    struct set *set =
        set_new(&o->shape, bits, (size_t)(o->quick ? 1 : 200) << 20, pool_threads(l->pool[1]), n);
    int blocks = set->count / SHAPE_LINEARS;
    double products = set->products / blocks, bytes = set->bytes / blocks;
    snprintf(title, sizeof title, "Linear layers of one %s block, int%d", shape, bits);
    bench_table(title,
                "kernels|tokens|1 thread, GOP/s|of peak|all threads, GOP/s|of peak|read, GB/s|of read");
    for (size_t v = variants(); v-- > 0;) {
        const struct kernels *k = runs_here(v);
        for (int i = 0; k && i < o->size_count; i++) {
            int tokens = o->sizes[i];
            double gops[2], ms = 0;
            if (v == 0 && tokens > PLAIN_TOKENS_MAX)
                continue;
            for (int t = 0; t < 2; t++) {
                ms = block_ms(set, k->qgemm, l->pool[t], tokens, o->quick);
                gops[t] = 2 * products * tokens / ms / 1e6;
            }
            bench_row("%s|%d|%.1f|%.0f %%|%.1f|%.0f %%|%.1f|%.0f %%", k->name, tokens, gops[0],
                      100 * gops[0] / l->int8[0], gops[1], 100 * gops[1] / l->int8[1], bytes / ms / 1e6,
                      100 * bytes / ms / 1e6 / l->read[1]);
        }
    }
    set_free(set);
}

/* ---- the smaller kernels, one thread, data in the cache ---- */

static volatile float sink;

/* Calls a second, over at least `least_ms`. */
#define CALLS_PER_SECOND(least_ms, call)              \
    ({                                                \
        double begin_ = clock_ms(), spent_;           \
        long calls_ = 0;                              \
        do {                                          \
            for (int i_ = 0; i_ < 16; i_++, calls_++) \
                call;                                 \
            spent_ = clock_ms() - begin_;             \
        } while (spent_ < (least_ms));                \
        (double)calls_ / spent_ * 1000;               \
    })

static void measure_quantize(const struct options *o, struct noise *n, double least)
{
    int cols = o->shape.intermediate;
    size_t padded = (size_t)r16_pad(cols);
    float *x = calloc(padded, sizeof *x), *scale = calloc(padded / R16_K, sizeof *scale);
    int8_t *q = aligned_alloc(R16_LINE, padded);
    int32_t *sum = calloc(padded / R16_SUM_K, sizeof *sum);
    if (!x || !scale || !q || !sum)
        bench_fail("out of memory");
    noise_f32(n, 1, x, (size_t)cols);
    for (size_t v = variants(); v-- > 0;) {
        const struct kernels *k = runs_here(v);
        if (k)
            bench_row("quantize a token, %s|%d columns|%.1f|GB/s of f32", k->name, cols,
                      CALLS_PER_SECOND(least, k->qgemm->quantize(x, cols, q, scale, sum)) * cols * 4 / 1e9);
    }
    free(x);
    free(scale);
    free(q);
    free(sum);
}

/* One adapter's products for one token and for several. */
static void measure_lowrank(const struct options *o, struct noise *n, double least)
{
    static const int ranks[] = {8, 16, 64}, tokens[] = {1, 8};
    int in = o->shape.hidden, out = o->shape.intermediate;
    size_t size = 64 * (size_t)in + lowrank_b_elements(64, out), outs = (size_t)out;
    uint16_t *memory = calloc(size, sizeof *memory);
    float *x = calloc(8 * (size_t)in, sizeof *x), *y = calloc(8 * outs, sizeof *y), low[8 * 64];
    if (!memory || !x || !y)
        bench_fail("out of memory");
    noise_half(n, NOISE_BF16, 0.02f, memory, size);
    noise_f32(n, 1, x, 8 * (size_t)in);
    for (int i = 0; i < 6; i++) {
        int rank = ranks[i / 2], count = tokens[i % 2];
        struct lowrank l = {.rank = rank, .bf16 = true, .a = memory, .b = memory + (size_t)rank * (size_t)in};
        double calls =
            CALLS_PER_SECOND(least, lowrank_shrink(&l, x, (size_t)in, count, low, 64, in, 0, rank));
        bench_row("lowrank_shrink, r = %d, %d tokens|%d columns|%.1f|GFLOP/s", rank, count, in,
                  calls * 2 * rank * in * count / 1e9);
        calls = CALLS_PER_SECOND(least, for (int row = 0; row < out; row += LINEAR_ROWS) lowrank_expand(
                                            &l, low, 64, count, y + row, outs, row,
                                            out - row < LINEAR_ROWS ? out - row : LINEAR_ROWS));
        bench_row("lowrank_expand, r = %d, %d tokens|%d rows|%.1f|GFLOP/s", rank, count, out,
                  calls * 2 * rank * out * count / 1e9);
    }
    sink = y[0];
    free(memory);
    free(x);
    free(y);
}

/* A page, widened and added to the queries of so many tokens. */
static void measure_attention(const struct options *o, struct noise *n, double least)
{
    int dim = o->shape.hidden / o->shape.heads, group = o->shape.heads / o->shape.kv_heads;
    size_t page = (size_t)dim * ATTENTION_KEYS;
    uint16_t *keys = calloc(page, sizeof *keys), *values = calloc(page, sizeof *values);
    float *query = calloc((size_t)dim, sizeof *query),
          *scratch = calloc(attention_scratch(dim), sizeof *scratch);
    if (!keys || !values || !query || !scratch)
        bench_fail("out of memory");
    noise_half(n, NOISE_BF16, 0.02f, keys, page);
    noise_half(n, NOISE_BF16, 0.02f, values, page);
    noise_f32(n, 1, query, (size_t)dim);
    const struct attention_span whole = {0, ATTENTION_KEYS};
    struct attention_tile t;
    attention_begin(&t, KV_BF16, dim, scratch);
    for (int i = 0; i < ATTENTION_QUERIES; i++)
        attention_query(&t, i, query);
    for (int tokens = 1; tokens * group <= ATTENTION_QUERIES; tokens *= 2) {
        int count = tokens * group;
        double calls =
            CALLS_PER_SECOND(least, (attention_page(&t, keys, values), attention_add(&t, 0, count, whole)));
        bench_row("attention, a page by %d queries|%d dimensions|%.1f|GFLOP/s", count, dim,
                  calls * 4 * count * dim * ATTENTION_KEYS / 1e9);
    }
    attention_result(&t, 0, query);
    sink = query[0];
    free(keys);
    free(values);
    free(query);
    free(scratch);
}

/* ---- the whole ---- */

static void measure_limits(struct limits *l)
{
    const char *best = cpu_kernels()->name;
    struct err e;
    bench_check(pool_new(&l->pool[0], 1, &e), &e);
    bench_check(pool_new(&l->pool[1], 0, &e), &e);
    for (int i = 0; i < 2; i++) {
        l->int8[i] = peaks_int8(l->pool[i], best);
        l->f32[i] = peaks_f32(l->pool[i]);
        l->read[i] = peaks_read(l->pool[i]);
    }
    char columns[64];
    snprintf(columns, sizeof columns, "what|1 thread|%d threads|unit", pool_threads(l->pool[1]));
    bench_table("What this machine can do at most", columns);
    bench_row("int8 multiply-add (%s)|%.0f|%.0f|GOP/s", peaks_int8_mix(best), l->int8[0], l->int8[1]);
    bench_row("f32 multiply-add (256-bit FMA)|%.0f|%.0f|GFLOP/s", l->f32[0], l->f32[1]);
    bench_row("reading memory|%.1f|%.1f|GB/s", l->read[0], l->read[1]);
}

static void read_options(struct options *o, const char **shape, int argc, char **argv)
{
    static const struct option known[] = {
        SHAPE_OPTIONS, {"tokens", required_argument, NULL, 't'}, {"quick", no_argument, NULL, 'q'}, {0}};
    int index;
    for (int c; (c = getopt_long(argc, argv, "", known, &index)) != -1;) {
        if (c == 's') {
            shape_option(&o->shape, known[index].name, optarg);
            *shape = strcmp(known[index].name, "shape") == 0 ? optarg : "changed";
        } else if (c == 't')
            o->size_count = bench_numbers("tokens", optarg, o->sizes, SIZES_MAX);
        else if (c == 'q')
            o->quick = true;
        else
            bench_fail("kernels [--shape 0.5b|1.5b|tiny ...] [--tokens N,N,...] [--quick]");
    }
    shape_check(&o->shape);
    for (int i = 0; i < o->size_count; i++)
        if (o->sizes[i] > TOKENS_MAX)
            bench_fail("--tokens %d: at most %d", o->sizes[i], TOKENS_MAX);
}

int main(int argc, char **argv)
{
    static const int sizes[] = {1, 2, 4, 8, 16, 32, 64, 128, 512};
    struct options o = {.size_count = sizeof sizes / sizeof *sizes};
    struct limits limits;
    const char *shape = "0.5b";
    struct err e;
    memcpy(o.sizes, sizes, sizeof sizes);
    shape_named(shape, &o.shape);
    read_options(&o, &shape, argc, argv);
    bench_check(cpu_check(&e), &e);
    struct noise *n = noise_new(1, 0);
    measure_limits(&limits);
    measure_products(&o, shape, R16_INT8, &limits, n);
    measure_products(&o, shape, R16_INT4, &limits, n);
    double least = o.quick ? 0.1 : 100;
    bench_table("Smaller kernels, one thread, data in the cache", "kernel|size|rate|unit");
    measure_quantize(&o, n, least);
    measure_lowrank(&o, n, least);
    measure_attention(&o, n, least);
    noise_free(n);
    pool_free(limits.pool[0]);
    pool_free(limits.pool[1]);
    return 0;
}
