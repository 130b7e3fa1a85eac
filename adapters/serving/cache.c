#include "adapters/serving/cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "adapters/blobs/version.h"
#include "core/base/hashtable.h"
#include "core/delta/delta.h"
#include "core/system/clock.h"

struct waiter {
    STAILQ_ENTRY(waiter) next;
    cache_ready_function *ready;
    void *arg;
    bool began; /* the load */
};

/* pending -> loading -> resident, or failed; what else fails than the version itself ends the entry.
 * cache_put makes a resident one at once, and of a failed one. */
enum state { PENDING, LOADING, RESIDENT, FAILED };

STAILQ_HEAD(waiters, waiter);

struct failure {
    struct err e;
    double retry_ms; /* clock_ms from which on it may be tried again */
};

/* What an entry is found by. The blobs are part of it: one content in two pairs of files may be damaged in
 * one of them. */
struct content {
    uint32_t tenant;
    char digest[SHA256_HEX + 1], config_blob[SHA256_HEX + 1], weights_blob[SHA256_HEX + 1];
};

struct entry {
    struct hashtable_link by_content;
    enum state state;
    struct content content;
    const struct version *version; /* one reference while pending or loading; then its files may go */
    TAILQ_ENTRY(entry) link;       /* by arrival; resident ones by last use */
    struct waiters waiters;
    struct delta *delta; /* one reference while resident */
    size_t bytes;
    struct failure *failure; /* owned, of a failed one */
};

TAILQ_HEAD(entries, entry);

struct chain { /* of entries, the oldest first */
    struct entries list;
    size_t count;
};

struct cache {
    struct cache_source source;
    pthread_mutex_t lock; /* over all that follows; never held over a load or a callback */
    pthread_cond_t work;
    bool stopping;
    struct hashtable entries;
    struct chain pending, resident, failed;
    double retry_ms;
    size_t waiters;
    uint32_t last_tenant; /* whose load was begun last */
    struct cache_stats stats;
    struct histogram load_us; /* not under the lock */
    int thread_count;
    pthread_t threads[CACHE_THREADS];
};

/* ---- chains ---- */

static void chain_init(struct chain *c)
{
    TAILQ_INIT(&c->list);
    c->count = 0;
}

static struct entry *chain_oldest(const struct chain *c)
{
    return TAILQ_FIRST(&c->list);
}

static void chain_append(struct chain *c, struct entry *n)
{
    TAILQ_INSERT_TAIL(&c->list, n, link);
    c->count++;
}

static void chain_remove(struct chain *c, struct entry *n)
{
    assert(c->count > 0);
    TAILQ_REMOVE(&c->list, n, link);
    c->count--;
}

/* ---- entries ---- */

static uint64_t hash_of(const struct version *v)
{
    uint64_t start;
    memcpy(&start, v->digest, sizeof start);
    return start ^ (uint64_t)v->tenant << 32;
}

static bool is_content(const struct content *c, const struct version *v)
{
    return c->tenant == v->tenant && strcmp(c->digest, v->digest) == 0 &&
           strcmp(c->weights_blob, v->weights_blob) == 0 && strcmp(c->config_blob, v->config_blob) == 0;
}

static struct entry *find(const struct cache *c, const struct version *v)
{
    for (struct hashtable_link *l = hashtable_first(&c->entries, hash_of(v)); l; l = hashtable_next(l)) {
        struct entry *n = HASHTABLE_ITEM(l, struct entry, by_content);
        if (is_content(&n->content, v))
            return n;
    }
    return NULL;
}

static struct entry *add_entry(struct cache *c, const struct version *v)
{
    struct entry *n = calloc(1, sizeof *n);
    if (!n)
        return NULL;
    version_ref(v);
    n->version = v;
    n->content.tenant = v->tenant;
    strcpy(n->content.digest, v->digest);
    strcpy(n->content.config_blob, v->config_blob);
    strcpy(n->content.weights_blob, v->weights_blob);
    STAILQ_INIT(&n->waiters);
    hashtable_add(&c->entries, &n->by_content, hash_of(v));
    return n;
}

