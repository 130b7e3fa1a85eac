#include "server/metrics/metrics.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "adapters/jobs/running/runner.h"
#include "server/accounting/turns.h"
#include "server/base/log.h"
#include "server/base/process.h"
#include "server/http/reply.h"
#include "server/metrics/metrics_text.h"
#include "server/metrics/metrics_vllm.h"
#include "server/wire/connections.h"

/* All that has no labels, as of one moment. */
struct look {
    struct engine_stats engine;
    struct cache_stats cache;
    struct registry_stats registry;
    struct process process;
    struct turns_stats turns;
    struct runner_stats training; /* zeros where nobody trains */
    const struct histogram *queue_us, *first_token_us, *next_token_us;
    const struct histogram *step_us, *step_tokens, *step_sequences, *load_us;
    uint64_t usage[USAGE_KINDS], started_us;
    uint64_t connections_total, crowded_out, log_dropped, upload_bytes, combined_bytes;
    int active, uploads, uploads_max, connections, connections_max, running_max, waiting_max, kv_used;
    bool draining, storage_failed;
};

struct metric {
    const char *name;
    enum metrics_type type;
    const char *help;
    /* Where it is: a number or a pointer to a histogram in struct look ... */
    size_t offset, size;
    const struct histogram_scale *scale;
    bool seconds; /* kept as microseconds */
    /* ... or how it is printed, where it has labels. */
    int (*print)(const struct metric *m, struct server *s, struct buf *out);
};

/* ---- numbers ---- */

static uint64_t read_number(const struct look *l, const struct metric *m)
{
    uint64_t wide;
    int number;
    bool flag;
    const char *at = (const char *)l + m->offset;
    if (m->size == sizeof flag)
        return memcpy(&flag, at, sizeof flag), flag;
    if (m->size == sizeof number)
        return memcpy(&number, at, sizeof number), number > 0 ? (uint64_t)number : 0;
    return memcpy(&wide, at, sizeof wide), wide;
}

/* ---- with labels ---- */

static int print_build(const struct metric *m, struct server *s, struct buf *out)
{
    return buf_printf(out, "%s{version=\"%s\",precision=\"%s\",isa=\"%s\"} 1\n", m->name, ADAPTERD_VERSION,
                      precision_name(s->info->precision), process_isa());
}

/* A series appears with its first request. */
static int print_answers(const struct metric *m, struct server *s, struct buf *out)
{
    struct counters_class c;
    for (int i = 0; i < COUNTERS_CLASSES; i++)
        for (int k = 0; counters_class(&s->counters, i, &c) && k < COUNTERS_STATUSES; k++) {
            uint64_t count = metrics_text_read(&s->counters.answers[i][k]);
            if (count &&
                buf_printf(out, "%s{method=\"%s\",route=\"%.*s\",code=\"%s\"} %" PRIu64 "\n", m->name,
                           c.method, c.prefix_length, c.prefix, counters_status(k), count) != 0)
                return -1;
        }
    return 0;
}

static int print_durations(const struct metric *m, struct server *s, struct buf *out)
{
    char labels[160];
    struct counters_class c;
    for (int i = 0; i < COUNTERS_CLASSES; i++) {
        const struct histogram *h = &s->counters.request_us[i];
        if (!counters_class(&s->counters, i, &c) || metrics_text_count(h) == 0)
            continue;
        snprintf(labels, sizeof labels, "method=\"%s\",route=\"%.*s\",", c.method, c.prefix_length, c.prefix);
        if (metrics_text_histogram(out, m->name, labels, h, m->scale, m->seconds) != 0)
            return -1;
    }
    return 0;
}

static int print_shed(const struct metric *m, struct server *s, struct buf *out)
{
    int status, failed = 0;
    const char *code;
    for (size_t i = 0; !failed && (code = reply_code(i, &status)); i++)
        if (status == 429 || status == 503)
            failed = buf_printf(out, "%s{code=\"%d\",reason=\"%s\"} %" PRIu64 "\n", m->name, status, code,
                                metrics_text_read(&s->counters.errors[i]));
    return failed;
}

static int print_runs(const struct metric *m, struct server *s, struct buf *out)
{
    static const char *const ends[] = {"stop", "length", "cancelled", "failed"};
    int failed = 0;
    for (int i = ENGINE_STOP; i <= ENGINE_FAILED && !failed; i++)
        failed = buf_printf(out, "%s{finish=\"%s\"} %" PRIu64 "\n", m->name, ends[i],
                            metrics_text_read(&s->counters.runs[i]));
    return failed;
}

/* ---- the table ---- */

