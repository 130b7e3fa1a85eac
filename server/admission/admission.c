#include "server/admission/admission.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/system/clock.h"
#include "server/admission/auth.h"
#include "server/wire/framing.h"
#include "server/admission/limits.h"
#include "server/http/reply.h"

static int not_found(const struct request *r, struct err *e)
{
    char near[64];
    err_set(e, "not_found", "no such address");
    if (route_near(r->server->routes, r->server->route_count, r->path, near, sizeof near))
        return err_hint(e, "did you mean %s?", near);
    return err_hint(e, "GET / says what there is");
}

static int find_route(struct request *r, struct err *e)
{
    switch (route_find(r->server->routes, r->server->route_count, r->method, r->path, &r->match)) {
    case ROUTE_FOUND:
        return 0;
    case ROUTE_WRONG_METHOD:
        snprintf(r->reply.allow, sizeof r->reply.allow, "%s", r->match.allow);
        return err_set(e, "method_not_allowed", "%s is not possible here; allowed: %s", r->method,
                       r->match.allow);
    default:
        return not_found(r, e);
    }
}

/* What a browser asks before its page may ask: answered for every address, and without a key, which it does
 * not send then. */
static void answer_preflight(struct request *r)
{
    reply_empty(r);
}

static int take_route(struct request *r, struct err *e)
{
    static const struct route preflight = {"OPTIONS",  "*",       ROLE_NONE, BODY_NONE,
                                           PLACE_HTTP, QUERY_ALL, 0,         answer_preflight};
    if (!r->cors.preflight)
        return find_route(r, e);
    r->match.route = &preflight;
    return 0;
}

static int copy_header(struct MHD_Connection *connection, const char *name, char **out, struct err *e)
{
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
    if (!value)
        return 0;
    if (strlen(value) > ETAG_HEADER_BYTES_MAX) {
        err_set(e, "invalid_header", "the header %s may have %d bytes at most", name, ETAG_HEADER_BYTES_MAX);
        return err_param(e, name);
    }
    *out = strdup(value);
    return *out ? 0 : err_memory(e);
}

static enum MHD_Result count_value(void *count, enum MHD_ValueKind kind, const char *key, const char *value)
{
    (void)kind;
    (void)value;
    *(int *)count += strcasecmp(key, "traceparent") == 0;
    return MHD_YES;
}

/* Of two nobody knows which is meant. */
static void read_trace(struct request *r, struct MHD_Connection *connection)
{
    int count = 0;
    const char *value = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "traceparent");
    if (!value)
        return;
    MHD_get_connection_values(connection, MHD_HEADER_KIND, count_value, &count);
    if (count == 1)
        trace_read(value, &r->trace);
}

/* Of the media types that were asked for, browsers name this one first. */
static bool accepts_page(struct MHD_Connection *connection)
{
    const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept");
    return accept && strncasecmp(accept, "text/html", 9) == 0;
}

/* Is the coding among those that are accepted, and not at quality 0? */
static bool accepts_gzip(struct MHD_Connection *connection)
{
    const char *accept = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Accept-Encoding");
    const char *found = accept ? strcasestr(accept, "gzip") : NULL;
    if (!found || (found != accept && !strchr(" ,\t-", found[-1])))
        return false;
    found += 4 + strspn(found + 4, " \t");
    if (*found != ';')
        return true;
    found += 1 + strspn(found + 1, " \t");
    return strncasecmp(found, "q=", 2) != 0 || strtod(found + 2, NULL) > 0;
}

/* The media type alone, without parameters. */
static bool has_type(const char *value, const char *type)
{
    size_t length = strlen(type);
    return value && strncasecmp(value, type, length) == 0 &&
           (!value[length] || strchr("; \t", value[length]));
}

/* Bodies are read as they come: what is compressed would be refused for what it seems to say. */
static int check_coding(struct request *r, struct MHD_Connection *connection, struct err *e)
{
    const char *coding = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Encoding");
    if (!r->coming.has_body || !coding || !coding[0] || strcasecmp(coding, "identity") == 0)
        return 0;
    err_set(e, "unsupported_media_type", "the body must not be encoded, found Content-Encoding %.100s",
            coding);
    return err_hint(e, "send it uncompressed, without the header Content-Encoding");
}

static int check_type(struct request *r, struct MHD_Connection *connection, struct err *e)
{
    const char *type = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Type");
    const struct route_body *body = r->match.route->body;
    if (body->kind == ROUTE_BODY_FORM && !has_type(type, "multipart/form-data")) {
        err_set(e, "multipart_required", "an upload is a form, Content-Type multipart/form-data");
        return err_hint(e, "%s", body->hint);
    }
    if (body->kind == ROUTE_BODY_JSON && type && !has_type(type, "application/json")) {
        err_set(e, "unsupported_media_type", "the body must be JSON, found Content-Type %.100s", type);
        return err_hint(e, "add the header Content-Type: application/json");
    }
    return 0;
}

static int too_large(const struct route *route, struct err *e)
{
    return err_set(e, "body_too_large", "the body may have %llu bytes at most",
                   (unsigned long long)route->body->bytes_max);
}

static int check_size(struct request *r, struct err *e)
{
    if (r->match.route->body->kind == ROUTE_BODY_NONE) {
        if (r->coming.has_body)
            return err_set(e, "body_too_large", "no body is expected here");
        return 0;
    }
    if (r->coming.content_length > 0 && (uint64_t)r->coming.content_length > r->match.route->body->bytes_max)
        return too_large(r->match.route, e);
    return 0;
}

