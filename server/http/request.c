#include "server/http/request.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/audit.h"
#include "core/system/clock.h"
#include "core/base/hex.h"
#include "core/base/sha256.h"
#include "server/accounting/turns.h"
#include "server/base/fields.h"
#include "server/base/memory.h"
#include "server/wire/connections.h"

/* "http://host/path" names the same thing as "/path", and "http://host" as "/". */
static const char *skip_authority(const char *uri)
{
    if (strncasecmp(uri, "http://", 7) != 0)
        return uri;
    return uri + 7 + strcspn(uri + 7, "/?");
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
                       : strcmp(r->path, "/v1/responses") == 0        ? "resp_"
                                                                      : "req_";
    snprintf(r->id, sizeof r->id, "%s%s", kind, hex);
}

struct request *request_new(struct server *s, const char *uri)
{
    struct request *r = calloc(1, sizeof *r);
    if (!r)
        return NULL;
    const char *from = skip_authority(uri);
    size_t length = strcspn(from, "?");
    struct err ignored;
    if (query_init(&r->query, from[length] ? from + length + 1 : NULL, &ignored) != 0) {
        free(r);
        return NULL;
    }
    pthread_mutex_init(&r->lock, NULL);
    atomic_init(&r->refs, 1);
    r->server = s;
    r->began_ms = clock_ms();
    /* A path that does not fit is kept empty: it matches no route. */
    if (length < sizeof r->path)
        memcpy(r->path, from, length);
    if (length == 0 && from != uri)
        strcpy(r->path, "/");
    make_id(r);
    return r;
}

void request_ref(struct request *r)
{
    atomic_fetch_add(&r->refs, 1);
}