#define NUMBER(field) .offset = offsetof(struct look, field), .size = sizeof(((struct look *)0)->field)
#define SECONDS(field) NUMBER(field), .seconds = true
#define TIMES(field) NUMBER(field), .scale = &histogram_times, .seconds = true
#define SIZES(field) NUMBER(field), .scale = &histogram_counts
#define LABELLED(function) .print = function

static const struct metric metrics[] = {
    {"adapterd_build_info", METRICS_GAUGE, "Always 1; the labels say what runs.", LABELLED(print_build)},
    {"adapterd_draining", METRICS_GAUGE, "1 while the daemon stops and takes no new requests.",
     NUMBER(draining)},
    {"adapterd_storage_failed", METRICS_GAUGE,
     "1 once the disk reported an error; the daemon is about to end.", NUMBER(storage_failed)},

    {"adapterd_http_requests_total", METRICS_COUNTER,
     "Requests that are over; code 0: the client left first.", LABELLED(print_answers)},
    {"adapterd_http_request_duration_seconds", METRICS_HISTOGRAM,
     "From the request line to the end of the answer.", LABELLED(print_durations), .scale = &histogram_times,
     .seconds = true},
    {"adapterd_http_requests_active", METRICS_GAUGE,
     "Requests between their headers and the end of their answer.", NUMBER(active)},
    {"adapterd_shed_requests_total", METRICS_COUNTER, "Requests refused with 429 or 503, by error code.",
     LABELLED(print_shed)},
    {"adapterd_connections", METRICS_GAUGE, "Open connections.", NUMBER(connections)},
    {"adapterd_connections_max", METRICS_GAUGE, "Connections that may be open.", NUMBER(connections_max)},
    {"adapterd_connections_total", METRICS_COUNTER, "Connections accepted.", NUMBER(connections_total)},
    {"adapterd_connections_crowded_out_total", METRICS_COUNTER,
     "Idle connections closed because there were too many.", NUMBER(crowded_out)},
    {"adapterd_log_lines_dropped_total", METRICS_COUNTER, "Log lines that nobody read in time.",
     NUMBER(log_dropped)},
    {"adapterd_text_waiting", METRICS_GAUGE,
     "Requests that wait for their tenant's turn to be parsed and tokenized.", NUMBER(turns.waiting)},
    {"adapterd_text_waiting_max", METRICS_GAUGE, "Of these, as many as may wait.", NUMBER(turns.waiting_max)},
    {"adapterd_uploads_active", METRICS_GAUGE, "Uploads under way.", NUMBER(uploads)},
    {"adapterd_uploads_max", METRICS_GAUGE, "Uploads that may be under way.", NUMBER(uploads_max)},
    {"adapterd_upload_bytes_total", METRICS_COUNTER, "Bytes of upload forms received.", NUMBER(upload_bytes)},

    {"adapterd_inference_requests_total", METRICS_COUNTER,
     "Requests to run the model whose tenant was known, as GET /usage counts them.",
     NUMBER(usage[USAGE_REQUESTS])},
    {"adapterd_inference_errors_total", METRICS_COUNTER, "Of these, refused or failed.",
     NUMBER(usage[USAGE_ERRORS])},
    {"adapterd_prompt_tokens_total", METRICS_COUNTER,
     "Prompt tokens of ended runs, cached ones too, as GET /usage counts them.",
     NUMBER(usage[USAGE_PROMPT_TOKENS])},
    {"adapterd_prompt_tokens_cached_total", METRICS_COUNTER, "Of these, found in the prefix cache.",
     NUMBER(usage[USAGE_CACHED_TOKENS])},
    {"adapterd_completion_tokens_total", METRICS_COUNTER, "Tokens answered by ended runs.",
     NUMBER(usage[USAGE_COMPLETION_TOKENS])},
    {"adapterd_runs_total", METRICS_COUNTER, "Runs of the model, by how they ended.", LABELLED(print_runs)},
    {"adapterd_queue_seconds", METRICS_HISTOGRAM,
     "Runs: from being queued, adapter loaded, to the first step.", TIMES(queue_us)},
    {"adapterd_time_to_first_token_seconds", METRICS_HISTOGRAM,
     "Runs: from the request line to the first token.", TIMES(first_token_us)},
    {"adapterd_inter_token_seconds", METRICS_HISTOGRAM, "Runs: from one token to the next.",
     TIMES(next_token_us)},

    {"adapterd_sequences_running", METRICS_GAUGE, "Sequences in the batch.", NUMBER(engine.running)},
    {"adapterd_sequences_running_max", METRICS_GAUGE, "Sequences that may be in it.", NUMBER(running_max)},
    {"adapterd_sequences_waiting", METRICS_GAUGE, "Sequences queued for a place or for KV pages.",
     NUMBER(engine.waiting)},
    {"adapterd_sequences_waiting_max", METRICS_GAUGE, "Sequences that may be queued.", NUMBER(waiting_max)},
    {"adapterd_draft_tokens_total", METRICS_COUNTER, "Tokens guessed from the text itself.",
     NUMBER(engine.tokens_drafted)},
    {"adapterd_draft_tokens_accepted_total", METRICS_COUNTER, "Guessed tokens that were right.",
     NUMBER(engine.tokens_draft_accepted)},
    {"adapterd_preemptions_total", METRICS_COUNTER, "Sequences that gave their place to another tenant's.",
     NUMBER(engine.preemptions)},
    {"adapterd_step_seconds", METRICS_HISTOGRAM, "Steps: the forward pass.", TIMES(step_us)},
    {"adapterd_step_tokens", METRICS_HISTOGRAM, "Steps: tokens in the batch.", SIZES(step_tokens)},
    {"adapterd_step_sequences", METRICS_HISTOGRAM, "Steps: sequences in the batch.", SIZES(step_sequences)},
    {"adapterd_prefill_tokens_total", METRICS_COUNTER, "Prompt tokens computed, also for proofs of uploads.",
     NUMBER(engine.tokens_prefill)},
    {"adapterd_decode_tokens_total", METRICS_COUNTER,
     "Tokens computed behind prompts, one a step and sequence.", NUMBER(engine.tokens_decode)},
    {"adapterd_kv_pages", METRICS_GAUGE, "KV pages in all.", NUMBER(engine.kv_pages)},
    {"adapterd_kv_pages_used", METRICS_GAUGE, "KV pages that hold something, also for the prefix cache.",
     NUMBER(kv_used)},
    {"adapterd_kv_pages_cached", METRICS_GAUGE,
     "Of these, in the prefix cache, which gives up what no sequence uses.", NUMBER(engine.kv_pages_cached)},

    {"adapterd_adapter_cache_bytes", METRICS_GAUGE, "Loaded adapters.", NUMBER(cache.bytes)},
    {"adapterd_adapter_cache_budget_bytes", METRICS_GAUGE, "What they may take.", NUMBER(cache.budget_bytes)},
    {"adapterd_adapter_cache_resident", METRICS_GAUGE, "Loaded versions.", NUMBER(cache.resident)},
    {"adapterd_adapter_cache_hits_total", METRICS_COUNTER, "Adapters asked for that were loaded.",
     NUMBER(cache.hits)},
    {"adapterd_adapter_cache_misses_total", METRICS_COUNTER, "Adapters asked for that were not.",
     NUMBER(cache.misses)},
    {"adapterd_adapter_cache_evictions_total", METRICS_COUNTER, "Versions dropped for want of room.",
     NUMBER(cache.evictions)},
    {"adapterd_adapter_combined_bytes", METRICS_GAUGE, "Combinations of adapters that running requests made.",
     NUMBER(combined_bytes)},
    {"adapterd_adapter_loading", METRICS_GAUGE, "Versions being loaded, or waiting for it.",
     NUMBER(cache.loading)},
    {"adapterd_adapter_load_seconds", METRICS_HISTOGRAM,
     "Loads: reading, checking, compiling; failed ones too.", TIMES(load_us)},
    {"adapterd_adapter_load_failures_total", METRICS_COUNTER, "Loads that failed.",
     NUMBER(cache.load_failures)},

    {"adapterd_training_jobs_running", METRICS_GAUGE, "Training jobs that are computed.",
     NUMBER(training.running)},
    {"adapterd_training_jobs_waiting", METRICS_GAUGE, "Training jobs that are read, or wait for memory.",
     NUMBER(training.waiting)},
    {"adapterd_training_jobs_succeeded_total", METRICS_COUNTER, "Training jobs that made a version.",
     NUMBER(training.succeeded)},
    {"adapterd_training_jobs_failed_total", METRICS_COUNTER, "Training jobs that failed.",
     NUMBER(training.failed)},
    {"adapterd_training_steps_total", METRICS_COUNTER, "Steps of the optimizers.", NUMBER(training.steps)},
    {"adapterd_training_tokens_total", METRICS_COUNTER, "Tokens of these steps.", NUMBER(training.tokens)},
    {"adapterd_training_passes_total", METRICS_COUNTER,
     "Passes over the base, each shared by the jobs that run.", NUMBER(training.passes)},
    {"adapterd_training_pass_seconds_total", METRICS_COUNTER, "Time in them, also waiting for requests.",
     SECONDS(training.busy_us)},
    {"adapterd_training_checkpoints_total", METRICS_COUNTER, "Checkpoints written.",
     NUMBER(training.checkpoints)},
    {"adapterd_training_memory_bytes", METRICS_GAUGE, "Memory that training takes.", NUMBER(training.bytes)},
    {"adapterd_training_memory_max_bytes", METRICS_GAUGE, "What it may take; 0: nobody trains.",
     NUMBER(training.memory)},

    {"adapterd_tenants", METRICS_GAUGE, "Tenants.", NUMBER(registry.tenants)},
    {"adapterd_keys", METRICS_GAUGE, "Keys of tenants.", NUMBER(registry.keys)},
    {"adapterd_adapters", METRICS_GAUGE, "Adapters of all tenants.", NUMBER(registry.adapters)},
    {"adapterd_adapters_pinned", METRICS_GAUGE, "Of these, pinned.", NUMBER(registry.pinned)},
    {"adapterd_versions", METRICS_GAUGE, "Versions of all adapters.", NUMBER(registry.versions)},
    {"adapterd_versions_broken", METRICS_GAUGE, "Of these, with missing or damaged files.",
     NUMBER(registry.broken)},
    {"adapterd_versions_other_base", METRICS_GAUGE, "Of these, proved on another base than this one.",
     NUMBER(registry.other_base)},

    {"process_cpu_seconds_total", METRICS_COUNTER, "Processor time, user and system.",
     SECONDS(process.cpu_us)},
    {"process_resident_memory_bytes", METRICS_GAUGE, "Memory of the process.",
     NUMBER(process.resident_bytes)},
    {"process_open_fds", METRICS_GAUGE, "Open descriptors.", NUMBER(process.files)},
    {"process_max_fds", METRICS_GAUGE, "Descriptors that may be open.", NUMBER(process.files_max)},
    {"process_start_time_seconds", METRICS_GAUGE, "When it was started, since 1970.", SECONDS(started_us)},
};

