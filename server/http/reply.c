#include "server/http/reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/base/log.h"

/* Each code that a client can meet, with its status. docs/http-api.md explains them. */
static const struct {
    const char *code;
    int status;
} statuses[] = {
    {"invalid_request", 400},
    {"invalid_json", 400},
    {"invalid_type", 400},
    {"invalid_utf8", 400},
    {"invalid_name", 400},
    {"invalid_parameter", 400},
    {"invalid_header", 400},
    {"field_conflict", 400},
    {"unknown_parameter", 400},
    {"unknown_field", 400},
    {"unsupported_value", 400},
    {"missing_field", 400},
    {"out_of_range", 400},
    {"input_required", 400},
    {"input_conflict", 400},
    {"input_unsupported", 400},
    {"task_unsupported", 400},
    {"tenant_required", 400},
    {"tenant_conflict", 400},
    {"token_out_of_range", 400},
    {"prompt_too_long", 400},
    {"context_length_exceeded", 400},
    {"prompt_empty", 400},
    {"text_too_long", 400},
    {"tokenizer_split_failed", 400},
    {"label_too_long", 400},
    {"schema_unsupported", 400},
    {"schema_invalid", 400},
    {"schema_too_large", 400},
    {"schema_unsatisfiable", 400},
    {"grammar_malformed", 400},
    {"grammar_too_large", 400},
    {"grammar_too_deep", 400},
    {"grammar_empty", 400},
    {"grammar_left_recursive", 400},
    {"grammar_undefined_rule", 400},
    {"regex_malformed", 400},
    {"regex_unsupported", 400},
    {"choice_malformed", 400},
    {"chat_template_unsupported", 400},
    {"chat_template_failed", 400},
    {"chat_refused", 400},
    {"version_ambiguous", 400},
    {"training_too_large", 400},
    {"invalid_version", 400},
    {"multipart_required", 400},
    {"multipart_malformed", 400},
    {"unknown_part", 400},
    {"duplicate_part", 400},
    {"missing_part", 400},
    {"invalid_part", 400},
    {"invalid_training_file", 400},
    {"unauthorized", 401},
    {"invalid_api_key", 401}, /* OpenAI's name for it */
    {"forbidden", 403},
    {"training_off", 403},
    {"not_found", 404},
    {"tenant_not_found", 404},
    {"adapter_not_found", 404},
    {"model_not_found", 404},
    {"adapter_expired", 404},
    {"version_not_found", 404},
    {"file_not_found", 404},
    {"key_not_found", 404},
    {"job_not_found", 404},
    {"method_not_allowed", 405},
    {"tenant_exists", 409},
    {"key_not_in_force", 409},
    {"version_conflict", 409},
    {"version_active", 409},
    {"no_previous_version", 409},
    {"limit_reached", 409},
    {"job_conflict", 409},
    {"quota_exceeded", 409},
    {"body_too_large", 413},
    {"file_too_large", 413},
    {"unsupported_media_type", 415},
    {"adapter_unsupported_type", 422},
    {"adapter_unsupported_feature", 422},
    {"adapter_unknown_module", 422},
    {"adapter_missing_tensor", 422},
    {"adapter_unexpected_tensor", 422},
    {"adapter_shape_mismatch", 422},
    {"adapter_rank_too_large", 422},
    {"adapter_not_finite", 422},
    {"adapter_no_effect", 422},
    {"adapter_wrong_base", 422},
    {"safetensors_malformed", 422},
    {"gguf_malformed", 422},
    {"config_malformed", 422},
    {"pickle_refused", 422},
    {"output_not_finite", 422},
    {"grammar_stuck", 422},
    {"tokens_banned", 422},
    {"tenant_queue_full", 429},
    {"too_many_in_flight", 429},
    {"too_many_uploads", 429},
    {"rate_limited", 429},
    {"rate_limit_exceeded", 429}, /* OpenAI's name for the others */
    {"io_error", 500},
    {"internal_error", 500},
    {"storage_failed", 500},
    {"registry_malformed", 500},
    {"adapter_broken", 503},
    {"file_broken", 503},
    {"adapter_base_changed", 503},
    {"registry_replaced", 503},
    {"queue_full", 503},
    {"loader_busy", 503},
    {"overloaded", 503},
    {"storage_busy", 503},
    {"out_of_memory", 503},
    {"shutting_down", 503},
    {"engine_stopped", 503},
    {"storage_full", 507},
};

