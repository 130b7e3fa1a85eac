/* What many registered adapters cost that nobody uses: starting, memory, lists, lookups, uploads, and what
 * others notice when a tenant with all of them is deleted.
 *
 *   registered --directory DIR [--adapters 10000] [--tenants 100] [--daemon adapterd --model DIR]
 *
 * DIR/full, DIR/few and DIR/empty become data directories. Uploads go to the registry directly: what is
 * measured is the disk's and the database's part, without proving the adapter. */
#include <fcntl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "adapters/registry/registry.h"
#include "bench/bench.h"
#include "core/system/clock.h"

enum { STARTS = 5, LOOKUPS = 100000, PAGE = 100, WEIGHT_BYTES = 4096 };
extern char **environ;

struct options {
    const char *directory, *daemon, *model;
    int adapters, tenants;
};

static struct registry *open_registry(const char *data)
{
    struct registry *r = NULL;
    struct err e;
    bench_check(registry_open(&r, data, &e), &e);
    return r;
}

static const char *data_of(const struct options *o, const char *name)
{
    static char paths[4][4200];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", o->directory, name);
    return path;
}

/* ---- fill ---- */

static void publish(struct registry *r, uint32_t tenant, int number)
{
    char name[32], config[128], weights[WEIGHT_BYTES];
    struct bench_random random = bench_seeded(5, (uint64_t)number);
    struct publish p = {.tenant = tenant,
                        .name = name,
                        .activate = true,
                        .rank_max = 8,
                        .sites = 168,
                        .parameters = WEIGHT_BYTES / 2};
    struct staged *s = NULL;
    struct err e;
    bool created;
    const struct version *v = NULL;
    snprintf(name, sizeof name, "adapter-%d", number);
    int length = snprintf(config, sizeof config, "{\"r\":8,\"number\":%d}", number);
    for (size_t i = 0; i < sizeof weights; i += 8) {
        uint64_t bits = bench_random(&random);
        memcpy(weights + i, &bits, sizeof bits);
    }
    sha256_of(weights, sizeof weights, p.digest);
    bench_check(staged_new(&s, r, &e), &e);
    bench_check(staged_write(s, STAGED_CONFIG, config, (size_t)length, &e), &e);
    bench_check(staged_write(s, STAGED_WEIGHTS, weights, sizeof weights, &e), &e);
    bench_check(staged_sync(s, &e), &e);
    bench_check(registry_publish(r, s, &p, &v, &created, &e), &e);
    version_unref(v);
    staged_free(s);
}

/* ---- opening, in a process of its own ---- */

struct opening {
    double ms, memory_mib;
    double first_rate, last_rate; /* uploads a second, of the first tenth and of the last */
};

/* What `work` finds in a child, so that this process's heap stays as it was. */
static struct opening apart(struct opening (*work)(const struct options *, const char *),
                            const struct options *o, const char *data)
{
    int ends[2], status;
    struct opening result = {0};
    if (pipe(ends) != 0)
        bench_fail("pipe: %m");
    pid_t child = fork();
    if (child < 0)
        bench_fail("fork: %m");
    if (child == 0) {
        result = work(o, data);
        _exit(write(ends[1], &result, sizeof result) == sizeof result ? 0 : 1);
    }
    close(ends[1]);
    bool got = read(ends[0], &result, sizeof result) == sizeof result;
    close(ends[0]);
    if (waitpid(child, &status, 0) != child || status != 0 || !got)
        bench_fail("the process that opens %s failed", data);
    return result;
}

static struct opening open_once(const struct options *o, const char *data)
{
    (void)o;
    double before = bench_memory_mib("RssAnon"), begin = clock_ms();
    open_registry(data);
    return (struct opening){.ms = clock_ms() - begin, .memory_mib = bench_memory_mib("RssAnon") - before};
}

static struct opening opening_median(const struct options *o, const char *data)
{
    double ms[STARTS], memory[STARTS];
    for (int i = 0; i < STARTS; i++) {
        struct opening one = apart(open_once, o, data);
        ms[i] = one.ms;
        memory[i] = one.memory_mib;
    }
    return (struct opening){.ms = bench_median(ms, STARTS), .memory_mib = bench_median(memory, STARTS)};
}