/* Whose request it is, as far as the headers say: of the key, or named by an admin in the query. Who is not
 * found may have been once, or be named in the body, too: the handler says what becomes of it. */
static int find_tenant(struct request *r, struct err *e)
{
    struct tenant_row found;
    struct err unknown;
    const char *named = query_text(&r->query, "tenant"), *id = named;
    if (r->caller.role == ROLE_TENANT) {
        id = r->caller.tenant_id;
        if (named && strcmp(named, id) != 0)
            return err_set(e, "forbidden", "this key belongs to another tenant than the one named");
    }
    if (id && registry_tenant_find(r->server->registry, id, &found, &unknown) == 0 &&
        (r->caller.role != ROLE_TENANT || r->caller.tenant == found.number))
        r->tenant = found;
    return 0;
}

/* The files of a form have its length, less what is around them. */
static int check_quota(struct request *r, struct err *e)
{
    const struct route_body *body = r->match.route->body;
    if (!body->foresee || r->coming.content_length <= FORM_OVERHEAD_BYTES_MAX || !r->tenant.number)
        return 0;
    uint64_t most = (uint64_t)r->coming.content_length;
    return body->foresee(r, most - FORM_OVERHEAD_BYTES_MAX, most, e);
}

/* The tenant that floods is told that it does, before the others' share is touched. */
static int check_limits(struct request *r, struct err *e)
{
    if (r->tenant.number && limits_admit(r, e) != 0)
        return -1;
    return limits_admit_any(r, e);
}

static int check_room(struct request *r, struct err *e)
{
    if (check_quota(r, e) != 0)
        return -1;
    if (r->match.route->body->kind == ROUTE_BODY_FORM) {
        r->held.upload_slot = upload_slots_take(&r->server->uploads, r->caller.tenant, e);
        if (!r->held.upload_slot)
            return -1;
    }
    return r->match.route->kind & ROUTE_RUNS_MODEL ? check_limits(r, e) : 0;
}

/* A daemon that stops tells who watches it how far it is, and refuses all others. */
static bool ends_with_drain(const struct route *route)
{
    return route->role != ROLE_NONE && !(route->kind & ROUTE_WATCHES);
}

/* An answer is there: its client may come again at once. */
static void answered(struct request *r, int status)
{
    limits_leave(r);
    limits_count(r, NULL, status >= 400);
}

static void ended(struct request *r)
{
    limits_leave(r);
    limits_over(r, false);
    free(r->held.usage); /* the client left before there was anything to count */
    if (r->held.upload_slot)
        upload_slots_give(&r->server->uploads, r->held.upload_slot);
    admission_body_gone(r);
}

int admission_check(struct request *r, struct MHD_Connection *connection, const char *version, struct err *e)
{
    static const struct request_holder holder = {answered, ended};
    struct framing framing;
    r->held.by = &holder;
    r->reply.close = true;
    read_trace(r, connection);
    if (framing_read(connection, version, &framing, e) != 0)
        return -1;
    r->reply.close = false;
    r->coming.has_body = framing.has_body;
    r->coming.expect_continue = framing.expect_continue;
    r->coming.content_length = framing.content_length;
    cors_read(connection, r->method, r->server->config.cors_origins, &r->cors);
    r->wants_page = accepts_page(connection);
    r->takes_gzip = accepts_gzip(connection);
    if ((r->server->config.no_auth && auth_check_browser(r, connection, e) != 0) || take_route(r, e) != 0)
        return -1;
    if (atomic_load(&r->server->draining) && ends_with_drain(r->match.route))
        return err_set(e, "shutting_down", "the daemon is shutting down");
    if (auth_check(r, connection, e) != 0 || query_read(&r->query, r->match.route->query, e) != 0 ||
        check_type(r, connection, e) != 0 || check_coding(r, connection, e) != 0 || check_size(r, e) != 0 ||
        copy_header(connection, "If-Match", &r->if_match, e) != 0 ||
        copy_header(connection, "If-None-Match", &r->if_none_match, e) != 0 || find_tenant(r, e) != 0)
        return -1;
    return check_room(r, e);
}

int admission_body(struct request *r, size_t length, struct err *e)
{
    r->coming.received += length;
    if (r->coming.received > r->match.route->body->bytes_max)
        return too_large(r->match.route, e);
    if (r->match.route->body->kind == ROUTE_BODY_FORM)
        return 0;
    if (r->caller.tenant && ratelimit_add_body(r->server->ratelimit, r->caller.tenant, length,
                                               BODY_MEMORY_TENANT_MAX, clock_us(), e) != 0)
        return -1;
    r->coming.charged += length;
    if (atomic_fetch_add(&r->server->body_bytes, length) + length > BODY_MEMORY_MAX)
        return err_set(e, "overloaded", "too many large requests at the same time");
    return 0;
}

void admission_body_shrinks(struct request *r, uint64_t left)
{
    if (r->coming.charged <= left)
        return;
    uint64_t gone = r->coming.charged - left;
    if (r->caller.tenant)
        ratelimit_remove_body(r->server->ratelimit, r->caller.tenant, gone);
    atomic_fetch_sub(&r->server->body_bytes, gone);
    r->coming.charged = left;
}

void admission_body_gone(struct request *r)
{
    admission_body_shrinks(r, 0);
}
