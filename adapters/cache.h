/* Versions in memory: version -> delta. A hit answers at once, on the caller's thread; a miss answers later,
 * on a loader thread; one load serves all who wait for it. Least recently used deltas go when the budget is
 * full; a delta in use lives until its last reference is dropped. Any thread. */
#pragma once
#include <stddef.h>

#include "adapters/registry.h"
#include "core/model/model.h"

struct cache;

int cache_new(struct cache **out, struct registry *r, const struct model *m, size_t budget_bytes,
              struct err *e);
/* Waits for loads under way; their `ready` is called. */
void cache_free(struct cache *c);

/* Calls `ready` exactly once: with a delta (the receiver owns a reference) or NULL and the error:
 * "loader_busy" (too many cold versions wait), "adapter_broken", "adapter_not_found" (deleted meanwhile),
 * "shutting_down", or what peft_load says where the base is another one now. `ready` must not block. */
void cache_lease(struct cache *c, const struct version *v,
                 void (*ready)(void *arg, struct delta *d, const struct err *e), void *arg);
/* Put a delta that was just compiled for an upload in, so that its first request is warm. */
void cache_put(struct cache *c, const struct version *v, struct delta *d);

struct cache_stats {
    size_t bytes, budget_bytes;
    size_t resident;
    unsigned long long hits, misses, evictions;
};
void cache_stats(struct cache *c, struct cache_stats *out);