static struct opening fill(const struct options *o, const char *data)
{
    struct registry *r = open_registry(data);
    struct err e;
    struct tenant_row row;
    char tenant[32];
    for (int i = 0; i < o->tenants; i++) {
        snprintf(tenant, sizeof tenant, "tenant-%d", i);
        bench_check(registry_tenant_create(r, tenant, NULL, &row, &e), &e);
    }
    double begin = clock_ms(), first = 0, last = 0;
    for (int i = 0; i < o->adapters; i++) {
        if (i == o->adapters / 10)
            first = clock_ms() - begin;
        if (i == o->adapters - o->adapters / 10)
            last = clock_ms() - begin;
        publish(r, 1 + (uint32_t)(i % o->tenants), i); /* tenants are numbered from 1 */
    }
    double ms = clock_ms() - begin;
    registry_close(r);
    double share = o->adapters / 10 * 1000.0;
    return (struct opening){.ms = ms, .first_rate = share / first, .last_rate = share / (ms - last)};
}

/* ---- the daemon ---- */

/* From its start to its line "listening on"; it is stopped again. */
static double daemon_ms(const struct options *o, const char *data)
{
    const char *const arguments[] = {o->daemon, "--model",  o->model,      "--data",
                                     data,      "--listen", "127.0.0.1:0", NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status;
    char byte;
    pid_t child;
    if (pipe2(ends, O_CLOEXEC) != 0 || posix_spawn_file_actions_init(&actions) != 0 ||
        posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO) != 0 ||
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) != 0)
        bench_fail("pipe: %m");
    double begin = clock_ms();
    if (posix_spawn(&child, o->daemon, &actions, NULL, (char *const *)(uintptr_t)arguments, environ) != 0)
        bench_fail("%s: %m", o->daemon);
    close(ends[1]);
    if (read(ends[0], &byte, 1) != 1)
        bench_fail("%s did not start on %s", o->daemon, data);
    double ms = clock_ms() - begin;
    kill(child, SIGTERM);
    close(ends[0]);
    posix_spawn_file_actions_destroy(&actions);
    waitpid(child, &status, 0);
    return ms;
}

/* ---- reading ---- */

/* The slowest page of the list of one tenant's adapters. */
static double page_ms(struct registry *r, uint32_t tenant)
{
    struct adapter_row rows[PAGE];
    char after[NAME_MAX_BYTES + 1] = "";
    double slowest = 0;
    for (bool more = true; more;) {
        double begin = clock_ms();
        size_t n = registry_adapter_list(r, tenant, after[0] ? after : NULL, NULL, PAGE, rows, &more);
        double ms = clock_ms() - begin;
        slowest = ms > slowest ? ms : slowest;
        adapter_rows_fini(rows, n);
        if (n == 0)
            break;
        memcpy(after, rows[n - 1].name, sizeof after);
    }
    return slowest;
}

static double lookup_us(struct registry *r, const struct options *o, const uint32_t *numbers)
{
    struct bench_random random = bench_seeded(6, 0);
    struct err e;
    char name[32];
    double begin = clock_ms();
    for (int i = 0; i < LOOKUPS; i++) {
        const struct version *v = NULL;
        int number = (int)(bench_random(&random) % (uint64_t)o->adapters);
        snprintf(name, sizeof name, "adapter-%d", number);
        bench_check(registry_resolve(r, numbers[number % o->tenants], name, &v, &e), &e);
        version_unref(v);
    }
    return (clock_ms() - begin) * 1000 / LOOKUPS;
}

struct reading {
    double page_ms, lookup_us;
};

static struct reading measure_reading(const struct options *o, const char *data)
{
    struct registry *r = open_registry(data);
    struct tenant_row row;
    struct err e;
    uint32_t *numbers = calloc((size_t)o->tenants, sizeof *numbers);
    char tenant[32];
    if (!numbers)
        bench_fail("out of memory");
    for (int i = 0; i < o->tenants; i++) {
        snprintf(tenant, sizeof tenant, "tenant-%d", i);
        bench_check(registry_tenant_find(r, tenant, &row, &e), &e);
        numbers[i] = row.number;
    }
    struct reading result = {.page_ms = page_ms(r, numbers[0]), .lookup_us = lookup_us(r, o, numbers)};
    free(numbers);
    registry_close(r);
    return result;
}

/* ---- deleting a tenant ---- */

struct bystander {
    struct registry *r;
    atomic_bool over;
    double longest_ms;
};

/* Another tenant's changes meanwhile. */
static void *change_keys(void *arg)
{
    struct bystander *b = arg;
    while (!atomic_load(&b->over)) {
        struct key_row row;
        struct tenant_row tenant;
        char key[KEY_TEXT_BYTES];
        struct err e;
        double begin = clock_ms();
        bench_check(registry_key_create(b->r, "other", "bench", 0, &row, key, &e), &e);
        bench_check(registry_key_revoke(b->r, "other", row.kid, &e), &e);
        double ms = clock_ms() - begin;
        b->longest_ms = ms > b->longest_ms ? ms : b->longest_ms;
        bench_check(registry_tenant_delete(b->r, "other", &e), &e);
        bench_check(registry_tenant_create(b->r, "other", NULL, &tenant, &e), &e);
    }
    return NULL;
}

