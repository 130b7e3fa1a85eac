/* Is it alive, is it ready, what is it, how is it. Says nothing of single tenants. */
#include "core/base/sha256.h"
#include "server/routes/handlers.h"
#include "server/routes/metrics.h"
#include "server/routes/openapi.h"
#include "server/http/reply.h"

void route_status_health(struct request *r)
{
    reply_json(r, 200, json_pack("{s:s}", "status", "ok"));
}

void route_status_ready(struct request *r)
{
    bool draining = atomic_load(&r->server->draining);
    r->reply.retry_s = draining;
    reply_json(r, draining ? 503 : 200, json_pack("{s:s}", "status", draining ? "shutting_down" : "ready"));
}

void route_status_version(struct request *r)
{
    const struct server *s = r->server;
    struct engine_stats stats;
    char fingerprint[SHA256_HEX + 1];
    hex_encode(s->info->fingerprint, SHA256_BYTES, fingerprint);
    engine_stats(s->engine, &stats);
    reply_json(r, 200,
               json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s}", "version", ADAPTERD_VERSION, "model",
                         s->model_name, "family", s->info->family, "precision",
                         precision_name(s->info->precision), "context_length",
                         s->info->numeric ? 0 : stats.context_length, "vocab_size", s->info->vocab_size,
                         "fingerprint", fingerprint));
}

void route_status_metrics(struct request *r)
{
    struct buf body = {0};
    struct err e;
    if (metrics_print(r->server, &body) == 0) {
        reply_text(r, METRICS_CONTENT_TYPE, &body);
        return;
    }
    buf_fini(&body);
    err_memory(&e);
    reply_error(r, &e);
}

void route_status_openapi(struct request *r)
{
    reply_document(r, "application/json", openapi_json, openapi_json_length);
}