static int print_metric(const struct metric *m, struct server *s, const struct look *l, struct buf *out)
{
    if (metrics_text_head(out, m->name, m->type, m->help) != 0)
        return -1;
    if (m->print)
        return m->print(m, s, out);
    if (m->scale)
        return metrics_text_histogram(out, m->name, "",
                                      *(const struct histogram *const *)((const char *)l + m->offset),
                                      m->scale, m->seconds);
    return metrics_text_number(out, m->name, "", read_number(l, m), m->seconds);
}

static void look(struct server *s, struct look *l)
{
    const struct counters *c = &s->counters;
    const struct engine_times *times = engine_times(s->engine);
    *l = (struct look){.queue_us = &c->queue_us,
                       .first_token_us = &c->first_token_us,
                       .next_token_us = &c->next_token_us,
                       .step_us = &times->step_us,
                       .step_tokens = &times->step_tokens,
                       .step_sequences = &times->step_sequences,
                       .load_us = cache_load_times(s->cache),
                       .started_us = (uint64_t)s->started_ms * 1000,
                       .connections_total = metrics_text_read(&c->connections),
                       .crowded_out = connections_crowded_out(s->connections),
                       .log_dropped = log_dropped(),
                       .upload_bytes = metrics_text_read(&c->upload_bytes),
                       .combined_bytes = atomic_load(&s->combined_bytes),
                       .active = atomic_load(&s->active),
                       .uploads = upload_slots_used(&s->uploads),
                       .uploads_max = UPLOADS_MAX,
                       .connections = atomic_load(&s->connection_count),
                       .connections_max = s->connection_limit,
                       .running_max = s->engine_options.sequences_max,
                       .waiting_max = s->engine_options.queue_max,
                       .draining = atomic_load(&s->draining),
                       .storage_failed = registry_failed(s->registry)};
    for (int i = 0; i < USAGE_KINDS; i++)
        l->usage[i] = metrics_text_read(&c->usage[i]);
    engine_stats(s->engine, &l->engine);
    l->kv_used = l->engine.kv_pages - l->engine.kv_pages_free;
    cache_stats(s->cache, &l->cache);
    registry_stats(s->registry, &l->registry);
    process_look(&l->process);
    turns_look(s->turns, &l->turns);
    if (s->runner)
        runner_stats(s->runner, &l->training);
}

int metrics_print(struct server *s, struct buf *out)
{
    struct look l;
    look(s, &l);
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        if (print_metric(&metrics[i], s, &l, out) != 0)
            return -1;
    return s->config.metrics_vllm ? metrics_vllm_print(s, out) : 0;
}
