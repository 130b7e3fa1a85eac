/* Measures the engine on one model: prefill, decode, adapters, opening, memory.
 *
 *   engine --model DIR [--adapter DIR] [--packed-cache DIR] [--precision int8] [--threads N] [--kv-mib N]
 *          [--sections open,prefill,decode,adapters,clients,cold,memory] [--repeats N] [--quick]
 *
 * What is compared takes turns within one run, and the median of the repeats counts. */
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/peft/peft.h"
#include "bench/clients.h"
#include "bench/deltas.h"
#include "bench/peaks.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "core/kernels/cpu.h"

enum { CLIENTS_MAX = 32, VARIANTS_MAX = 8, REPEATS_MAX = 32, GAPS_MAX = 1 << 16 };

struct options {
    const char *model, *adapter, *packed_cache;
    char sections[128];
    enum precision precision;
    int threads, kv_mib, repeats;
    bool quick;
};

struct bench_engine {
    const struct options *o;
    struct model *model;
    const struct model_info *info;
    struct engine *engine;
    struct pool *pool; /* of the peaks; idle otherwise */
    struct bench_random random;
    double linear_products;
    struct delta *same, *different[CLIENTS_MAX], *mixed[CLIENTS_MAX];
};

static bool wanted(const struct options *o, const char *section)
{
    const char *found = strstr(o->sections, section);
    return found != NULL;
}

static void open_model(const struct options *o, struct model **out, const char *packed_cache)
{
    struct err e;
    struct model_options options = {
        .precision = o->precision, .threads = o->threads, .packed_cache = packed_cache};
    bench_check(model_open(out, o->model, &options, &e), &e);
}

/* ---- opening, each time in a process of its own ---- */

struct opening {
    double seconds, peak, anonymous, file, packed;
    char state[128];
};

static struct opening open_apart(const struct options *o, const char *packed_cache)
{
    int ends[2];
    struct opening result = {0};
    if (pipe(ends) != 0)
        bench_fail("pipe: %m");
    pid_t child = fork();
    if (child < 0)
        bench_fail("fork: %m");
    if (child == 0) {
        struct model *m;
        double begin = clock_ms();
        open_model(o, &m, packed_cache);
        result.seconds = (clock_ms() - begin) / 1000;
        result.peak = bench_memory_mib("VmHWM");
        result.anonymous = bench_memory_mib("RssAnon");
        result.file = bench_memory_mib("RssFile");
        result.packed = (double)model_info(m)->packed_bytes / (1 << 20);
        snprintf(result.state, sizeof result.state, "%.127s", model_info(m)->packed_state);
        _exit(write(ends[1], &result, sizeof result) == sizeof result ? 0 : 1);
    }
    close(ends[1]);
    int status;
    bool got = read(ends[0], &result, sizeof result) == sizeof result;
    close(ends[0]);
    if (waitpid(child, &status, 0) != child || status != 0 || !got)
        bench_fail("the process that opens the model failed");
    return result;
}

static void opening_row(const char *what, const struct opening *r)
{
    bench_row("%s|%s|%.2f|%.0f|%.0f|%.0f|%.0f", what, r->state, r->seconds, r->packed, r->peak, r->anonymous,
              r->file);
}

static void measure_opening(const struct options *o)
{
    char cache[] = "/tmp/bench-packed-XXXXXX", command[64];
    if (!mkdtemp(cache))
        bench_fail("%s: %m", cache);
    struct opening plain = open_apart(o, NULL), first = open_apart(o, cache), second = open_apart(o, cache);
    bench_table("Opening the model",
                "start|weights|seconds|packed, MiB|peak memory, MiB|anonymous, MiB|mapped "
                "files, MiB");
    opening_row("without a cache", &plain);
    opening_row("first, with a cache", &first);
    opening_row("second", &second);
    snprintf(command, sizeof command, "rm -r %s", cache);
    if (system(command) != 0)
        bench_fail("cannot remove %s", cache);
}

/* ---- prefill ---- */

static double peak_int8(const struct bench_engine *b)
{
    return peaks_int8(b->pool, cpu_kernels()->name);
}

static double prefill_ms(struct bench_engine *b, int tokens)
{
    struct client c = {.prompt = tokens, .new_tokens = 1};
    clients_run(b->engine, &c, 1, &b->random);
    double ms = c.at_ms[0] - c.submitted_ms;
    clients_fini(&c, 1);
    return ms;
}

