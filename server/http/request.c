#include "server/http/request.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "core/system/clock.h"
#include "core/base/hex.h"
#include "core/base/sha256.h"
#include "server/base/fields.h"
#include "server/http/connections.h"

/* "http://host/path" names the same thing as "/path". */
static const char *skip_authority(const char *uri)
{
    if (strncasecmp(uri, "http://", 7) != 0)
        return uri;
    const char *path = uri + 7 + strcspn(uri + 7, "/?");
    return *path == '/' ? path : "/";
}

static void make_id(struct request *r)
{
    uint8_t random[12];
    char hex[2 * sizeof random + 1];
    random_bytes(random, sizeof random);
    hex_encode(random, sizeof random, hex);
    const char *kind = strcmp(r->path, "/infer") == 0                 ? "inf_"
                       : strcmp(r->path, "/v1/completions") == 0      ? "cmpl-"
                       : strcmp(r->path, "/v1/chat/completions") == 0 ? "chatcmpl-"
                                                                      : "req_";
    snprintf(r->id, sizeof r->id, "%s%s", kind, hex);
}

struct request *request_new(struct server *s, const char *uri)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    pthread_mutex_init(&r->lock, NULL);
    atomic_init(&r->refs, 1);
    r->server = s;
    r->began_ms = clock_ms();
    r->limit = PAGE_DEFAULT;
    uri = skip_authority(uri);
    size_t length = strcspn(uri, "?");
    if (uri[length])
        r->query = strdup(uri + length + 1);
    /* A path that does not fit is kept empty: it matches no route. */
    if (length < sizeof r->path)
        memcpy(r->path, uri, length);
    make_id(r);
    return r;
}

void request_ref(struct request *r)
{
    atomic_fetch_add(&r->refs, 1);
}

void request_unref(struct request *r)
{
    if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
        return;
    if (r->task)
        r->task_free(r->task);
    if (r->holder)
        r->holder->ended(r);
    buf_fini(&r->reply.body);
    buf_fini(&r->body);
    free(r->query);
    free(r->if_match);
    free(r->if_none_match);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void request_hold(struct request *r)
{
    request_ref(r);
    pthread_mutex_lock(&r->lock);
    r->pending = true;
    pthread_mutex_unlock(&r->lock);
}

/* ---- its connection ---- */

static void client_left(void *arg)
{
    request_cancel(arg);
}

/* A stream that had nothing to say for a while is woken to say so. */
static void look_at_stream(void *arg, uint64_t now_us)
{
    struct request *r = arg;
    pthread_mutex_lock(&r->lock);
    bool due = r->keepalive_due_us && now_us >= r->keepalive_due_us && r->suspended;
    pthread_mutex_unlock(&r->lock);
    if (due)
        request_wake(r);
}

void request_attach(struct request *r, struct connections *all, struct connection *connection)
{
    static const struct connection_user user = {client_left, look_at_stream};
    r->peer = connection;
    connections_attach(all, connection, &user, r);
}

void request_body_deadline(struct request *r)
{
    connections_body_deadline(r->peer, r->body_clock_us + DEADLINE_BODY_MS * UINT64_C(1000) +
                                           r->received * UINT64_C(1000000) / BODY_RATE_MIN);
}

void request_wake(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    r->pending = false;
    if (r->suspended) {
        r->suspended = false;
        if (r->body_clock_us)
            r->body_clock_us += clock_us() - r->suspended_us;
        if (!r->handled)
            request_body_deadline(r);
        atomic_fetch_sub(&r->server->suspended, 1);
        MHD_resume_connection(r->connection);
    }
    pthread_mutex_unlock(&r->lock);
}

void request_sleep_locked(struct request *r)
{
    r->pending = r->suspended = true;
    r->suspended_us = clock_us();
    atomic_fetch_add(&r->server->suspended, 1);
    MHD_suspend_connection(r->connection);
}

void request_cancel(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    bool first = !r->cancelled;
    r->cancelled = true;
    void (*on_cancel)(struct request *) = r->on_cancel;
    pthread_mutex_unlock(&r->lock);
    if (first && on_cancel)
        on_cancel(r);
}

bool request_cancelled(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    bool cancelled = r->cancelled;
    pthread_mutex_unlock(&r->lock);
    return cancelled;
}

struct deferred {
    struct request *r;
    void (*work)(struct request *r);
};

/* What this thread changes, it changes for the request's caller. */
static void act_for(const struct request *r)
{
    const struct caller *c = &r->caller;
    struct audit_actor actor;
    snprintf(actor.name, sizeof actor.name, "%s", c->kid[0] ? c->kid : "no-auth");
    snprintf(actor.tenant, sizeof actor.tenant, "%s", c->tenant_id);
    snprintf(actor.request, sizeof actor.request, "%s", r->id);
    audit_act_as(&actor);
}

static void run_deferred(void *arg)
{
    struct deferred d = *(struct deferred *)arg;
    free(arg);
    act_for(d.r);
    d.work(d.r);
    audit_act_as(NULL);
    request_unref(d.r);
}

int request_defer(struct request *r, struct jobs *jobs, void (*work)(struct request *r))
{
    struct deferred *d = malloc(sizeof *d);
    if (!d)
        return -1;
    *d = (struct deferred){r, work};
    request_hold(r);
    if (jobs_submit(jobs, run_deferred, d) == 0)
        return 0;
    pthread_mutex_lock(&r->lock);
    r->pending = false;
    pthread_mutex_unlock(&r->lock);
    request_unref(r);
    free(d);
    return -1;
}

/* ---- the query ---- */

/* Decode %XX of one value into `out`; -1 for a bad escape, a NUL or a value that is too long. */
static int decode(const char *text, size_t length, char *out, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        int c = (unsigned char)text[i];
        if (c == '%') {
            int high = i + 2 < length ? hex_digit(text[i + 1]) : -1;
            int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
            if (low < 0)
                return -1;
            c = 16 * high + low;
            i += 2;
        }
        if (c == 0 || used + 1 >= size)
            return -1;
        out[used++] = (char)c;
    }
    out[used] = '\0';
    return 0;
}