#define CODES (sizeof statuses / sizeof *statuses)
_Static_assert(CODES <= REPLY_CODES_MAX, "counters have a place for each");

const char *reply_code(size_t i, int *status)
{
    if (i >= CODES)
        return NULL;
    *status = statuses[i].status;
    return statuses[i].code;
}

/* CODES for one that is not in the table. */
static size_t find_code(const char *code)
{
    size_t i = 0;
    while (i < CODES && strcmp(statuses[i].code, code) != 0)
        i++;
    return i;
}

int reply_status(const char *code)
{
    size_t i = find_code(code);
    return i < CODES ? statuses[i].status : 500;
}

static void count_error(struct request *r, const char *code)
{
    size_t i = find_code(code);
    if (i < CODES)
        counters_add(&r->server->counters.errors[i], 1);
}

static void deliver(struct request *r, struct reply *reply)
{
    if (!reply->stream && r->held.by)
        r->held.by->answered(r, reply->status);
    pthread_mutex_lock(&r->lock);
    if (r->reply.ready) { /* a second answer is a bug; the first one stands */
        pthread_mutex_unlock(&r->lock);
        buf_fini(&reply->body);
        log_message("error", "request %s was answered twice", r->id);
        return;
    }
    reply->ready = true;
    r->reply = *reply;
    pthread_mutex_unlock(&r->lock);
    request_wake(r);
}

/* What has been set of the answer so far, without a body. */
static struct reply reply_begin(const struct request *r, int status)
{
    struct reply reply = r->reply;
    reply.status = status;
    reply.body = (struct buf){0};
    return reply;
}

static int append(const char *text, size_t length, void *out)
{
    return buf_append(out, text, length);
}

/* The body's text; takes the reference. -1: memory ran out, and that was answered. */
static int print_body(struct request *r, json_t *body, struct reply *reply)
{
    struct err e;
    reply->content_type = "application/json";
    int failed = !body || json_dump_callback(body, append, &reply->body, REPLY_JSON_FLAGS) != 0 ||
                 buf_append(&reply->body, "\n", 1) != 0;
    json_decref(body);
    if (!failed)
        return 0;
    buf_fini(&reply->body);
    err_memory(&e);
    reply_error(r, &e);
    return -1;
}

void reply_json(struct request *r, int status, json_t *body)
{
    struct reply reply = reply_begin(r, status);
    if (print_body(r, body, &reply) == 0)
        deliver(r, &reply);
}

void reply_adapter(struct request *r, const struct version *active, json_t *body)
{
    struct reply reply = reply_begin(r, 200);
    if (print_body(r, body, &reply) != 0)
        return;
    etag_of_adapter(active, reply.body.data, reply.body.length, reply.etag);
    if (strcmp(r->match.route->method, "GET") == 0 && etag_listed(r->if_none_match, reply.etag)) {
        reply.status = 304;
        reply.content_type = NULL;
        buf_fini(&reply.body);
    }
    deliver(r, &reply);
}

void reply_not_modified(struct request *r)
{
    struct reply reply = reply_begin(r, 304);
    deliver(r, &reply);
}

void reply_text(struct request *r, const char *content_type, struct buf *body)
{
    struct reply reply = reply_begin(r, 200);
    reply.content_type = content_type;
    reply.body = *body;
    *body = (struct buf){0};
    deliver(r, &reply);
}

void reply_document(struct request *r, const char *content_type, const char *text, size_t length)
{
    struct buf body = {0};
    struct err e;
    etag_of_document(text, length, r->reply.etag);
    if (etag_listed(r->if_none_match, r->reply.etag)) {
        reply_not_modified(r);
    } else if (buf_append(&body, text, length) == 0) {
        reply_text(r, content_type, &body);
    } else {
        err_memory(&e);
        reply_error(r, &e);
    }
}

void reply_empty(struct request *r)
{
    struct reply reply = reply_begin(r, 204);
    deliver(r, &reply);
}

static int set_text(json_t *object, const char *name, const char *text)
{
    return text[0] ? json_object_set_new(object, name, json_string(text)) : 0;
}

static bool is_openai(const struct request *r)
{
    return strncmp(r->path, "/v1/", 4) == 0;
}

