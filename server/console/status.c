#include "server/console/status.h"

#include "adapters/jobs/running/runner.h"
#include "core/system/clock.h"
#include "server/accounting/activity.h"
#include "server/console/pulse.h"
#include "server/http/request.h"

enum { RUNNING_ROWS_MAX = 100 };

/* Numbers for people: three places behind the point. null below 0. */
static json_t *number(double value)
{
    return value < 0 ? json_null() : json_real((double)(int64_t)(value * 1000 + 0.5) / 1000);
}

static json_t *latency(double p50, double p99, uint64_t count)
{
    return json_pack("{s:o, s:o, s:I}", "p50", number(p50), "p99", number(p99), "count", (json_int_t)count);
}

static json_t *caller_json(const struct request *r)
{
    const struct caller *c = &r->caller;
    return json_pack("{s:s, s:s?, s:s}", "role", c->role == ROLE_ADMIN ? "admin" : "tenant", "tenant",
                     c->role == ROLE_TENANT ? c->tenant_id : NULL, "key", c->kid[0] ? c->kid : "no-auth");
}

static json_t *base_json(const struct server *s)
{
    struct engine_stats stats;
    engine_stats(s->engine, &stats);
    return json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:I}", "model", s->model_name, "family", s->info->family,
                     "precision", precision_name(s->info->precision), "numeric", s->info->numeric,
                     "context_length", s->info->numeric ? 0 : stats.context_length, "vocab_size",
                     s->info->vocab_size, "parameters", (json_int_t)s->info->parameters);
}

static json_t *running_row(const struct activity_row *a)
{
    const struct activity_name *n = &a->name;
    json_t *version = n->version[0] ? json_sprintf("sha256:%s", n->version) : json_null();
    return json_pack("{s:s, s:s?, s:o, s:i, s:I}", "tenant", n->tenant_id, "adapter",
                     n->adapter[0] ? n->adapter : NULL, "version", version, "requests", a->running, "tokens",
                     (json_int_t)a->tokens);
}

static json_t *running_json(struct server *s, uint32_t tenant, size_t *more)
{
    struct activity_row rows[RUNNING_ROWS_MAX];
    size_t count = activity_running(s->activity, tenant, rows, RUNNING_ROWS_MAX, more);
    json_t *list = json_array();
    for (size_t i = 0; list && i < count; i++)
        if (json_array_append_new(list, running_row(&rows[i])) != 0) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

/* ---- of the whole daemon ---- */

static json_t *memory_json(struct server *s, const struct engine_stats *engine, uint64_t resident)
{
    struct cache_stats cache;
    struct runner_stats training = {0};
    uint64_t page = s->info->numeric ? 0 : kvcache_page_bytes(&s->info->kv);
    uint64_t weights = s->info->packed_bytes ? s->info->packed_bytes : s->info->weight_bytes;
    cache_stats(s->cache, &cache);
    if (s->runner)
        runner_stats(s->runner, &training);
    uint64_t used = (uint64_t)(engine->kv_pages - engine->kv_pages_free) * page;
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "resident", (json_int_t)resident,
                     "weights", (json_int_t)weights, "kv_used", (json_int_t)used, "kv_cached",
                     (json_int_t)((uint64_t)engine->kv_pages_cached * page), "kv_max",
                     (json_int_t)((uint64_t)engine->kv_pages * page), "adapters", (json_int_t)cache.bytes,
                     "adapters_max", (json_int_t)cache.budget_bytes, "combined",
                     (json_int_t)atomic_load(&s->combined_bytes), "training", (json_int_t)training.bytes,
                     "training_max", (json_int_t)training.memory);
}

static json_t *daemon_json(struct server *s)
{
    return json_pack("{s:s, s:I, s:b, s:b, s:b, s:b, s:i}", "version", ADAPTERD_VERSION, "uptime_s",
                     (json_int_t)((clock_unix_ms() - s->started_ms) / 1000), "draining",
                     atomic_load(&s->draining), "storage_failed", registry_failed(s->registry),
                     "registry_replaced", registry_replaced(s->registry), "trains", s->runner != NULL,
                     "connections", atomic_load(&s->connection_count));
}