static int bad_parameter(struct err *e, const char *name, const char *expected)
{
    err_set(e, "invalid_parameter", "the query parameter \"%s\" must be %s", name, expected);
    return err_param(e, name);
}

static int set_limit(struct request *r, const char *value, struct err *e)
{
    char *end;
    unsigned long limit = strtoul(value, &end, 10);
    if (!isdigit((unsigned char)*value) || *end || strlen(value) > 4 || limit < 1 || limit > PAGE_MAX)
        return bad_parameter(e, "limit", "a number from 1 to 1000");
    r->limit = limit;
    return 0;
}

static bool day_valid(const char *text)
{
    static const int days[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int month, day;
    for (int i = 0; i < DAY_BYTES - 1; i++)
        if (i == 4 || i == 7 ? text[i] != '-' : !isdigit((unsigned char)text[i]))
            return false;
    month = 10 * (text[5] - '0') + text[6] - '0';
    day = 10 * (text[8] - '0') + text[9] - '0';
    return !text[DAY_BYTES - 1] && month >= 1 && month <= 12 && day >= 1 && day <= days[month - 1];
}

static bool switch_valid(const char *text)
{
    return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
}

static bool label_valid(const char *text)
{
    struct buf ignored = {0};
    bool valid = labels_pattern(text, &ignored) == 0;
    buf_fini(&ignored);
    return valid;
}

/* What a valid value of each fits into. */
static const struct parameter {
    const char *name;
    unsigned query; /* of enum { QUERY_... } */
    bool (*valid)(const char *value);
    size_t place; /* in struct request */
    const char *expected;
} parameters[] = {
    {"tenant", QUERY_TENANT, name_valid, offsetof(struct request, tenant_query),
     "a tenant's id, [a-z0-9][a-z0-9._-]{0,63}"},
    {"after", QUERY_PAGE, name_valid, offsetof(struct request, after), "a cursor as \"next\" gave it"},
    {"adapter", QUERY_USAGE, name_valid, offsetof(struct request, adapter_query),
     "an adapter's name, [a-z0-9][a-z0-9._-]{0,63}"},
    {"from", QUERY_USAGE, day_valid, offsetof(struct request, from_query), "a day, YYYY-MM-DD"},
    {"to", QUERY_USAGE, day_valid, offsetof(struct request, to_query), "a day, YYYY-MM-DD"},
    {"force", QUERY_FORCE, switch_valid, offsetof(struct request, force_query), "true or false"},
    {"label", QUERY_LABEL, label_valid, offsetof(struct request, label_query), "key:value"},
    {"limit", QUERY_PAGE, NULL, 0, NULL},
};
enum { PARAMETERS = sizeof parameters / sizeof *parameters };

static int set_parameter(struct request *r, const char *name, const char *value, unsigned *seen,
                         struct err *e)
{
    size_t i = 0;
    while (i < PARAMETERS &&
           (strcmp(name, parameters[i].name) != 0 || !(r->match.route->query & parameters[i].query)))
        i++;
    if (i == PARAMETERS) {
        err_set(e, "unknown_parameter", "unknown query parameter \"%s\"", name);
        return err_param(e, name);
    }
    const struct parameter *p = &parameters[i];
    if (*seen & 1u << i)
        return bad_parameter(e, name, "given once");
    *seen |= 1u << i;
    if (!p->valid)
        return set_limit(r, value, e);
    if (!p->valid(value))
        return bad_parameter(e, name, p->expected);
    strcpy((char *)r + p->place, value);
    return 0;
}

int request_read_query(struct request *r, struct err *e)
{
    unsigned seen = 0;
    char name[32], value[512];
    if (r->match.route->query & QUERY_WHOLE)
        r->limit = PAGE_MAX;
    for (const char *p = r->query; p && *p;) {
        size_t length = strcspn(p, "&"), key = strcspn(p, "=&");
        const char *text = key < length ? p + key + 1 : p + key;
        if (decode(p, key, name, sizeof name) != 0 ||
            decode(text, (size_t)(p + length - text), value, sizeof value) != 0)
            return err_set(e, "invalid_parameter",
                           "the query cannot be decoded, or a part of it is too long");
        if (set_parameter(r, name, value, &seen, e) != 0)
            return -1;
        p += length + (p[length] == '&');
    }
    return 0;
}

/* ---- whose things ---- */

static int required_tenant(struct err *e)
{
    err_set(e, "tenant_required", "an admin must say which tenant is meant");
    err_hint(e, "add \"tenant\" to the body or ?tenant= to the address");
    return err_param(e, "tenant");
}

/* Did the id pass to a new tenant since the key was checked, or since a place was taken for the request? */
static bool other_tenant(const struct request *r, const struct tenant_row *found)
{
    return (r->caller.role == ROLE_TENANT && r->caller.tenant != found->number) ||
           (r->ticket.known && r->ticket.tenant != found->number);
}

static int tenant_gone(struct err *e)
{
    err_set(e, "tenant_not_found", "the tenant was deleted while the request was coming");
    return err_param(e, "tenant");
}

int request_tenant(struct request *r, const char *named, struct tenant_row *out, struct err *e)
{
    const char *query = r->tenant_query[0] ? r->tenant_query : NULL;
    if (named && query && strcmp(named, query) != 0)
        return err_set(e, "tenant_conflict", "the body names the tenant \"%.64s\", the query \"%s\"", named,
                       query);
    if (!named)
        named = query;
    if (r->caller.role == ROLE_TENANT) {
        if (named && strcmp(named, r->caller.tenant_id) != 0)
            return err_set(e, "forbidden", "this key belongs to another tenant than the one named");
        named = r->caller.tenant_id;
    }
    if (!named)
        return required_tenant(e);
    if (!name_valid(named)) {
        err_set(e, "tenant_not_found", "no tenant of that name");
        return err_param(e, "tenant");
    }
    if (registry_tenant_find(r->server->registry, named, out, e) != 0)
        return -1;
    if (other_tenant(r, out))
        return tenant_gone(e);
    pthread_mutex_lock(&r->lock);
    snprintf(r->tenant_log, sizeof r->tenant_log, "%s", out->id);
    pthread_mutex_unlock(&r->lock);
    return 0;
}

int request_body_tenant(struct request *r, const json_t *body, struct tenant_row *out, struct err *e)
{
    const char *named = NULL;
    size_t length = 0;
    if (field_string(body, "tenant", 1024, &named, &length, e) < 0)
        return -1;
    if (named && strlen(named) != length)
        named = ""; /* a name with U+0000 in it is nobody's */
    return request_tenant(r, named, out, e);
}