/* The names that OpenAI's clients look for; whatever has none keeps its own. */
static const char *openai_code(const char *code)
{
    static const char *const names[][2] = {{"unauthorized", "invalid_api_key"},
                                           {"rate_limited", "rate_limit_exceeded"},
                                           {"too_many_in_flight", "rate_limit_exceeded"},
                                           {"tenant_queue_full", "rate_limit_exceeded"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i][0], code) == 0)
            return names[i][1];
    return code;
}

/* OpenAI's clients find these members in every error. */
static int add_openai(const struct err *e, json_t *error)
{
    int status = reply_status(e->code);
    const char *type = status == 401   ? "authentication_error"
                       : status == 403 ? "permission_error"
                       : status == 429 ? "rate_limit_error"
                       : status >= 500 ? "server_error"
                                       : "invalid_request_error";
    int failed = json_object_set_new(error, "code", json_string(openai_code(e->code)));
    failed |= json_object_set_new(error, "type", json_string(type));
    if (!json_object_get(error, "param"))
        failed |= json_object_set_new(error, "param", json_null());
    return failed;
}

/* `more` is taken over: members behind the usual ones; NULL: none. */
static int format_error(const struct request *r, const struct err *e, json_t *more, struct buf *out)
{
    json_t *inner = json_object(), *outer = json_pack("{s:o}", "error", inner);
    int failed = !outer || set_text(inner, "code", e->code) != 0;
    if (!failed && set_text(inner, "message", e->message) != 0)
        failed = set_text(inner, "message", "the message cannot be shown as UTF-8") != 0;
    if (!failed) {
        set_text(inner, "param", e->param);
        set_text(inner, "hint", e->hint);
        failed = (is_openai(r) && add_openai(e, inner) != 0) ||
                 (more && json_object_update(inner, more) != 0) ||
                 json_dump_callback(outer, append, out, JSON_COMPACT) != 0;
    }
    json_decref(more);
    json_decref(outer);
    return failed ? -1 : 0;
}

int reply_format_error(const struct request *r, const struct err *e, struct buf *out)
{
    return format_error(r, e, NULL, out);
}

/* Does waiting help? */
static bool mends(const char *code)
{
    return strcmp(code, "adapter_broken") != 0 && strcmp(code, "adapter_base_changed") != 0 &&
           strcmp(code, "registry_replaced") != 0;
}

static void deliver_error(struct request *r, const struct err *e, json_t *more)
{
    struct reply reply = reply_begin(r, reply_status(e->code));
    reply.content_type = "application/json";
    if ((reply.status == 503 || reply.status == 429) && mends(e->code) && !reply.retry_s)
        reply.retry_s = 1;
    reply.challenge = reply.status == 401;
    reply.adapter_version[0] = reply.etag[0] = '\0';
    reply.stream_bytes = 0;
    count_error(r, e->code);
    if (reply.status == 500)
        log_message("error", "%s: %s: %s", r->id, e->code, e->message);
    if (format_error(r, e, more, &reply.body) != 0 || buf_append(&reply.body, "\n", 1) != 0) {
        buf_fini(&reply.body);
        buf_append_string(&reply.body,
                          "{\"error\":{\"code\":\"out_of_memory\",\"message\":\"out of memory\"}}\n");
        reply.status = 503;
    }
    deliver(r, &reply);
}

void reply_error(struct request *r, const struct err *e)
{
    deliver_error(r, e, NULL);
}

void reply_conflict(struct request *r, const char *digest, const struct err *e)
{
    char text[SHA256_HEX + 8];
    snprintf(text, sizeof text, "sha256:%s", digest);
    deliver_error(r, e, json_pack("{s:s?}", "current", digest[0] ? text : NULL));
}

void reply_stream(struct request *r, ssize_t (*read)(struct request *r, char *out, size_t max))
{
    reply_stream_of(r, "text/event-stream", read);
}

int reply_print_event(struct buf *out, json_t *event)
{
    int failed = !event || buf_append_string(out, "data: ") != 0 ||
                 json_dump_callback(event, append, out, REPLY_JSON_FLAGS) != 0 ||
                 buf_append_string(out, "\n\n") != 0;
    json_decref(event);
    return failed ? -1 : 0;
}

void reply_stream_of(struct request *r, const char *content_type,
                     ssize_t (*read)(struct request *r, char *out, size_t max))
{
    struct reply reply = reply_begin(r, 200);
    reply.content_type = content_type;
    reply.no_store = true;
    reply.stream = read;
    deliver(r, &reply);
}