static void measure_prefill(struct bench_engine *b)
{
    static const int lengths[] = {128, 512, 2048};
    enum { LENGTHS = sizeof lengths / sizeof *lengths };
    double times[LENGTHS][REPEATS_MAX], peaks[LENGTHS][REPEATS_MAX], shares[LENGTHS][REPEATS_MAX];
    int count = b->o->quick ? 1 : LENGTHS;
    prefill_ms(b, 64);
    for (int i = 0; i < b->o->repeats; i++)
        for (int k = 0; k < count; k++) {
            peaks[k][i] = peak_int8(b);
            times[k][i] = prefill_ms(b, lengths[k]);
            shares[k][i] =
                peaks[k][i] > 0 ? 2 * b->linear_products * lengths[k] / times[k][i] / 1e6 / peaks[k][i] : 0;
        }
    bench_table("Prefill of one sequence",
                "tokens|ms|tokens/s|linear layers, GOP/s|int8 peak, GOP/s|of peak");
    for (int k = 0; k < count; k++) {
        double ms = bench_median(times[k], b->o->repeats);
        double gops = 2 * b->linear_products * lengths[k] / ms / 1e6;
        bench_row("%d|%.1f|%.1f|%.0f|%.0f|%.0f %%", lengths[k], ms, lengths[k] / ms * 1000, gops,
                  bench_median(peaks[k], b->o->repeats), 100 * bench_median(shares[k], b->o->repeats));
    }
    bench_note("Time from the request to its first token, attention and everything else included. Medians; "
               "each share is of "
               "the peak measured just before.");
}

/* ---- variants that take turns ---- */

struct variant {
    const char *name;
    int clients, prompt, new_tokens;
    struct delta *const *deltas; /* [clients]; NULL: none */
    struct delta *delta;         /* for all, when deltas is NULL */
    double (*rate)(const struct client *, int);
    double rates[REPEATS_MAX], p99[REPEATS_MAX];
    double limits[REPEATS_MAX]; /* what the same turn's rate is compared with */
};

static void run_variant(struct bench_engine *b, struct variant *v, int repeat)
{
    struct client c[CLIENTS_MAX] = {0};
    static double gaps[GAPS_MAX];
    for (int i = 0; i < v->clients; i++)
        c[i] = (struct client){
            .prompt = v->prompt, .new_tokens = v->new_tokens, .delta = v->deltas ? v->deltas[i] : v->delta};
    clients_run(b->engine, c, v->clients, &b->random);
    v->rates[repeat] = v->rate(c, v->clients);
    v->p99[repeat] = bench_percentile(gaps, clients_gaps(c, v->clients, gaps, GAPS_MAX), 0.99);
    clients_fini(c, v->clients);
}

/* What is short is repeated more often. */
static int repeats_of(const struct bench_engine *b, const struct variant *v)
{
    int times = b->o->quick ? 1 : v->clients <= 2 ? 4 : v->clients <= 8 ? 2 : 1;
    return times * b->o->repeats < REPEATS_MAX ? times * b->o->repeats : REPEATS_MAX;
}

/* In turns; `limit` measures before each run what it is compared with, NULL: the first variant's run of the
 * same turn. */
static void run_variants(struct bench_engine *b, struct variant *v, int count, double (*limit)(struct pool *))
{
    for (int i = 0; i < REPEATS_MAX; i++) {
        for (int k = 0; k < count; k++) {
            struct variant *now = &v[(k + i) % count];
            if (i >= repeats_of(b, now))
                continue;
            now->limits[i] = limit ? limit(b->pool) : 0;
            run_variant(b, now, i);
        }
        for (int k = 0; k < count && !limit; k++)
            v[k].limits[i] = v[0].rates[i];
    }
}

/* The median of each turn's own ratio: noise that lasts for some turns does not count. */
static double share_of_limit(const struct bench_engine *b, const struct variant *v, double scale)
{
    double shares[REPEATS_MAX];
    for (int i = 0; i < repeats_of(b, v); i++)
        shares[i] = scale * v->rates[i] / v->limits[i];
    return bench_median(shares, repeats_of(b, v));
}