static void entry_free(struct entry *n)
{
    delta_unref(n->delta);
    version_unref(n->version);
    free(n->failure);
    free(n);
}

static void free_chain(struct chain *c)
{
    for (struct entry *n; (n = chain_oldest(c));) {
        chain_remove(c, n);
        entry_free(n);
    }
}

static void let_version_go(struct entry *n)
{
    version_unref(n->version);
    n->version = NULL;
}

static void make_resident(struct cache *c, struct entry *n, struct delta *d)
{
    n->state = RESIDENT;
    let_version_go(n);
    n->delta = d;
    n->bytes = delta_bytes(d);
    c->stats.bytes += n->bytes;
    chain_append(&c->resident, n);
}

/* Moves what is over the budget to `evicted`, to be freed without the lock: giving megabytes back takes time.
 * What is pinned counts as used just now instead, within its share. */
static void evict(struct cache *c, struct chain *evicted)
{
    size_t pinned = 0, share = c->stats.budget_bytes / CACHE_PINNED_SHARE;
    for (struct entry *n; c->stats.bytes > c->stats.budget_bytes && (n = chain_oldest(&c->resident));) {
        chain_remove(&c->resident, n);
        if (pinned + n->bytes <= share &&
            c->source.pinned(c->source.arg, n->content.tenant, n->content.digest)) {
            pinned += n->bytes;
            chain_append(&c->resident, n);
            continue;
        }
        hashtable_remove(&c->entries, &n->by_content);
        c->stats.bytes -= n->bytes;
        c->stats.evictions++;
        chain_append(evicted, n);
    }
}

/* ---- leasing ---- */

static size_t pending_of_tenant(const struct cache *c, uint32_t tenant)
{
    size_t count = 0;
    const struct entry *n;
    TAILQ_FOREACH(n, &c->pending.list, link)
        count += n->version->tenant == tenant;
    return count;
}

static int check_room(const struct cache *c, const struct version *v, bool begins, struct err *e)
{
    if (c->stopping)
        return err_set(e, "shutting_down", "the daemon is stopping");
    bool full = c->waiters >= CACHE_WAITERS_MAX || (begins && c->pending.count >= CACHE_LOADS_MAX);
    if (!full && (!begins || pending_of_tenant(c, v->tenant) < CACHE_LOADS_TENANT_MAX))
        return 0;
    err_set(e, "loader_busy", "too many adapters are being loaded: at most %d, of one tenant %d",
            CACHE_LOADS_MAX, CACHE_LOADS_TENANT_MAX);
    return err_hint(e, "try again in a moment");
}

static struct entry *begin_load(struct cache *c, const struct version *v)
{
    struct entry *n = add_entry(c, v);
    if (n) {
        chain_append(&c->pending, n);
        pthread_cond_signal(&c->work);
    }
    return n;
}

/* Join the load of this version, or begin one. */
static int wait_for(struct cache *c, struct entry *n, const struct version *v, struct waiter *w,
                    struct err *e)
{
    if (check_room(c, v, !n, e) != 0)
        return -1;
    w->began = !n;
    if (!n && !(n = begin_load(c, v)))
        return err_memory(e);
    STAILQ_INSERT_TAIL(&n->waiters, w, next);
    c->waiters++;
    return 0;
}

static struct delta *take_resident(struct cache *c, struct entry *n)
{
    if (!n || n->state != RESIDENT) {
        c->stats.misses++;
        return NULL;
    }
    c->stats.hits++;
    chain_remove(&c->resident, n);
    chain_append(&c->resident, n);
    return delta_ref(n->delta);
}

static void forget_failure(struct cache *c, struct entry *n)
{
    chain_remove(&c->failed, n);
    hashtable_remove(&c->entries, &n->by_content);
    entry_free(n);
}

/* NULL also where it failed so long ago that it may be tried again. */
static struct entry *find_current(struct cache *c, const struct version *v)
{
    struct entry *n = find(c, v);
    if (!n || n->state != FAILED || clock_ms() < n->failure->retry_ms)
        return n;
    forget_failure(c, n);
    return NULL;
}

