#include "server/accounting/ratelimit.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#include "core/base/hashtable.h"

enum { SWEEP_MIN = 64 };
#define MINUTE_US 60e6

struct entry {
    struct hashtable_link link; /* hash: the tenant's number */
    int in_flight, coming;
    uint64_t body_bytes;
    int64_t limit;  /* tokens per minute that `tokens` was counted with; QUOTA_UNSET: none yet */
    double tokens;  /* that are there; below 0: taken in advance */
    uint64_t at_us; /* as of then */
};

struct ratelimit {
    pthread_mutex_t lock;
    struct hashtable entries;
    size_t sweep_at; /* entries */
    int coming;
};

int ratelimit_new(struct ratelimit **out, struct err *e)
{
    struct ratelimit *m = calloc(1, sizeof *m);
    if (!m)
        return err_memory(e);
    if (hashtable_init(&m->entries, e) != 0) {
        free(m);
        return -1;
    }
    pthread_mutex_init(&m->lock, NULL);
    m->sweep_at = SWEEP_MIN;
    *out = m;
    return 0;
}

/* Remove the entries that say nothing, or all of them. */
static void sweep(struct ratelimit *m, bool all)
{
    for (size_t i = 0; i < (size_t)1 << m->entries.bits; i++) {
        struct hashtable_link *next;
        for (struct hashtable_link *l = m->entries.buckets[i]; l; l = next) {
            struct entry *n = HASHTABLE_ITEM(l, struct entry, link);
            next = l->next;
            if (!all &&
                (n->in_flight || n->body_bytes || (n->limit != QUOTA_UNSET && n->tokens < (double)n->limit)))
                continue;
            hashtable_remove(&m->entries, l);
            free(n);
        }
    }
}