static void measure_decode(struct bench_engine *b)
{
    static const int batches[] = {1, 2, 4, 8, 16, 32};
    enum { BATCHES = sizeof batches / sizeof *batches };
    struct variant v[BATCHES] = {0};
    for (int i = 0; i < BATCHES; i++)
        v[i] = (struct variant){.clients = batches[i],
                                .prompt = 16,
                                .new_tokens = b->o->quick ? 16 : 32,
                                .rate = clients_decode_rate};
    run_variants(b, v, BATCHES, peaks_read);
    bench_table("Decode, no adapter", "sequences|tokens/s|a step, ms|weights read, GB/s|of read");
    for (int i = 0; i < BATCHES; i++) {
        double rate = bench_median(v[i].rates, repeats_of(b, &v[i])), steps = rate / batches[i];
        double step_gb = (double)b->info->packed_bytes / 1e9;
        bench_row("%d|%.1f|%.1f|%.1f|%.0f %%", batches[i], rate, 1000 / steps, steps * step_gb,
                  100 * share_of_limit(b, &v[i], step_gb / batches[i]));
    }
    bench_note("Reading memory: %.1f GB/s, measured before each run; shares are medians of each run's own.",
               bench_median(v[0].limits, repeats_of(b, &v[0])));
}

static void make_deltas(struct bench_engine *b, int count)
{
    static const int ranks[] = {4, 8, 16, 32, 64};
    if (!b->same)
        b->same = deltas_random(b->model, 16, 1);
    for (int i = 0; i < count; i++) {
        if (!b->different[i])
            b->different[i] = deltas_random(b->model, 8, 100 + (uint64_t)i);
        if (!b->mixed[i])
            b->mixed[i] = deltas_random(b->model, ranks[i % 5], 200 + (uint64_t)i);
    }
}

static void print_variants(const struct bench_engine *b, struct variant *v, int count)
{
    for (int i = 0; i < count; i++) {
        int repeats = repeats_of(b, &v[i]);
        bench_row("%s|%d|%.1f|%.1f|%.0f %%", v[i].name, v[i].clients, bench_median(v[i].rates, repeats),
                  bench_median(v[i].p99, repeats), 100 * share_of_limit(b, &v[i], 1));
    }
}

static void measure_adapters(struct bench_engine *b)
{
    static const int batches[] = {1, 8, CLIENTS_MAX};
    int tokens = b->o->quick ? 16 : 24;
    make_deltas(b, CLIENTS_MAX);
    bench_table("Decode with adapters at all linear layers",
                "adapters|sequences|tokens/s|p99 between tokens, ms|of none");
    for (size_t i = 0; i < sizeof batches / sizeof *batches; i++) {
        int n = batches[i];
        struct variant v[] = {{.name = "none"},
                              {.name = "one, r = 16", .delta = b->same},
                              {.name = "all different, r = 8", .deltas = b->different},
                              {.name = "all different, r = 4 to 64", .deltas = b->mixed}};
        int count = n == 1 ? 2 : 4;
        for (int k = 0; k < count; k++) {
            v[k].clients = n;
            v[k].prompt = 16;
            v[k].new_tokens = tokens;
            v[k].rate = clients_decode_rate;
        }
        run_variants(b, v, count, NULL);
        print_variants(b, v, count);
    }
}

static void measure_clients(struct bench_engine *b)
{
    int tokens = b->o->quick ? 4 : 48;
    make_deltas(b, CLIENTS_MAX);
    struct variant v[] = {{.name = "none"},
                          {.name = "one, r = 16", .delta = b->same},
                          {.name = "all different, r = 8", .deltas = b->different},
                          {.name = "all different, r = 4 to 64", .deltas = b->mixed}};
    for (int k = 0; k < 4; k++) {
        v[k].clients = 8;
        v[k].prompt = v[k].new_tokens = tokens;
        v[k].rate = clients_rate;
    }
    run_variants(b, v, 4, NULL);
    bench_table("8 clients at once, 48 prompt and 48 new tokens each, without HTTP",
                "adapters|clients|new tokens/s|p99 between tokens, ms|of none");
    print_variants(b, v, 4);
}

/* ---- a cold adapter ---- */