void cache_lease(struct cache *c, const struct version *v, cache_ready_function *ready, void *arg)
{
    struct err e;
    int result = 0;
    struct waiter *w = NULL;
    pthread_mutex_lock(&c->lock);
    struct entry *n = find_current(c, v);
    struct delta *d = take_resident(c, n);
    if (n && n->state == FAILED) {
        e = n->failure->e;
        result = -1;
    } else if (!d) {
        w = malloc(sizeof *w);
        if (w)
            *w = (struct waiter){.ready = ready, .arg = arg};
        result = w ? wait_for(c, n, v, w, &e) : err_memory(&e);
    }
    pthread_mutex_unlock(&c->lock);
    if (d) {
        ready(arg, d, false, NULL);
    } else if (result != 0) {
        free(w);
        ready(arg, NULL, false, &e);
    }
}

void cache_prefetch(struct cache *c, const struct version *v)
{
    pthread_mutex_lock(&c->lock);
    if (!c->stopping && c->pending.count < CACHE_PREFETCH_MAX && !find_current(c, v))
        begin_load(c, v); /* without memory it stays cold */
    pthread_mutex_unlock(&c->lock);
}

void cache_put(struct cache *c, const struct version *v, struct delta *d)
{
    struct chain evicted;
    chain_init(&evicted);
    pthread_mutex_lock(&c->lock);
    struct entry *n = find(c, v);
    if (n && n->state == FAILED) {
        forget_failure(c, n);
        n = NULL;
    }
    n = n ? NULL : add_entry(c, v); /* on its way already, or without memory: stays cold */
    if (n) {
        make_resident(c, n, delta_ref(d));
        evict(c, &evicted);
    }
    pthread_mutex_unlock(&c->lock);
    free_chain(&evicted);
}

/* ---- loading ---- */

/* Tenants take turns, so that one with many cold adapters does not hold up another's one: the oldest load of
 * the tenant with the next number after the last one served. */
static struct entry *take_pending(struct cache *c)
{
    struct entry *n, *next = NULL, *first = NULL;
    TAILQ_FOREACH(n, &c->pending.list, link) {
        uint32_t tenant = n->version->tenant;
        if (!first || tenant < first->version->tenant)
            first = n;
        if (tenant > c->last_tenant && (!next || tenant < next->version->tenant))
            next = n;
    }
    struct entry *taken = next ? next : first;
    chain_remove(&c->pending, taken);
    taken->state = LOADING;
    c->last_tenant = taken->version->tenant;
    return taken;
}

static void answer(struct waiters *waiters, struct delta *d, const struct err *e)
{
    for (struct waiter *w; (w = STAILQ_FIRST(waiters));) {
        STAILQ_REMOVE_HEAD(waiters, next);
        w->ready(w->arg, delta_ref(d), w->began, e);
        free(w);
    }
}

static void take_waiters(struct cache *c, struct entry *n, struct waiters *out)
{
    const struct waiter *w;
    STAILQ_INIT(out);
    STAILQ_FOREACH(w, &n->waiters, next) {
        assert(c->waiters > 0);
        c->waiters--;
    }
    STAILQ_CONCAT(out, &n->waiters);
}

/* Is the version itself to blame, so that another load would fail the same way? A broken one is known to the
 * registry already. */
