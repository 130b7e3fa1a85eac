/* Versions in memory: version -> delta. A hit answers at once, on the caller's thread; a miss answers later,
 * on a loader thread; one load serves all who wait for it. Least recently used deltas go when the budget is
 * full, pinned ones last as long as they take half of it at most; a delta in use lives until its last
 * reference is dropped. What cannot be loaded is remembered for a
 * few seconds, so that requests for it do not read it again and again. Any thread. */
#pragma once
#include <stddef.h>

#include "adapters/registry/registry.h"
#include "core/base/histogram.h"
#include "core/delta/delta.h"
#include "core/model/model.h"

struct cache;

int cache_new(struct cache **out, struct registry *r, const struct model *m, size_t budget_bytes,
              struct err *e);
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

struct cache_stats {
    size_t bytes, budget_bytes;
    size_t resident;
    size_t loading; /* versions: waiting for a loader, or with one */
    unsigned long long hits, misses, evictions, load_failures;
};
void cache_stats(struct cache *c, struct cache_stats *out);
/* How long loads took, failed ones too: histogram_times. The loaders add; read it as long as the cache is
 * there.
 */
const struct histogram *cache_load_times(const struct cache *c);