static struct delta *load(const struct bench_engine *b, double *ms)
{
    struct err e;
    struct peft *p = NULL;
    struct delta *d = NULL;
    char path[4200];
    snprintf(path, sizeof path, "%s/adapter_config.json", b->o->adapter);
    int config = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", b->o->adapter);
    int weights = open(path, O_RDONLY | O_CLOEXEC);
    if (config < 0 || weights < 0)
        bench_fail("%s: no adapter there", b->o->adapter);
    double begin = clock_ms();
    bench_check(peft_load(&p, b->model, config, weights, PEFT_STORED, &e), &e);
    bench_check(delta_new(&d, b->model, peft_source(p), &e), &e);
    *ms = clock_ms() - begin;
    peft_free(p);
    close(config);
    close(weights);
    return d;
}

struct loading {
    const struct bench_engine *b;
    atomic_bool stop;
    int count;
};

/* Cold adapters coming in, five a second. */
static void *keep_loading(void *arg)
{
    struct loading *l = arg;
    while (!atomic_load(&l->stop)) {
        double ms;
        delta_unref(load(l->b, &ms));
        l->count++;
        usleep(200000);
    }
    return NULL;
}

static void run_while_loading(struct bench_engine *b, struct variant *v, int repeat)
{
    struct loading l = {.b = b};
    pthread_t thread;
    if (pthread_create(&thread, NULL, keep_loading, &l) != 0)
        bench_fail("cannot start a thread");
    run_variant(b, v, repeat);
    atomic_store(&l.stop, true);
    pthread_join(thread, NULL);
}

static void measure_cold(struct bench_engine *b)
{
    double times[REPEATS_MAX], bytes = 0;
    for (int i = 0; i < b->o->repeats; i++) {
        struct delta *d = load(b, &times[i]);
        bytes = (double)delta_bytes(d);
        delta_unref(d);
    }
    struct variant quiet = {.clients = 8, .prompt = 16, .new_tokens = 48, .rate = clients_decode_rate},
                   busy = quiet;
    for (int i = 0; i < b->o->repeats; i++) {
        run_variant(b, &quiet, i);
        run_while_loading(b, &busy, i);
    }
    double alone = bench_median(quiet.p99, b->o->repeats), loaded = bench_median(busy.p99, b->o->repeats);
    bench_table("A cold adapter whose files are in the page cache", "what|value|unit");
    bench_row("size in memory|%.1f|MB", bytes / 1e6);
    bench_row("read and compile, engine idle (hashed beside it)|%.1f|ms", bench_median(times, b->o->repeats));
    bench_row("p99 between tokens of 8 others, nothing loads|%.1f|ms", alone);
    bench_row("p99 between tokens of 8 others, five loads a second|%.1f|ms", loaded);
    bench_row("ratio of the two|%.2f|times", loaded / alone);
}

/* ---- memory ---- */

/* Touch all pages of keys and values. */
static void fill_kv(struct bench_engine *b)
{
    struct client c[CLIENTS_MAX] = {0};
    int pages = (int)(((size_t)b->o->kv_mib << 20) / kvcache_page_bytes(&b->info->kv)) / CLIENTS_MAX;
    int tokens = pages * KV_PAGE_TOKENS;
    tokens = tokens > b->info->context_length ? b->info->context_length : tokens < 2 ? 2 : tokens;
    for (int i = 0; i < CLIENTS_MAX; i++)
        c[i] = (struct client){.prompt = tokens - 1, .new_tokens = 2, .delta = b->mixed[i]};
    clients_run(b->engine, c, CLIENTS_MAX, &b->random);
    clients_fini(c, CLIENTS_MAX);
}

static void measure_memory(struct bench_engine *b)
{
    double packed = (double)b->info->packed_bytes, kv = b->o->kv_mib, deltas = 0, mib = 1 << 20;
    make_deltas(b, CLIENTS_MAX);
    fill_kv(b);
    for (int i = 0; i < CLIENTS_MAX; i++)
        deltas += (double)delta_bytes(b->different[i]) + (double)delta_bytes(b->mixed[i]);
    deltas += (double)delta_bytes(b->same);
    double budget = packed / mib + kv + deltas / mib, resident = bench_memory_mib("VmRSS");
    bench_table("Memory with all keys and values and all adapters in use", "what|MiB");
    bench_row("packed weights|%.0f", packed / mib);
    bench_row("keys and values|%.0f", kv);
    bench_row("%d adapters|%.0f", 2 * CLIENTS_MAX + 1, deltas / mib);
    bench_row("sum|%.0f", budget);
    bench_row("resident|%.0f", resident);
    bench_row("of that anonymous|%.0f", bench_memory_mib("RssAnon"));
    bench_row("of that mapped files|%.0f", bench_memory_mib("RssFile"));
    bench_row("resident by sum|%.2f", resident / budget);
}