static bool lasts(const struct err *e)
{
    static const char *const others[] = {"adapter_broken", "adapter_not_found", "version_not_found",
                                         "out_of_memory",  "io_error",          "shutting_down"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (strcmp(e->code, others[i]) == 0)
            return false;
    return true;
}

/* Keep it as a failed one; false: it goes. */
static bool remember(struct cache *c, struct entry *n, const struct err *e)
{
    n->failure = lasts(e) ? malloc(sizeof *n->failure) : NULL;
    if (!n->failure)
        return false;
    *n->failure = (struct failure){.e = *e, .retry_ms = clock_ms() + c->retry_ms};
    n->state = FAILED;
    let_version_go(n);
    if (c->failed.count >= CACHE_FAILED_MAX)
        forget_failure(c, chain_oldest(&c->failed));
    chain_append(&c->failed, n);
    return true;
}

/* `d` is NULL after a failure. */
static void finish(struct cache *c, struct entry *n, struct delta *d, const struct err *e)
{
    struct chain done;
    struct waiters waiters;
    chain_init(&done);
    pthread_mutex_lock(&c->lock);
    take_waiters(c, n, &waiters);
    if (d) {
        make_resident(c, n, delta_ref(d));
        evict(c, &done);
    } else {
        c->stats.load_failures++;
        if (!remember(c, n, e)) {
            hashtable_remove(&c->entries, &n->by_content);
            chain_append(&done, n);
        }
    }
    pthread_mutex_unlock(&c->lock);
    answer(&waiters, d, d ? NULL : e);
    delta_unref(d);
    free_chain(&done);
}

static void *loader_main(void *arg)
{
    struct cache *c = arg;
    for (;;) {
        pthread_mutex_lock(&c->lock);
        while (!c->stopping && c->pending.count == 0)
            pthread_cond_wait(&c->work, &c->lock);
        struct entry *n = c->stopping ? NULL : take_pending(c);
        pthread_mutex_unlock(&c->lock);
        if (!n)
            return NULL;
        struct err e = {0};
        struct delta *d = NULL;
        uint64_t began = clock_us();
        if (c->source.load(c->source.arg, n->version, &d, &e) != 0)
            d = NULL;
        histogram_add(&c->load_us, &histogram_times, clock_us() - began);
        finish(c, n, d, &e);
    }
}

/* ---- life ---- */

static int start_threads(struct cache *c, struct err *e)
{
    while (c->thread_count < CACHE_THREADS) {
        if (pthread_create(&c->threads[c->thread_count], NULL, loader_main, c) != 0)
            return err_set(e, "out_of_memory", "cannot start a loader thread");
        pthread_setname_np(c->threads[c->thread_count], "loader");
        c->thread_count++;
    }
    return 0;
}

int cache_new(struct cache **out, const struct cache_source *source, size_t budget_bytes, struct err *e)
{
    struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    if (hashtable_init(&c->entries, e) != 0) {
        free(c);
        return -1;
    }
    c->source = *source;
    chain_init(&c->pending);
    chain_init(&c->resident);
    chain_init(&c->failed);
    c->retry_ms = CACHE_RETRY_MS;
    c->stats.budget_bytes = budget_bytes;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->work, NULL);
    if (start_threads(c, e) != 0) {
        cache_free(c);
        return -1;
    }
    *out = c;
    return 0;
}

void cache_set_retry(struct cache *c, double ms)
{
    pthread_mutex_lock(&c->lock);
    c->retry_ms = ms;
    pthread_mutex_unlock(&c->lock);
}

static void fail_pending(struct cache *c)
{
    struct err e;
    err_set(&e, "shutting_down", "the daemon is stopping");
    for (struct entry *n; (n = chain_oldest(&c->pending));) {
        struct waiters waiters;
        chain_remove(&c->pending, n);
        take_waiters(c, n, &waiters);
        answer(&waiters, NULL, &e);
        entry_free(n);
    }
}

void cache_free(struct cache *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stopping = true;
    pthread_cond_broadcast(&c->work);
    pthread_mutex_unlock(&c->lock);
    for (int i = 0; i < c->thread_count; i++)
        pthread_join(c->threads[i], NULL);
    fail_pending(c);
    free_chain(&c->resident);
    free_chain(&c->failed);
    hashtable_fini(&c->entries);
    pthread_cond_destroy(&c->work);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

void cache_stats(struct cache *c, struct cache_stats *out)
{
    pthread_mutex_lock(&c->lock);
    *out = c->stats;
    out->resident = c->resident.count;
    out->loading = c->entries.count - c->resident.count - c->failed.count;
    pthread_mutex_unlock(&c->lock);
}

const struct histogram *cache_load_times(const struct cache *c)
{
    return &c->load_us;
}
