#include "server/structured/grammars.h"
#include "core/delta/delta.h"
#include "server/http/server.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "adapters/jobs/running/runner.h"
#include "core/base/sha256.h"
#include "core/system/clock.h"
#include "core/system/file.h"
#include "core/system/gate.h"
#include "server/accounting/activity.h"
#include "server/accounting/usage.h"
#include "server/base/log.h"
#include "server/base/memory.h"
#include "server/accounting/ratelimit.h"
#include "server/accounting/turns.h"
#include "server/wire/connections.h"
#include "server/other_base.h"
#include "server/console/pulse.h"
#include "server/console/status_stream.h"
#include "server/training/job_stream.h"

enum { TEXT_THREADS = 3, DISK_THREADS = UPLOADS_MAX + RUNNER_READING_MAX + 2, JOBS_WAITING_MAX = 256 };
/* Descriptors for files, blobs, lingering connections. */
enum { DESCRIPTORS_RESERVED = 256 + CONNECTIONS_SPARE, CONNECTIONS_FEW = 1024 };
enum { QUEUE_MAX = 1024, QUEUE_TENANT_MAX = 256, BROKEN_LOGGED_MAX = 100 };
#define MIB (UINT64_C(1) << 20)

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Cut off the last part of the path and give it; NULL where there is none. */
static const char *last_part(char *path)
{
    char *slash = strrchr(path, '/');
    if (!slash || !slash[1])
        return NULL;
    *slash = '\0';
    return slash + 1;
}

/* A snapshot in a cache of Hugging Face, models--OWNER--NAME/snapshots/COMMIT, is called NAME; otherwise
 * NULL. */
static const char *snapshot_name(char *path)
{
    last_part(path);
    const char *snapshots = last_part(path), *models = snapshots ? last_part(path) : NULL, *name = NULL;
    if (!models || strcmp(snapshots, "snapshots") != 0 || strncmp(models, "models--", 8) != 0)
        return NULL;
    for (const char *dashes = models; (dashes = strstr(dashes, "--")); dashes += 2)
        name = dashes + 2;
    return *name ? name : NULL;
}

/* The directory's name; of a directory called "base" its parent's, which says more. */
static const char *directory_name(char *path)
{
    const char *name = last_part(path), *parent = name && strcmp(name, "base") == 0 ? last_part(path) : NULL;
    return parent ? parent : name ? name : "model";
}

static void name_model(struct server *s)
{
    char path[PATH_MAX], copy[PATH_MAX];
    if (!realpath(s->config.model, path))
        snprintf(path, sizeof path, "%s", s->config.model);
    snprintf(copy, sizeof copy, "%s", path);
    const char *name = s->config.model_name;
    if (!name && !(name = snapshot_name(copy)))
        name = directory_name(path);
    snprintf(s->model_name, sizeof s->model_name, "%.100s", name);
}

static int date_model(struct server *s, struct err *e)
{
    struct stat status;
    char *path = file_join(s->config.model, "config.json");
    if (!path)
        return err_memory(e);
    int failed = stat(path, &status) != 0 && err_errno(e, "cannot look at %s", path) != 0;
    free(path);
    if (failed)
        return -1;
    s->model_created_s = status.st_mtime;
    return 0;
}

/* At most once a second: a small model says nothing. */
static void log_progress(void *arg, const char *what, double share)
{
    double *logged_ms = arg, now = clock_ms();
    if (now - *logged_ms < 1000)
        return;
    *logged_ms = now;
    log_message("info", "%s the weights: %.0f %%", what, 100 * share);
}

int server_open_model(struct server *s, struct err *e)
{
    double logged_ms = clock_ms();
    struct model_options options = {.precision = s->config.precision,
                                    .kv_int8 = s->config.kv_int8,
                                    .context = s->config.context,
                                    .no_generation = s->config.no_generation,
                                    .threads = s->config.threads,
                                    .packed_cache = s->config.packed_cache,
                                    .progress = log_progress,
                                    .progress_arg = &logged_ms};
    name_model(s);
    if (model_open(&s->model, s->config.model, &options, e) != 0 || date_model(s, e) != 0)
        return -1;
    s->info = model_info(s->model);
    if (s->info->numeric)
        return 0;
    if (tokenizer_open(&s->tokenizer, s->config.model, s->config.tokenizer, e) != 0 ||
        chat_open(&s->chat, s->config.model, e) != 0 ||
        grammars_new(&s->grammars, s->tokenizer, s->info->vocab_size + DELTA_TOKENS_MAX, s->info->eos,
                     (size_t)s->info->eos_count, e) != 0)
        return -1;
    if (pooling_read(&s->pooling, s->config.model, s->config.pooling, e) != 0)
        return -1;
    if (s->pooling.problem[0])
        log_message("info", "no vectors: %s", s->pooling.problem);
    if (chat_problem(s->chat))
        log_message("info", "no chats: %s", chat_problem(s->chat));
    if (tokenizer_disputed(s->tokenizer) && s->config.tokenizer == TOKENIZER_OF_FILE)
        log_message("warning",
                    "tokens are those of tokenizer.json; transformers 5 makes others for the class that "
                    "tokenizer_config.json names: adapters trained with it need --tokenizer class");
    if (tokenizer_vocab_size(s->tokenizer) > s->info->vocab_size)
        log_message("warning", "the tokenizer has ids up to %d, the model up to %d",
                    tokenizer_vocab_size(s->tokenizer) - 1, s->info->vocab_size - 1);
    return 0;
}