/* `one` has all adapters in one tenant. */
static void measure_delete(const struct options *one, const char *data)
{
    struct bystander b = {.r = open_registry(data)};
    struct tenant_row row;
    struct err e;
    pthread_t thread;
    bench_check(registry_tenant_create(b.r, "other", NULL, &row, &e), &e);
    if (pthread_create(&thread, NULL, change_keys, &b) != 0)
        bench_fail("cannot start a thread");
    double begin = clock_ms();
    bench_check(registry_tenant_delete(b.r, "tenant-0", &e), &e);
    double ms = clock_ms() - begin;
    atomic_store(&b.over, true);
    pthread_join(thread, NULL);
    bench_row("deleting a tenant with %d adapters|%.0f|ms|", one->adapters, ms);
    bench_row("two changes of another tenant meanwhile, longest|%.0f|ms|", b.longest_ms);
    registry_close(b.r);
}

static void measure_daemon(const struct options *o)
{
    double with[STARTS], without[STARTS];
    for (int i = 0; i < STARTS; i++) {
        without[i] = daemon_ms(o, data_of(o, "empty"));
        with[i] = daemon_ms(o, data_of(o, "full"));
    }
    double none = bench_median(without, STARTS), all = bench_median(with, STARTS);
    bench_row("start of the daemon with none|%.0f|ms|", none);
    bench_row("start of the daemon with all|%.0f|ms|", all);
    bench_row("longer by|%.0f|ms|<= 1000", all - none);
}

static void read_options(struct options *o, int argc, char **argv)
{
    static const struct option known[] = {
        {"directory", required_argument, NULL, 'd'}, {"adapters", required_argument, NULL, 'a'},
        {"tenants", required_argument, NULL, 't'},   {"daemon", required_argument, NULL, 'x'},
        {"model", required_argument, NULL, 'm'},     {0}};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == 'd')
            o->directory = optarg;
        else if (c == 'a')
            o->adapters = bench_number("adapters", optarg, 1, TENANT_ADAPTERS_MAX);
        else if (c == 't')
            o->tenants = bench_number("tenants", optarg, 1, TENANTS_MAX);
        else if (c == 'x')
            o->daemon = optarg;
        else if (c == 'm')
            o->model = optarg;
        else
            bench_fail("usage: see the head of bench/registered.c");
    }
    if (!o->directory || !o->daemon != !o->model)
        bench_fail("--directory DIR is wanted, and --daemon and --model together or not at all");
}

int main(int argc, char **argv)
{
    struct options o = {.adapters = 10000, .tenants = 100};
    char title[80];
    read_options(&o, argc, argv);
    struct options few = o, one = o;
    few.adapters = o.adapters / 100 > 0 ? o.adapters / 100 : 1;
    one.tenants = 1;
    struct opening filled = apart(fill, &o, data_of(&o, "full"));
    apart(fill, &few, data_of(&o, "few"));
    apart(fill, &one, data_of(&o, "one"));
    struct opening none = opening_median(&o, data_of(&o, "empty")),
                   all = opening_median(&o, data_of(&o, "full"));
    snprintf(title, sizeof title, "%d registered adapters of %d tenants", o.adapters, o.tenants);
    bench_table(title, "what|value|unit|target");
    bench_row("uploads, each on disk, the first tenth|%.0f|a second|", filled.first_rate);
    bench_row("uploads, the last tenth|%.0f|a second|flat", filled.last_rate);
    bench_row("opening the registry with none|%.1f|ms|", none.ms);
    bench_row("opening the registry with all|%.1f|ms|", all.ms);
    bench_row("memory of a cold adapter|%.0f|bytes|<= 1024",
              (all.memory_mib - none.memory_mib) * (1 << 20) / o.adapters);
    struct reading early = measure_reading(&few, data_of(&o, "few")),
                   late = measure_reading(&o, data_of(&o, "full"));
    bench_row("slowest page of %d, all in one tenant|%.3f|ms|<= 50", PAGE,
              measure_reading(&one, data_of(&o, "one")).page_ms);
    bench_row("lookup of a name, %d adapters|%.2f|us|", few.adapters, early.lookup_us);
    bench_row("lookup of a name, %d adapters|%.2f|us|flat", o.adapters, late.lookup_us);
    measure_delete(&one, data_of(&o, "one"));
    if (o.daemon)
        measure_daemon(&o);
    return 0;
}