/* ---- the whole ---- */

static void start(struct bench_engine *b, const struct options *o)
{
    struct err e;
    size_t sites;
    b->o = o;
    b->random = bench_seeded(1, 2);
    bench_check(pool_new(&b->pool, o->threads, &e), &e);
    open_model(o, &b->model, o->packed_cache);
    b->info = model_info(b->model);
    const struct site *all = model_sites(b->model, &sites);
    for (size_t i = 0; i < sites; i++)
        b->linear_products += all[i].layer >= 0 ? (double)all[i].in * all[i].out : 0;
    struct engine_options options = {.threads = o->threads,
                                     .kv_bytes = (size_t)o->kv_mib << 20,
                                     .sequences_max = CLIENTS_MAX,
                                     .queue_max = 256,
                                     .queue_tenant_max = 256};
    bench_check(engine_new(&b->engine, b->model, &options, &e), &e);
}

static void stop(struct bench_engine *b)
{
    engine_free(b->engine);
    delta_unref(b->same);
    for (int i = 0; i < CLIENTS_MAX; i++) {
        delta_unref(b->different[i]);
        delta_unref(b->mixed[i]);
    }
    model_close(b->model);
    pool_free(b->pool);
}

static enum precision precision_named(const char *name)
{
    for (enum precision p = PRECISION_DEFAULT; p <= PRECISION_INT4; p++)
        if (strcmp(precision_name(p), name) == 0)
            return p;
    bench_fail("--precision %s: exact, int8 or int4 is wanted", name);
}

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {{"model", required_argument, NULL, 'm'},
                                          {"adapter", required_argument, NULL, 'a'},
                                          {"packed-cache", required_argument, NULL, 'c'},
                                          {"precision", required_argument, NULL, 'p'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"kv-mib", required_argument, NULL, 'k'},
                                          {"sections", required_argument, NULL, 's'},
                                          {"repeats", required_argument, NULL, 'r'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'm')
            o->model = optarg;
        else if (c == 'a')
            o->adapter = optarg;
        else if (c == 'c')
            o->packed_cache = optarg;
        else if (c == 'p')
            o->precision = precision_named(optarg);
        else if (c == 't')
            o->threads = bench_number("threads", optarg, 1, 256);
        else if (c == 'k')
            o->kv_mib = bench_number("kv-mib", optarg, 1, 1 << 20);
        else if (c == 's')
            snprintf(o->sections, sizeof o->sections, "%s", optarg);
        else if (c == 'r')
            o->repeats = bench_number("repeats", optarg, 1, REPEATS_MAX);
        else if (c == 'q')
            o->quick = true;
        else
            bench_fail("usage: see the head of bench/engine.c");
    }
    if (!o->model || optind != argc)
        bench_fail("--model DIR is wanted, a Hugging Face directory of a language model");
}

int main(int argc, char **argv)
{
    struct options o = {.precision = PRECISION_INT8,
                        .kv_mib = 256,
                        .repeats = 5,
                        .sections = "open,prefill,decode,adapters,clients,cold,memory"};
    struct bench_engine b = {0};
    struct err e;
    read_options(&o, argc, argv);
    bench_check(cpu_check(&e), &e);
    if (wanted(&o, "open"))
        measure_opening(&o);
    start(&b, &o);
    bench_note("%s, %s kernels, %d threads, %.0f million parameters.", precision_name(b.info->precision),
               cpu_kernels()->name, pool_threads(b.pool), (double)b.info->parameters / 1e6);
    if (wanted(&o, "prefill"))
        measure_prefill(&b);
    if (wanted(&o, "decode"))
        measure_decode(&b);
    if (wanted(&o, "adapters"))
        measure_adapters(&b);
    if (wanted(&o, "clients"))
        measure_clients(&b);
    if (wanted(&o, "cold") && o.adapter)
        measure_cold(&b);
    if (wanted(&o, "memory"))
        measure_memory(&b);
    stop(&b);
    return 0;
}
