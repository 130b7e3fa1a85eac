/* What cache.c (who is in memory) and version_load.c (how one gets there) share; tests put a loader of their
 * own in. */
#pragma once
#include "adapters/serving/cache.h"

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

typedef int cache_load_function(struct registry *r, const struct model *m, const struct version *v,
                                struct delta **out, struct err *e);

/* As registry_pinned; called under the cache's lock. */
typedef bool cache_pinned_function(struct registry *r, uint32_t tenant, const char *digest);

int cache_new_with(struct cache **out, struct registry *r, const struct model *m, size_t budget_bytes,
                   cache_load_function *load, cache_pinned_function *pinned, struct err *e);

void cache_set_retry(struct cache *c, double ms); /* in place of CACHE_RETRY_MS */

/* Read, check and compile: both blobs must have their SHA-256, or the version is marked broken
 * ("adapter_broken"). */
int version_load(struct registry *r, const struct model *m, const struct version *v, struct delta **out,
                 struct err *e);