/* A quarter of the free memory each at most; no more keys and values than all sequences can use. */
void server_size_memory(struct server *s)
{
    uint64_t share = memory_available() / 4;
    const struct model_info *m = s->info;
    if (!s->config.kv_bytes) {
        uint64_t pages = ((uint64_t)m->context_length + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS;
        uint64_t all = pages * kvcache_page_bytes(&m->kv) * (uint64_t)s->config.max_batch;
        s->config.kv_bytes = m->numeric ? MIB : clamp(all, MIB, clamp(share, 16 * MIB, UINT64_MAX));
    }
    if (!s->config.adapter_bytes)
        s->config.adapter_bytes = clamp(share, 64 * MIB, 4096 * MIB);
    if (!s->config.training_bytes && !s->config.no_training)
        s->config.training_bytes = clamp(share, 64 * MIB, 1024 * MIB);
}

/* What cannot be served, by name; it comes back when the same files are uploaded again. */
static void log_broken(struct registry *r)
{
    const struct version *broken[BROKEN_LOGGED_MAX];
    size_t count = registry_broken(r, BROKEN_LOGGED_MAX, broken);
    for (size_t i = 0; i < count; i++) {
        log_message("warning",
                    "tenant %s, adapter %s, version sha256:%.12s: its files are missing or damaged",
                    broken[i]->tenant_id, broken[i]->name, broken[i]->digest);
        version_unref(broken[i]);
    }
}

int server_read_admin_keys(struct server *s, struct err *e)
{
    bool created = false;
    char *path =
        s->config.admin_key_file ? strdup(s->config.admin_key_file) : file_join(s->config.data, "admin.key");
    int result = path ? registry_admin_keys(s->registry, path, &created, e) : err_memory(e);
    if (result == 0 && created)
        log_message("info", "a new admin key was written to %s", path);
    free(path);
    return result;
}

static int open_registry(struct server *s, struct err *e)
{
    struct registry_stats stats;
    if (registry_open(&s->registry, s->config.data, e) != 0)
        return -1;
    int result = server_read_admin_keys(s, e);
    registry_stats(s->registry, &stats);
    log_message("info", "data in %s: %zu tenants, %zu adapters, %zu versions, %zu of them broken",
                s->config.data, stats.tenants, stats.adapters, stats.versions, stats.broken);
    if (stats.swept_blobs)
        log_message("info", "%zu files that no version needs were moved to %s/quarantine", stats.swept_blobs,
                    s->config.data);
    if (stats.recovered_blobs)
        log_message("info", "%zu files came back from %s/quarantine", stats.recovered_blobs, s->config.data);
    log_broken(s->registry);
    return result;
}

/* What is pinned is read into memory while the daemon begins to serve. */
static void prefetch_pinned(struct server *s)
{
    const struct version *pinned[VERSIONS_PINNED_MAX];
    size_t count = registry_pinned_list(s->registry, pinned);
    for (size_t i = 0; i < count; i++) {
        cache_prefetch(s->cache, pinned[i]);
        version_unref(pinned[i]);
    }
    if (count)
        log_message("info", "%zu pinned versions are being loaded", count);
}

static int open_engine(struct server *s, struct err *e)
{
    if (!s->config.no_training && gate_new(&s->gate, e) != 0)
        return -1;
    s->engine_options = (struct engine_options){.threads = s->config.threads,
                                                .kv_bytes = s->config.kv_bytes,
                                                .sequences_max = s->config.max_batch,
                                                .queue_max = QUEUE_MAX,
                                                .queue_tenant_max = QUEUE_TENANT_MAX,
                                                .gate = s->gate,
                                                .training_share = s->config.training_share,
                                                .drafts = !s->config.no_speculation};
    return engine_new(&s->engine, s->model, &s->engine_options, e);
}

/* As many as the descriptors that the process may have allow, less what files and closing connections
 * take. */
static int allowed_connections(int wanted)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return CONNECTIONS_FEW;
    if (limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
        getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= (rlim_t)wanted + DESCRIPTORS_RESERVED)
        return wanted;
    return limit.rlim_cur > 2 * DESCRIPTORS_RESERVED ? (int)limit.rlim_cur - DESCRIPTORS_RESERVED
                                                     : (int)limit.rlim_cur / 2;
}

