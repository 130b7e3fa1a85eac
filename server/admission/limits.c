#include "server/admission/limits.h"

#include <stdio.h>
#include <string.h>

#include "core/system/clock.h"
#include "server/accounting/activity.h"
#include "server/accounting/usage.h"

static void set_retry(struct request *r, uint64_t wait_us)
{
    r->reply.retry_s = (int)((wait_us + 999999) / 1000000);
}

static int check_share(struct server *s, uint32_t tenant, struct err *e)
{
    int coming, all, limit = s->engine_options.queue_tenant_max;
    ratelimit_coming(s->ratelimit, tenant, &coming, &all);
    int waiting = engine_waiting(s->engine, tenant) + coming;
    if (waiting < limit)
        return 0;
    return err_set(e, "tenant_queue_full", "%d requests of this tenant are waiting already; at most %d may",
                   waiting, limit);
}

int limits_admit(struct request *r, struct err *e)
{
    const struct tenant_row *tenant = &r->tenant;
    uint64_t wait_us = 0;
    if (r->held.ticket.open)
        return 0;
    if (!r->held.usage)
        r->held.usage = usage_entry_new(tenant->number, tenant->id);
    if (!r->held.usage)
        return err_memory(e);
    if (check_share(r->server, tenant->number, e) != 0)
        return -1;
    int result = ratelimit_open(r->server->ratelimit, &r->held.ticket, tenant->number, &tenant->quota,
                                clock_us(), &wait_us, e);
    set_retry(r, wait_us);
    return result;
}

int limits_admit_any(struct request *r, struct err *e)
{
    struct server *s = r->server;
    struct engine_stats stats;
    int coming, all;
    if (usage_full(s->usage))
        return err_set(e, "overloaded", "the usage of earlier requests cannot be written to the disk");
    ratelimit_coming(s->ratelimit, 0, &coming, &all);
    engine_stats(s->engine, &stats);
    int waiting = stats.waiting + all - r->held.ticket.open;
    if (waiting < s->engine_options.queue_max)
        return 0;
    return err_set(e, "queue_full", "%d requests are waiting already; at most %d may", waiting,
                   s->engine_options.queue_max);
}

int limits_take(struct request *r, int64_t tokens, struct err *e)
{
    uint64_t wait_us;
    int result = ratelimit_take(r->server->ratelimit, &r->held.ticket, tokens, clock_us(), &wait_us, e);
    set_retry(r, wait_us);
    return result;
}

void limits_submitted(struct request *r)
{
    ratelimit_submitted(r->server->ratelimit, &r->held.ticket);
}

void limits_settle(struct request *r, int64_t used)
{
    ratelimit_close(r->server->ratelimit, &r->held.ticket, used, clock_us());
}

void limits_leave(struct request *r)
{
    ratelimit_close(r->server->ratelimit, &r->held.ticket, 0, clock_us());
}

/* ---- usage ---- */

void limits_name(struct request *r, const char *adapter, const char *version)
{
    snprintf(r->held.usage->row.adapter, sizeof r->held.usage->row.adapter, "%s", adapter);
    snprintf(r->held.usage->row.version, sizeof r->held.usage->row.version, "%s", version);
}

void limits_begin(struct request *r)
{
    const struct usage_row *row = &r->held.usage->row;
    struct activity_name name = {.tenant = r->tenant.number};
    snprintf(name.tenant_id, sizeof name.tenant_id, "%s", r->tenant.id);
    snprintf(name.adapter, sizeof name.adapter, "%s", row->adapter);
    snprintf(name.version, sizeof name.version, "%s", row->version);
    r->held.activity = activity_begin(r->server->activity, &name);
}

void limits_over(struct request *r, bool failed)
{
    activity_end(r->held.activity, failed);
    r->held.activity = NULL;
}

void limits_count(struct request *r, const int64_t tokens[USAGE_KINDS], bool failed)
{
    struct usage_entry *entry = r->held.usage;
    limits_over(r, failed);
    if (!entry)
        return;
    r->held.usage = NULL;
    if (tokens)
        memcpy(entry->row.count, tokens, sizeof entry->row.count);
    entry->row.count[USAGE_REQUESTS] = 1;
    entry->row.count[USAGE_ERRORS] = failed;
    for (int i = 0; i < USAGE_KINDS; i++)
        counters_add(&r->server->counters.usage[i], (uint64_t)entry->row.count[i]);
    usage_count(r->server->usage, entry);
}

/* ---- headers ---- */

struct headers {
    void (*add)(void *arg, const char *name, const char *value);
    void *arg;
};

static void add_number(const struct headers *h, const char *name, int64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)value);
    h->add(h->arg, name, text);
}

static void add_tokens(const struct headers *h, int64_t limit, const struct ratelimit_state *s)
{
    char text[32];
    add_number(h, "x-ratelimit-limit-tokens", limit);
    add_number(h, "x-ratelimit-remaining-tokens", s->tokens_left);
    snprintf(text, sizeof text, "%.3fs", (double)s->full_us / 1e6);
    h->add(h->arg, "x-ratelimit-reset-tokens", text);
}

/* When a place comes free cannot be known. */
static void add_requests(const struct headers *h, int64_t limit, const struct ratelimit_state *s)
{
    add_number(h, "x-ratelimit-limit-requests", limit);
    add_number(h, "x-ratelimit-remaining-requests", s->requests_left);
    h->add(h->arg, "x-ratelimit-reset-requests", s->requests_left > 0 ? "0s" : "1s");
}

void limits_headers(struct request *r, void (*add)(void *arg, const char *name, const char *value), void *arg)
{
    const struct headers h = {add, arg};
    const struct quota *q = &r->held.ticket.quota;
    struct ratelimit_state s;
    if (!r->held.ticket.known)
        return;
    ratelimit_look(r->server->ratelimit, &r->held.ticket, clock_us(), &s);
    if (q->of[QUOTA_REQUESTS_IN_FLIGHT_MAX] != QUOTA_UNSET)
        add_requests(&h, q->of[QUOTA_REQUESTS_IN_FLIGHT_MAX], &s);
    if (q->of[QUOTA_TOKENS_PER_MINUTE] != QUOTA_UNSET)
        add_tokens(&h, q->of[QUOTA_TOKENS_PER_MINUTE], &s);
}
