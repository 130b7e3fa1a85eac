/* adapterd: start, signals, stop. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

#include "adapters/files/files.h"
#include "adapters/jobs/running/runner.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "server/http.h"
#include "server/listen.h"
#include "server/routes.h"
#include "server/base/log.h"
#include "server/base/memory.h"
#include "server/http/server.h"
#include "server/console/status_stream.h"
#include "server/training/job_stream.h"

enum { EXIT_FAILED = 1, EXIT_USAGE = 2, GRACE_MS = 30000, HOUSEKEEPING_MS = 60000 };

static int fail(const struct err *e)
{
    const char *gap = e->hint[0] ? "; " : "";
    log_text("adapterd: %s%s%s", e->message, gap, e->hint);
    return strcmp(e->code, "usage") == 0 ? EXIT_USAGE : EXIT_FAILED;
}

static void quit(int number)
{
    (void)number;
    _exit(EXIT_SUCCESS);
}

/* As long as only the model is being read there is nothing to drain: a stop is the end at once. */
static void quit_on_signals(void)
{
    signal(SIGTERM, quit);
    signal(SIGINT, quit);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static pthread_t main_thread;

static void pass_on(int number)
{
    pthread_kill(main_thread, number);
}

/* Signals go to the main thread alone, which waits for them; every thread started later inherits the mask.
 * Those of libraries that began before (OpenBLAS has some) do not: what reaches them is passed on. */
static void block_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, set, NULL);
    main_thread = pthread_self();
    signal(SIGTERM, pass_on);
    signal(SIGINT, pass_on);
    signal(SIGHUP, pass_on);
}

static void report(const struct server *s)
{
    struct engine_stats stats;
    engine_stats(s->engine, &stats);
    log_message("info", "model %s: %s, %lld parameters, %.1f MiB of weights, precision %s", s->model_name,
                s->info->family, (long long)s->info->parameters, (double)s->info->weight_bytes / (1 << 20),
                precision_name(s->info->precision));
    log_message("info",
                "memory: keys and values %.1f MiB (%d tokens in a sequence at most), adapters %.1f MiB, "
                "training %.1f MiB",
                (double)s->config.kv_bytes / (1 << 20), stats.context_length,
                (double)s->config.adapter_bytes / (1 << 20), (double)s->config.training_bytes / (1 << 20));
    log_message("info", "%d compute threads, %d requests at the same time", stats.threads,
                s->config.max_batch);
    if (s->info->packed_bytes)
        log_message("info", "packed weights: %.1f MiB, %s", (double)s->info->packed_bytes / (1 << 20),
                    s->info->packed_state);
    if (s->config.no_auth)
        log_message("warning", "--no-auth: every caller is admin");
}

/* What the base takes in every precision, and what its config says. */
static void print_network(const struct server *s)
{
    struct model_sizes sizes = model_sizes(s->model);
    if (s->info->numeric)
        return;
    printf("in memory        exact %.1f MiB, int8 %.1f MiB, int4 %.1f MiB\nfeatures         %s\n",
           (double)sizes.exact / (1 << 20), (double)sizes.int8 / (1 << 20), (double)sizes.int4 / (1 << 20),
           s->info->features[0] ? s->info->features : "none beyond llama's");
    printf("unknown fields   %s\n", s->info->unknown[0] ? s->info->unknown : "none");
}

static int check(struct server *s)
{
    struct err e;
    if (server_open_model(s, &e) != 0)
        return fail(&e);
    server_size_memory(s);
    printf(
        "model            %s (%s)\nfamily           %s\nparameters       %lld\nweights          %llu bytes\n"
        "context          %d tokens\nvocabulary       %d\nprecision        %s\nlisten           %s\n"
        "kv-memory        %llu bytes\nadapter-memory   %llu bytes\ntraining-memory  %llu bytes\nmax-batch    "
        "    %d\n",
        s->model_name, s->config.model, s->info->family, (long long)s->info->parameters,
        (unsigned long long)s->info->weight_bytes, s->info->context_length, s->info->vocab_size,
        precision_name(s->info->precision), s->config.listen, (unsigned long long)s->config.kv_bytes,
        (unsigned long long)s->config.adapter_bytes, (unsigned long long)s->config.training_bytes,
        s->config.max_batch);
    print_network(s);
    return EXIT_SUCCESS;
}

static void read_admin_keys_again(struct server *s)
{
    struct err e;
    if (server_read_admin_keys(s, &e) == 0)
        log_message("info", "the admin keys were read again");
    else
        log_message("error", "the admin keys stay as they were: %s", e.message);
}

/* True when a signal that stops came within that time. */
static bool wait_stop(struct server *s, const sigset_t *set, long ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    int number = sigtimedwait(set, NULL, &time);
    if (number == SIGHUP)
        read_admin_keys_again(s);
    return number > 0 && number != SIGHUP;
}