static int open_connections(struct server *s, struct err *e)
{
    int wanted = s->config.connections, share = s->config.connections_address;
    s->connection_limit = allowed_connections(wanted);
    if (s->connection_limit < wanted)
        log_message("warning", "%d connections instead of %d: the process may not have more descriptors",
                    s->connection_limit, wanted);
    struct connections_options options = {.max = s->connection_limit,
                                          .address_max = share < 0 ? s->connection_limit / 4 : share};
    return connections_new(&s->connections, &options, e);
}

static int open_turns(struct server *s, struct err *e)
{
    struct turns_options options = {.name = "text",
                                    .threads = TEXT_THREADS,
                                    .waiting_max = QUEUE_MAX,
                                    .waiting_tenant_max = QUEUE_TENANT_MAX};
    return turns_new(&s->turns, &options, e);
}

static int write_usage(void *registry, const struct usage_row *rows, size_t count, struct err *e)
{
    return registry_usage_add(registry, rows, count, e);
}

/* ---- training ---- */

static void log_training(void *arg, const char *level, const char *line)
{
    (void)arg;
    log_message(level, "%s", line);
}

static void job_changed(void *arg, int64_t job)
{
    struct server *s = arg;
    job_streams_notify(s->job_streams, job);
}

static int open_training(struct server *s, struct err *e)
{
    char base[SHA256_HEX + 1];
    if (job_streams_new(&s->job_streams, e) != 0)
        return -1;
    if (s->config.no_training)
        return 0;
    char *directory = file_join(s->config.data, "training");
    if (!directory)
        return err_memory(e);
    hex_encode(s->info->fingerprint, SHA256_BYTES, base);
    const struct runner_options options = {.registry = s->registry,
                                           .cache = s->cache,
                                           .engine = s->engine,
                                           .model = s->model,
                                           .tokenizer = s->tokenizer,
                                           .chat = s->chat,
                                           .gate = s->gate,
                                           .directory = directory,
                                           .base = base,
                                           .memory = (size_t)s->config.training_bytes,
                                           .turn_us = (uint64_t)s->config.training_turn_s * 1000000,
                                           .threads = s->config.threads,
                                           .log = log_training,
                                           .changed = job_changed,
                                           .arg = s};
    int result = runner_new(&s->runner, &options, e);
    free(directory);
    return result;
}

static void tell_watchers(struct server *s)
{
    status_streams_notify(s->status_streams);
}

int server_open(struct server *s, struct err *e)
{
    upload_slots_init(&s->uploads);
    if (open_registry(s, e) != 0 || open_engine(s, e) != 0 || other_base_settle(s, e) != 0)
        return -1;
    s->loader = (struct version_loader){s->registry, s->model};
    s->settings_base = (struct settings_base){s->model, s->tokenizer, s->chat, s->config.no_generation};
    if (version_loader_cache(&s->cache, &s->loader, s->config.adapter_bytes, e) != 0 ||
        settings_cache_new(&s->settings, s->registry, &s->settings_base, e) != 0 || open_turns(s, e) != 0 ||
        jobs_new(&s->disk_jobs, "disk", DISK_THREADS, JOBS_WAITING_MAX, e) != 0)
        return -1;
    if (ratelimit_new(&s->ratelimit, e) != 0 || usage_new(&s->usage, write_usage, s->registry, e) != 0)
        return -1;
    if (activity_new(&s->activity, e) != 0 || open_connections(s, e) != 0 || open_training(s, e) != 0)
        return -1;
    if (status_streams_new(&s->status_streams, e) != 0 || pulse_new(&s->pulse, s, tell_watchers, e) != 0)
        return -1;
    prefetch_pinned(s);
    return 0;
}

/* Those who use something go before it: jobs and loads use everything, the engine uses deltas and the
 * model. */
void server_close(struct server *s)
{
    struct err e;
    pulse_free(s->pulse);
    status_streams_free(s->status_streams);
    turns_free(s->turns);
    jobs_free(s->disk_jobs);
    runner_free(s->runner);
    job_streams_free(s->job_streams);
    if (s->cache)
        cache_free(s->cache);
    if (s->engine)
        engine_free(s->engine);
    connections_free(s->connections);
    ratelimit_free(s->ratelimit);
    activity_free(s->activity);
    if (usage_free(s->usage, &e) != 0)
        log_message("error", "the usage of the last seconds is lost: %s", e.message);
    registry_close(s->registry);
    if (s->tokenizer)
        tokenizer_close(s->tokenizer);
    settings_cache_free(s->settings);
    chat_close(s->chat);
    grammars_free(s->grammars);
    if (s->model)
        model_close(s->model);
    gate_free(s->gate);
    upload_slots_fini(&s->uploads);
    config_fini(&s->config);
}