static json_t *batch_json(struct server *s, const struct engine_stats *engine)
{
    return json_pack("{s:i, s:i, s:i, s:i}", "running", engine->running, "running_max",
                     s->engine_options.sequences_max, "waiting", engine->waiting, "waiting_max",
                     s->engine_options.queue_max);
}

static json_t *stored_json(struct server *s)
{
    struct registry_stats stored;
    struct runner_stats training = {0};
    registry_stats(s->registry, &stored);
    if (s->runner)
        runner_stats(s->runner, &training);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "tenants", (json_int_t)stored.tenants, "adapters",
                     (json_int_t)stored.adapters, "versions", (json_int_t)stored.versions, "broken",
                     (json_int_t)stored.broken, "other_base", (json_int_t)stored.other_base, "jobs_running",
                     (json_int_t)training.running, "jobs_waiting", (json_int_t)training.waiting);
}

static json_t *whole_json(struct request *r)
{
    struct server *s = r->server;
    struct engine_stats engine;
    struct pulse_now now;
    engine_stats(s->engine, &engine);
    pulse_look(s->pulse, &now);
    return json_pack("{s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o, s:o}, s:{s:o, s:o}}", "daemon", daemon_json(s),
                     "memory", memory_json(s, &engine, now.resident_bytes), "batch", batch_json(s, &engine),
                     "stored", stored_json(s), "rates", "decode_tokens_per_s", number(now.decode),
                     "prefill_tokens_per_s", number(now.prefill), "requests_per_s", number(now.requests),
                     "errors_per_s", number(now.errors), "latency_ms", "first_token",
                     latency(now.first_p50, now.first_p99, now.first_count), "between_tokens",
                     latency(now.next_p50, now.next_p99, now.next_count));
}

/* ---- of one tenant ---- */

static json_t *latency_of(const uint64_t counts[HISTOGRAM_BOUNDS_MAX + 1])
{
    uint64_t all = 0;
    for (int i = 0; i <= HISTOGRAM_BOUNDS_MAX; i++)
        all += counts[i];
    return latency(all ? histogram_quantile(counts, &histogram_times, 0.5) / 1000 : -1,
                   all ? histogram_quantile(counts, &histogram_times, 0.99) / 1000 : -1, all);
}

static json_t *own_json(struct request *r)
{
    struct activity_sums sums;
    activity_sum(r->server->activity, r->caller.tenant, &sums);
    double seconds = sums.seconds > 0 ? sums.seconds : 1;
    return json_pack("{s:{s:s, s:b}, s:{s:i}, s:{s:o, s:o, s:o}, s:{s:o, s:o}}", "daemon", "version",
                     ADAPTERD_VERSION, "trains", r->server->runner != NULL, "batch", "running", sums.running,
                     "rates", "decode_tokens_per_s", number((double)sums.tokens / seconds), "requests_per_s",
                     number((double)sums.requests / seconds), "errors_per_s",
                     number((double)sums.errors / seconds), "latency_ms", "first_token",
                     latency_of(sums.first_us), "between_tokens", latency_of(sums.next_us));
}

json_t *status_json(struct request *r)
{
    bool admin = r->caller.role == ROLE_ADMIN;
    size_t more = 0;
    json_t *body = admin ? whole_json(r) : own_json(r);
    json_t *running = running_json(r->server, admin ? 0 : r->caller.tenant, &more);
    json_t *rest = json_pack("{s:I, s:o, s:o, s:o, s:I}", "time", (json_int_t)(clock_unix_ms() / 1000),
                             "caller", caller_json(r), "base", base_json(r->server), "running", running,
                             "running_more", (json_int_t)more);
    if (!body || !rest || json_object_update(body, rest) != 0) {
        json_decref(body);
        body = NULL;
    }
    json_decref(rest);
    return body;
}