static void expire_files(void *arg)
{
    struct server *s = arg;
    struct err e;
    if (files_expire(s->registry, &e) != 0 && !registry_failed(s->registry) &&
        !registry_replaced(s->registry))
        log_message("warning", "files that have ended are still on the disk: %s", e.message);
}

/* What nobody sees any more is to be off the disk soon; a minute that is missed is no harm. */
static void keep_house(struct server *s, double *due_ms)
{
    if (clock_ms() < *due_ms)
        return;
    *due_ms = clock_ms() + HOUSEKEEPING_MS;
    if (jobs_submit(s->disk_jobs, expire_files, s) != 0)
        log_message("warning", "too much waits for the disk: files that have ended stay a while longer");
}

/* Until it is stopped, or the registry cannot promise any more that what it acknowledges is on disk. */
static int serve(struct server *s, const sigset_t *signals)
{
    bool told = false;
    double housekeeping_ms = 0;
    while (!wait_stop(s, signals, 500)) {
        keep_house(s, &housekeeping_ms);
        registry_look(s->registry);
        if (registry_replaced(s->registry) && !told) {
            told = true;
            log_message("error", "registry.db was removed, replaced or changed by another program: no change "
                                 "is accepted until "
                                 "a restart; adapterctl backup saves what is held");
        }
        if (!registry_failed(s->registry))
            continue;
        log_message("error",
                    "the storage failed; stopping, so that nothing is acknowledged that is not on disk");
        return EXIT_FAILED;
    }
    return EXIT_SUCCESS;
}

static void drain(struct server *s, struct http *http, const sigset_t *signals)
{
    double began = clock_ms();
    atomic_store(&s->draining, true);
    job_streams_stop(s->job_streams);
    status_streams_stop(s->status_streams);
    runner_quiesce(s->runner);
    http_quiesce(http);
    log_message("info", "stopping: %d requests are running; another signal ends them at once",
                atomic_load(&s->active));
    while (atomic_load(&s->active) > 0 && clock_ms() - began < GRACE_MS)
        if (wait_stop(s, signals, 20))
            break;
    http_stop(http);
}

static int announce(struct server *s, const char *url, const char *path, struct err *e)
{
    char line[LISTEN_URL_BYTES + 1];
    snprintf(line, sizeof line, "%s\n", url);
    report(s);
    log_flush(); /* who waits for the address finds the log as it was then */
    if (file_replace(path, line, strlen(line), 0600, e) != 0)
        return -1;
    printf("listening on %s\n", url);
    fflush(stdout);
    return 0;
}

/* What the server, and who counts its answers, know of routes. */
static void set_routes(struct server *s)
{
    s->routes = routes_all(&s->route_count);
    for (size_t i = 0; i < s->route_count; i++)
        counters_name(&s->counters, (int)i + 1, s->routes[i].method, s->routes[i].pattern);
}

static int run_http(struct server *s, int fd, const char *path, const sigset_t *signals)
{
    struct err e;
    struct http *http;
    char url[LISTEN_URL_BYTES];
    if (listen_start(fd, url, &e) != 0) {
        close(fd);
        return fail(&e);
    }
    if (http_start(&http, s, fd, &e) != 0)
        return fail(&e);
    int status = announce(s, url, path, &e) == 0 ? serve(s, signals) : fail(&e);
    drain(s, http, signals);
    unlink(path);
    return status;
}

static int serve_data(struct server *s, int fd)
{
    struct err e;
    sigset_t signals;
    char *path = file_join(s->config.data, "address");
    block_signals(&signals);
    if (!path || server_open(s, &e) != 0) {
        if (!path)
            err_memory(&e);
        free(path);
        close(fd);
        return fail(&e);
    }
    unlink(path); /* of a daemon that was killed; the data is ours now */
    int status = run_http(s, fd, path, &signals);
    free(path);
    return status;
}

static int run(struct server *s)
{
    struct err e;
    int fd;
    if (listen_bind(s->config.host, s->config.port, s->config.no_auth, &fd, &e) != 0)
        return fail(&e);
    if (server_open_model(s, &e) != 0) {
        close(fd);
        return fail(&e);
    }
    server_size_memory(s);
    return serve_data(s, fd);
}

int main(int argc, char **argv)
{
    static struct server server;
    struct err e;
    quit_on_signals();
    umask(077); /* what the data directory holds is nobody else's business */
    server.started_ms = clock_unix_ms();
    set_routes(&server);
    json_object_seed(0);
    json_set_alloc_funcs(malloc, memory_free_wiped); /* prompts and answers are among the values */
    if (config_load(&server.config, argc, argv, environ, &e) != 0 || log_open(&e) != 0)
        return fail(&e);
    log_set_json(server.config.log_json);
    int status = EXIT_SUCCESS;
    if (server.config.help)
        fputs(config_help(), stdout);
    else if (server.config.version)
        printf("adapterd %s\n", ADAPTERD_VERSION);
    else
        status = server.config.check ? check(&server) : run(&server);
    server_close(&server);
    log_flush();
    return status;
}
