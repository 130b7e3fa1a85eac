/* Versions in memory: version -> delta. A hit answers at once, on the caller's thread; a miss answers later,
 * on a loader thread; one load serves all who wait for it. Least recently used deltas go when the budget is
 * full, pinned ones last as long as they take half of it at most; a delta in use lives until its last
 * reference is dropped. What cannot be loaded is remembered for a
 * few seconds, so that requests for it do not read it again and again. Any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "adapters/types/rows.h"
#include "core/base/err.h"
#include "core/base/histogram.h"

struct cache;
struct delta;

enum {
    CACHE_THREADS = 2,
    CACHE_LOADS_MAX = 1024,       /* versions waiting for a loader; beyond it "loader_busy" */
    CACHE_LOADS_TENANT_MAX = 256, /* of one tenant */
    CACHE_WAITERS_MAX = 65536,    /* callers waiting for any of them */
    CACHE_PREFETCH_MAX = 128,     /* versions pending beyond which nothing is prefetched */
    CACHE_PINNED_SHARE = 2,       /* pinned versions stay as long as they take 1/2 of the budget at most */
    CACHE_FAILED_MAX = 1024,      /* failures remembered */
    CACHE_RETRY_MS = 5000         /* for so long */
};

/* Where deltas come from, and which of them stay. The caller's, who keeps `arg` for as long as the cache is
 * there. */
struct cache_source {
    int (*load)(void *arg, const struct version *v, struct delta **out,
                struct err *e); /* on loader threads */
    /* Does a pinned name mean this content? Called under the cache's lock: it may not call the cache. */
    bool (*pinned)(void *arg, uint32_t tenant, const char *digest);
    void *arg;
};

MUST_USE int cache_new(struct cache **out, const struct cache_source *s, size_t budget_bytes, struct err *e);
/* Waits for loads under way; their `ready` is called. */
void cache_free(struct cache *c);

/* Calls `ready` exactly once: with a delta (the receiver owns a reference) or NULL and the error:
 * "loader_busy" (too many cold versions wait), "adapter_broken", "adapter_not_found" (deleted meanwhile),
 * "shutting_down", or what peft_load says where the base is another one now. `loaded`: this call began the
 * load, which is over now; of all who wait for one, one call did. `ready` must not block. */
typedef void cache_ready_function(void *arg, struct delta *d, bool loaded, const struct err *e);
void cache_lease(struct cache *c, const struct version *v, cache_ready_function *ready, void *arg);
/* It will be asked for soon: load it, unless it is there, or the loader has enough to do. */
void cache_prefetch(struct cache *c, const struct version *v);
/* Put a delta that was just compiled for an upload in, so that its first request is warm. */
void cache_put(struct cache *c, const struct version *v, struct delta *d);

/* How long a failure is remembered, in place of CACHE_RETRY_MS. */
void cache_set_retry(struct cache *c, double ms);

struct cache_stats {
    size_t bytes, budget_bytes;
    size_t resident;
    size_t loading; /* versions: waiting for a loader, or with one */
    unsigned long long hits, misses, evictions, load_failures;
};
void cache_stats(struct cache *c, struct cache_stats *out);
/* How long loads took, failed ones too: histogram_times. The loaders add; read it as long as the cache is
 * there. */
const struct histogram *cache_load_times(const struct cache *c);
