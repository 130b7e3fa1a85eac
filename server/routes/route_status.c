/* Is it alive, is it ready, what is it, how is it. Says nothing of single tenants. */
#include "core/base/sha256.h"
#include "server/routes/handlers.h"
#include "server/metrics/metrics.h"
#include "server/routes/openapi.h"
#include "server/http/reply.h"

/* Where things are; for who came with a browser, as a page. */
static const char page[] =
    "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>adapterd</title></head><body>\n"
    "<h1>adapterd " ADAPTERD_VERSION "</h1>\n"
    "<p>One base model and many tenants' LoRA adapters. Requests carry a key: "
    "<code>Authorization: Bearer KEY</code>.</p>\n<ul>\n"
    "<li><a href=\"/openapi.json\">/openapi.json</a>: every address, for people and generators</li>\n"
    "<li>OpenAI's clients: <code>base_url</code> is this address with <code>/v1</code> behind it; "
    "<code>GET /v1/models</code> lists what they may name</li>\n"
    "<li><a href=\"/console\">/console</a>: what there is to see and to do, for people</li>\n"
    "<li><code>POST /infer</code>: the daemon's own form; <code>POST /adapters</code>: an upload</li>\n"
    "<li><a href=\"/healthz\">/healthz</a>, <a href=\"/readyz\">/readyz</a>, "
    "<a href=\"/version\">/version</a>, <a href=\"/metrics\">/metrics</a>: how it is</li>\n"
    "</ul>\n</body></html>\n";

void route_status_index(struct request *r)
{
    if (r->wants_page)
        reply_document(r, "text/html; charset=utf-8", page, sizeof page - 1);
    else
        reply_json(r, 200,
                   json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "name", "adapterd", "version",
                             ADAPTERD_VERSION, "description", "/openapi.json", "openai_base_url", "/v1",
                             "infer", "/infer", "adapters", "/adapters", "ready", "/readyz", "metrics",
                             "/metrics"));
}

void route_status_health(struct request *r)
{
    reply_json(r, 200, json_pack("{s:s}", "status", "ok"));
}

void route_status_ready(struct request *r)
{
    bool draining = atomic_load(&r->server->draining);
    bool replaced = registry_replaced(r->server->registry);
    const char *status = draining ? "shutting_down" : replaced ? "registry_replaced" : "ready";
    r->reply.retry_s = draining;
    reply_json(r, draining || replaced ? 503 : 200, json_pack("{s:s}", "status", status));
}

void route_status_version(struct request *r)
{
    const struct server *s = r->server;
    struct engine_stats stats;
    char fingerprint[SHA256_HEX + 1];
    hex_encode(s->info->fingerprint, SHA256_BYTES, fingerprint);
    engine_stats(s->engine, &stats);
    reply_json(r, 200,
               json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:s, s:I, s:I}", "version", ADAPTERD_VERSION,
                         "model", s->model_name, "family", s->info->family, "precision",
                         precision_name(s->info->precision), "context_length",
                         s->info->numeric ? 0 : stats.context_length, "vocab_size", s->info->vocab_size,
                         "fingerprint", fingerprint, "parameters", (json_int_t)s->info->parameters,
                         "weight_bytes", (json_int_t)s->info->weight_bytes));
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
