#include "server/routes.h"

#include "server/base/counters.h"
#include "server/console/handlers.h"
#include "server/inference/inference.h"
#include "server/numbers/numbers.h"
#include "server/openai/openai.h"
#include "server/responses/responses.h"
#include "server/routes/handlers.h"
#include "server/routes/upload_form.h"
#include "server/training/file_form.h"
#include "server/training/handlers.h"
#include "server/training/jobs.h"

static const struct route routes[] = {
    {"POST", "/infer", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, ROUTE_RUNS_MODEL, inference_handle},
    {"POST", "/v1/completions", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, ROUTE_RUNS_MODEL,
     openai_handle_completions},
    {"POST", "/v1/chat/completions", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, ROUTE_RUNS_MODEL,
     openai_handle_chat},
    {"POST", "/v1/responses", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, ROUTE_RUNS_MODEL,
     responses_handle},
    {"POST", "/v1/embeddings", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, ROUTE_RUNS_MODEL,
     embeddings_handle},
    {"POST", "/classify", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, ROUTE_RUNS_MODEL,
     classify_handle},
    {"GET", "/v1/models", ROLE_TENANT, BODY_NONE, PLACE_HTTP, QUERY_TENANT | QUERY_PAGE | QUERY_WHOLE, 0,
     route_models_list},
    {"GET", "/v1/models/{model}", ROLE_TENANT, BODY_NONE, PLACE_HTTP, QUERY_TENANT, 0, route_models_show},

    {"POST", "/adapters", ROLE_TENANT, &upload_form, PLACE_DISK, QUERY_TENANT, 0, upload_form_accept},
    {"GET", "/adapters", ROLE_TENANT, BODY_NONE, PLACE_HTTP, QUERY_TENANT | QUERY_PAGE | QUERY_LABEL, 0,
     route_adapters_list},
    {"GET", "/adapters/{name}", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT, 0, route_versions_show},
    {"PATCH", "/adapters/{name}", ROLE_TENANT, BODY_JSON, PLACE_DISK, QUERY_TENANT, 0, route_versions_change},
    {"DELETE", "/adapters/{name}", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT, 0,
     route_versions_delete_all},

    {"GET", "/adapters/{name}/versions/{version}", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT, 0,
     route_versions_show_one},
    {"DELETE", "/adapters/{name}/versions/{version}", ROLE_TENANT, BODY_NONE, PLACE_DISK,
     QUERY_TENANT | QUERY_FORCE, 0, route_versions_delete},
    {"GET", "/adapters/{name}/versions/{version}/files/adapter_config.json", ROLE_TENANT, BODY_NONE,
     PLACE_DISK, QUERY_TENANT, 0, route_files_config},
    {"GET", "/adapters/{name}/versions/{version}/files/adapter_model.safetensors", ROLE_TENANT, BODY_NONE,
     PLACE_DISK, QUERY_TENANT, 0, route_files_weights},
    {"GET", "/adapters/{name}/versions/{version}/files/tokenizer_config.json", ROLE_TENANT, BODY_NONE,
     PLACE_DISK, QUERY_TENANT, 0, route_files_settings},
    {"GET", "/adapters/{name}/versions/{version}/files/chat_template.jinja", ROLE_TENANT, BODY_NONE,
     PLACE_DISK, QUERY_TENANT, 0, route_files_settings},
    {"GET", "/adapters/{name}/versions/{version}/files/generation_config.json", ROLE_TENANT, BODY_NONE,
     PLACE_DISK, QUERY_TENANT, 0, route_files_settings},
    {"GET", "/adapters/{name}/versions/{version}/files/added_tokens.json", ROLE_TENANT, BODY_NONE, PLACE_DISK,
     QUERY_TENANT, 0, route_files_settings},

    {"POST", "/v1/files", ROLE_TENANT, &file_form, PLACE_DISK, QUERY_TENANT, 0, file_form_accept},
    {"GET", "/v1/files", ROLE_TENANT, BODY_NONE, PLACE_DISK,
     QUERY_TENANT | QUERY_PAGE | QUERY_WHOLE | QUERY_ORDER | QUERY_PURPOSE, 0, route_training_files_list},
    {"GET", "/v1/files/{id}", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT, 0, route_training_files_show},
    {"DELETE", "/v1/files/{id}", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT, 0,
     route_training_files_delete},
    {"GET", "/v1/files/{id}/content", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT, 0,
     route_training_files_content},
    {"POST", "/v1/fine_tuning/jobs", ROLE_TENANT, BODY_JSON, PLACE_DISK, QUERY_TENANT, 0, route_jobs_create},
    {"GET", "/v1/fine_tuning/jobs", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT | QUERY_PAGE, 0,
     route_jobs_list},
    {"GET", "/v1/fine_tuning/jobs/{id}", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT, 0,
     route_jobs_show},
    {"GET", "/v1/fine_tuning/jobs/{id}/events", ROLE_TENANT, BODY_NONE, PLACE_DISK,
     QUERY_TENANT | QUERY_PAGE | QUERY_STREAM, 0, route_jobs_events},
    {"GET", "/v1/fine_tuning/jobs/{id}/checkpoints", ROLE_TENANT, BODY_NONE, PLACE_DISK,
     QUERY_TENANT | QUERY_PAGE, 0, route_jobs_checkpoints},
    {"POST", "/v1/fine_tuning/jobs/{id}/cancel", ROLE_TENANT, BODY_JSON, PLACE_DISK, QUERY_TENANT, 0,
     route_jobs_cancel},
    {"POST", "/v1/fine_tuning/jobs/{id}/pause", ROLE_TENANT, BODY_JSON, PLACE_DISK, QUERY_TENANT, 0,
     route_jobs_pause},
    {"POST", "/v1/fine_tuning/jobs/{id}/resume", ROLE_TENANT, BODY_JSON, PLACE_DISK, QUERY_TENANT, 0,
     route_jobs_resume},
    {"POST", "/train/estimate", ROLE_TENANT, BODY_JSON, PLACE_DISK, QUERY_TENANT, 0, route_jobs_estimate},
    {"POST", "/train/preview", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, 0, route_console_preview},

    {"POST", "/tenants", ROLE_ADMIN, BODY_JSON, PLACE_DISK, 0, 0, route_tenants_create},
    {"GET", "/tenants", ROLE_ADMIN, BODY_NONE, PLACE_HTTP, QUERY_PAGE, 0, route_tenants_list},
    {"GET", "/tenants/{id}", ROLE_ADMIN, BODY_NONE, PLACE_HTTP, 0, 0, route_tenants_show},
    {"PATCH", "/tenants/{id}", ROLE_ADMIN, BODY_JSON, PLACE_DISK, 0, 0, route_tenants_change},
    {"DELETE", "/tenants/{id}", ROLE_ADMIN, BODY_NONE, PLACE_DISK, 0, 0, route_tenants_delete},
    {"POST", "/tenants/{id}/keys", ROLE_ADMIN, BODY_JSON, PLACE_DISK, 0, 0, route_keys_create},
    {"GET", "/tenants/{id}/keys", ROLE_ADMIN, BODY_NONE, PLACE_HTTP, QUERY_PAGE, 0, route_keys_list},
    {"POST", "/tenants/{id}/keys/{kid}/rotate", ROLE_ADMIN, BODY_JSON, PLACE_DISK, 0, 0, route_keys_rotate},
    {"DELETE", "/tenants/{id}/keys/{kid}", ROLE_ADMIN, BODY_NONE, PLACE_DISK, 0, 0, route_keys_revoke},

    {"GET", "/usage", ROLE_TENANT, BODY_NONE, PLACE_DISK, QUERY_TENANT | QUERY_PAGE | QUERY_USAGE, 0,
     route_usage_list},
    {"GET", "/audit", ROLE_ADMIN, BODY_NONE, PLACE_DISK, QUERY_TENANT | QUERY_PAGE | QUERY_ORDER, 0,
     route_audit_list},
    {"POST", "/backup", ROLE_ADMIN, BODY_NONE, PLACE_DISK, 0, 0, route_backup_create},
    {"POST", "/fsck", ROLE_ADMIN, BODY_NONE, PLACE_DISK, 0, 0, route_fsck_run},

    {"POST", "/tokenize", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, 0, route_text_tokenize},
    {"POST", "/detokenize", ROLE_TENANT, BODY_JSON, PLACE_TEXT, QUERY_TENANT, 0, route_text_detokenize},

    {"GET", "/status", ROLE_TENANT, BODY_NONE, PLACE_HTTP, QUERY_STREAM, 0, route_console_status},
    {"GET", "/status/history", ROLE_ADMIN, BODY_NONE, PLACE_HTTP, 0, 0, route_console_history},
    {"GET", "/console", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_console_page},
    {"GET", "/console/{file}", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_console_file},
    {"GET", "/console/vendor/{file}", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_console_file},
    {"GET", "/", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_index},
    {"GET", "/v1", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_index},
    {"GET", "/health", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_health},
    {"GET", "/ping", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_health},
    {"GET", "/healthz", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_health},
    {"GET", "/readyz", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_ready},
    {"GET", "/version", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_version},
    {"GET", "/openapi.json", ROLE_NONE, BODY_NONE, PLACE_HTTP, 0, 0, route_status_openapi},
    {"GET", "/metrics", ROLE_ADMIN, BODY_NONE, PLACE_HTTP, 0, ROUTE_WATCHES, route_status_metrics},
};
_Static_assert(sizeof routes / sizeof *routes <= COUNTERS_ROUTES_MAX, "counters have a place for each");

const struct route *routes_all(size_t *count)
{
    *count = sizeof routes / sizeof *routes;
    return routes;
}