void request_unref(struct request *r)
{
    int before = r ? atomic_fetch_sub(&r->refs, 1) : 0;
    assert(!r || before > 0);
    if (before != 1)
        return;
    assert(!r->waits.suspended); /* libmicrohttpd keeps no connection that waits for nobody */
    if (r->task)
        r->task_free(r->task);
    if (r->held.by)
        r->held.by->ended(r);
    buf_fini(&r->reply.body);
    buf_fini(&r->body);
    query_fini(&r->query);
    free(r->if_match);
    free(r->if_none_match);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void request_hold(struct request *r)
{
    request_ref(r);
    pthread_mutex_lock(&r->lock);
    r->waits.pending = true;
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
    bool due = r->waits.keepalive_due_us && now_us >= r->waits.keepalive_due_us && r->waits.suspended;
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
    connections_body_deadline(r->peer, r->coming.clock_us + DEADLINE_BODY_MS * UINT64_C(1000) +
                                           r->coming.received * UINT64_C(1000000) / BODY_RATE_MIN);
}

void request_wake(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    r->waits.pending = false;
    if (r->waits.suspended) {
        r->waits.suspended = false;
        if (r->coming.clock_us)
            r->coming.clock_us += clock_us() - r->waits.suspended_us;
        if (!r->progress.handled)
            request_body_deadline(r);
        atomic_fetch_sub(&r->server->suspended, 1);
        MHD_resume_connection(r->connection);
    }
    pthread_mutex_unlock(&r->lock);
}

void request_sleep_locked(struct request *r)
{
    r->waits.pending = r->waits.suspended = true;
    r->waits.suspended_us = clock_us();
    atomic_fetch_add(&r->server->suspended, 1);
    MHD_suspend_connection(r->connection);
}

void request_cancel(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    bool first = !r->waits.cancelled;
    r->waits.cancelled = true;
    void (*on_cancel)(struct request *) = r->on_cancel;
    pthread_mutex_unlock(&r->lock);
    if (first && on_cancel)
        on_cancel(r);
}

bool request_cancelled(struct request *r)
{
    pthread_mutex_lock(&r->lock);
    bool cancelled = r->waits.cancelled;
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
    memory_wipe_stack();
    audit_act_as(NULL);
    request_unref(d.r);
}

static struct deferred *deferred_new(struct request *r, void (*work)(struct request *r))
{
    struct deferred *d = malloc(sizeof *d);
    if (!d)
        return NULL;
    *d = (struct deferred){r, work};
    request_hold(r);
    return d;
}

/* Nobody took it. */
static int deferred_drop(struct deferred *d)
{
    pthread_mutex_lock(&d->r->lock);
    d->r->waits.pending = false;
    pthread_mutex_unlock(&d->r->lock);
    request_unref(d->r);
    free(d);
    return -1;
}

int request_defer(struct request *r, struct jobs *jobs, void (*work)(struct request *r))
{
    struct deferred *d = deferred_new(r, work);
    if (!d)
        return -1;
    return jobs_submit(jobs, run_deferred, d) == 0 ? 0 : deferred_drop(d);
}

int request_take_turn(struct request *r, void (*work)(struct request *r), struct err *e)
{
    struct deferred *d = deferred_new(r, work);
    int64_t weight = r->tenant.number ? r->tenant.quota.of[QUOTA_WEIGHT] : QUOTA_UNSET;
    if (!d)
        return err_memory(e);
    if (weight == QUOTA_UNSET)
        weight = ENGINE_WEIGHT_DEFAULT;
    if (turns_submit(r->server->turns, r->tenant.number, (int)weight, run_deferred, d, e) == 0)
        return 0;
    return deferred_drop(d);
}

/* ---- whose things ---- */

static int required_tenant(struct err *e)
{
    err_set(e, "tenant_required", "an admin must say which tenant is meant");
    err_hint(e, "add \"tenant\" to the body or ?tenant= to the address");
    return err_param(e, "tenant");
}

static int unknown_tenant(struct err *e, const char *problem)
{
    err_set(e, "tenant_not_found", "%s", problem);
    return err_param(e, "tenant");
}

/* The id that is meant, by all that names one; NULL is an error. */
static const char *meant_tenant(const struct request *r, const char *named, struct err *e)
{
    const char *query = query_text(&r->query, "tenant");
    if (named && query && strcmp(named, query) != 0) {
        err_set(e, "tenant_conflict", "the body names the tenant \"%.64s\", the query \"%s\"", named, query);
        return NULL;
    }
    if (!named)
        named = query;
    if (r->caller.role == ROLE_TENANT) {
        if (!named || strcmp(named, r->caller.tenant_id) == 0)
            return r->caller.tenant_id;
        err_set(e, "forbidden", "this key belongs to another tenant than the one named");
        return NULL;
    }
    if (!named)
        required_tenant(e);
    else if (!name_valid(named))
        unknown_tenant(e, "no tenant of that name");
    return named && name_valid(named) ? named : NULL;
}

static int find_tenant(struct request *r, const char *id, struct err *e)
{
    struct tenant_row found;
    if (registry_tenant_find(r->server->registry, id, &found, e) != 0)
        return -1;
    if ((r->tenant.number && r->tenant.number != found.number) ||
        (r->caller.role == ROLE_TENANT && r->caller.tenant != found.number))
        return unknown_tenant(e, "the tenant was deleted while the request was coming");
    pthread_mutex_lock(&r->lock);
    r->tenant = found;
    pthread_mutex_unlock(&r->lock);
    return 0;
}

/* By the headers it is known once and for all; who has the id when the body is there may be somebody else. */
int request_tenant(struct request *r, const char *named, struct err *e)
{
    const char *id = meant_tenant(r, named, e);
    if (!id)
        return -1;
    return r->tenant.number && !r->coming.has_body ? 0 : find_tenant(r, id, e);
}

int request_tenant_again(struct request *r, struct err *e)
{
    char id[sizeof r->tenant.id];
    strcpy(id, r->tenant.id);
    return find_tenant(r, id, e);
}

int request_body_tenant(struct request *r, const json_t *body, struct err *e)
{
    const char *named = NULL;
    size_t length = 0;
    if (field_string(body, "tenant", 1024, &named, &length, e) < 0)
        return -1;
    if (named && strlen(named) != length)
        named = ""; /* a name with U+0000 in it is nobody's */
    return request_tenant(r, named, e);
}