void ratelimit_free(struct ratelimit *m)
{
    if (!m)
        return;
    sweep(m, true);
    hashtable_fini(&m->entries);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static struct entry *find(const struct ratelimit *m, uint32_t tenant)
{
    return HASHTABLE_ITEM(hashtable_first(&m->entries, tenant), struct entry, link);
}

/* Count the tokens as of now, under the limit that holds now. */
static void refill(struct entry *n, int64_t limit, uint64_t now_us)
{
    if (n->limit != QUOTA_UNSET && now_us > n->at_us) {
        n->tokens += (double)n->limit * (double)(now_us - n->at_us) / MINUTE_US;
        if (n->tokens > (double)n->limit)
            n->tokens = (double)n->limit;
    }
    if (limit != n->limit && limit != QUOTA_UNSET)
        n->tokens = n->limit == QUOTA_UNSET ? (double)limit : n->tokens + (double)(limit - n->limit);
    n->limit = limit;
    n->at_us = now_us;
}

/* Sweeping each time that the entries have doubled costs nothing worth counting. */
static void sweep_when_due(struct ratelimit *m, uint64_t now_us)
{
    if (m->entries.count < m->sweep_at)
        return;
    for (size_t i = 0; i < (size_t)1 << m->entries.bits; i++)
        for (struct hashtable_link *l = m->entries.buckets[i]; l; l = l->next) {
            struct entry *n = HASHTABLE_ITEM(l, struct entry, link);
            refill(n, n->limit, now_us);
        }
    sweep(m, false);
    m->sweep_at = 2 * m->entries.count > SWEEP_MIN ? 2 * m->entries.count : SWEEP_MIN;
}

static struct entry *find_or_add(struct ratelimit *m, uint32_t tenant, uint64_t now_us)
{
    struct entry *n = find(m, tenant);
    if (n)
        return n;
    sweep_when_due(m, now_us);
    n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    n->limit = QUOTA_UNSET;
    hashtable_add(&m->entries, &n->link, tenant);
    return n;
}

/* A little more than it takes, so that rounding cannot make it untrue. */
static uint64_t time_for(const struct entry *n, double tokens)
{
    return tokens > 0 ? (uint64_t)(tokens * MINUTE_US / (double)n->limit) + 1 : 0;
}

static int check_tokens(const struct entry *n, uint64_t *wait_us, struct err *e)
{
    if (n->limit == QUOTA_UNSET || n->tokens >= 1)
        return 0;
    *wait_us = time_for(n, 1 - n->tokens);
    err_set(e, "rate_limited",
            "the tenant's %lld tokens per minute are used up; the next is there in %.1f seconds",
            (long long)n->limit, (double)*wait_us / 1e6);
    return err_param(e, quota_bounds[QUOTA_TOKENS_PER_MINUTE].name);
}

static int check_requests(const struct entry *n, int64_t limit, struct err *e)
{
    if (limit == QUOTA_UNSET || n->in_flight < limit)
        return 0;
    err_set(e, "too_many_in_flight", "the tenant has %d requests under way, its quota is %lld", n->in_flight,
            (long long)limit);
    return err_param(e, quota_bounds[QUOTA_REQUESTS_IN_FLIGHT_MAX].name);
}

static int open_locked(struct ratelimit *m, struct ticket *t, uint64_t now_us, uint64_t *wait_us,
                       struct err *e)
{
    struct entry *n = find_or_add(m, t->tenant, now_us);
    if (!n)
        return err_memory(e);
    refill(n, t->quota.of[QUOTA_TOKENS_PER_MINUTE], now_us);
    if (check_requests(n, t->quota.of[QUOTA_REQUESTS_IN_FLIGHT_MAX], e) != 0 ||
        check_tokens(n, wait_us, e) != 0)
        return -1;
    t->open = t->coming = true;
    n->in_flight++;
    n->coming++;
    m->coming++;
    return 0;
}

int ratelimit_open(struct ratelimit *m, struct ticket *t, uint32_t tenant, const struct quota *quota,
                   uint64_t now_us, uint64_t *wait_us, struct err *e)
{
    *wait_us = 0;
    pthread_mutex_lock(&m->lock);
    t->known = true;
    t->tenant = tenant;
    t->quota = *quota;
    int result = open_locked(m, t, now_us, wait_us, e);
    pthread_mutex_unlock(&m->lock);
    return result;
}

int ratelimit_take(struct ratelimit *m, struct ticket *t, int64_t tokens, uint64_t now_us, uint64_t *wait_us,
                   struct err *e)
{
    int result = 0;
    *wait_us = 0;
    pthread_mutex_lock(&m->lock);
    struct entry *n = t->open ? find(m, t->tenant) : NULL;
    if (n) {
        refill(n, t->quota.of[QUOTA_TOKENS_PER_MINUTE], now_us);
        result = check_tokens(n, wait_us, e);
        if (result == 0) {
            t->taken = tokens;
            n->tokens -= (double)tokens;
        }
    }
    pthread_mutex_unlock(&m->lock);
    return result;
}

static void arrive(struct ratelimit *m, struct entry *n, struct ticket *t)
{
    if (!t->coming)
        return;
    assert(n->coming > 0 && m->coming > 0);
    t->coming = false;
    n->coming--;
    m->coming--;
}

void ratelimit_submitted(struct ratelimit *m, struct ticket *t)
{
    pthread_mutex_lock(&m->lock);
    if (t->open)
        arrive(m, find(m, t->tenant), t);
    pthread_mutex_unlock(&m->lock);
}

void ratelimit_close(struct ratelimit *m, struct ticket *t, int64_t used, uint64_t now_us)
{
    pthread_mutex_lock(&m->lock);
    if (t->open) {
        struct entry *n = find(m, t->tenant);
        arrive(m, n, t);
        assert(n->in_flight > 0);
        t->open = false;
        n->in_flight--;
        refill(n, n->limit, now_us);
        n->tokens += (double)(t->taken - used);
        if (n->tokens > (double)n->limit)
            n->tokens = (double)n->limit;
    }
    pthread_mutex_unlock(&m->lock);
}

static int add_body_locked(struct ratelimit *m, uint32_t tenant, uint64_t bytes, uint64_t limit,
                           uint64_t now_us, struct err *e)
{
    struct entry *n = find_or_add(m, tenant, now_us);
    if (!n)
        return err_memory(e);
    if (n->body_bytes + bytes > limit)
        return err_set(e, "tenant_queue_full", "bodies of this tenant fill %llu bytes of memory already",
                       (unsigned long long)n->body_bytes);
    n->body_bytes += bytes;
    return 0;
}

int ratelimit_add_body(struct ratelimit *m, uint32_t tenant, uint64_t bytes, uint64_t limit, uint64_t now_us,
                       struct err *e)
{
    pthread_mutex_lock(&m->lock);
    int result = add_body_locked(m, tenant, bytes, limit, now_us, e);
    pthread_mutex_unlock(&m->lock);
    return result;
}

void ratelimit_remove_body(struct ratelimit *m, uint32_t tenant, uint64_t bytes)
{
    pthread_mutex_lock(&m->lock);
    struct entry *n = find(m, tenant);
    assert(n && n->body_bytes >= bytes); /* an entry stays while there are bodies */
    n->body_bytes -= bytes;
    pthread_mutex_unlock(&m->lock);
}

void ratelimit_coming(struct ratelimit *m, uint32_t tenant, int *of_tenant, int *of_all)
{
    pthread_mutex_lock(&m->lock);
    const struct entry *n = find(m, tenant);
    *of_tenant = n ? n->coming : 0;
    *of_all = m->coming;
    pthread_mutex_unlock(&m->lock);
}

void ratelimit_look(struct ratelimit *m, const struct ticket *t, uint64_t now_us, struct ratelimit_state *out)
{
    int64_t requests = t->quota.of[QUOTA_REQUESTS_IN_FLIGHT_MAX];
    int64_t tokens = t->quota.of[QUOTA_TOKENS_PER_MINUTE];
    *out = (struct ratelimit_state){.requests_left = requests, .tokens_left = tokens};
    pthread_mutex_lock(&m->lock);
    struct entry *n = find(m, t->tenant);
    if (n && requests != QUOTA_UNSET)
        out->requests_left = requests > n->in_flight ? requests - n->in_flight : 0;
    if (n && tokens != QUOTA_UNSET && n->limit != QUOTA_UNSET) {
        refill(n, n->limit, now_us);
        out->tokens_left = n->tokens > 0 ? (int64_t)n->tokens : 0;
        out->full_us = time_for(n, (double)n->limit - n->tokens);
    }
    pthread_mutex_unlock(&m->lock);
}
