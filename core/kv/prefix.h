/* The prefix cache: full KV pages of finished and running sequences, found again by the hash of all that
 * determines them. Owned by the engine thread.
 *
 * A page's key is SHA-256(key of the page before it, its 32 tokens); the chain starts at a root that the
 * caller derives from tenant, adapter version and base, so nothing is ever shared across tenants or across
 * two contents of one name. A cached page is held by one reference; those that nobody else uses are given up,
 * least recently used first, when a sequence needs room. */
#pragma once
#include <stdint.h>

#include "core/base/sha256.h"
#include "core/kv/kvcache.h"

struct prefix;

/* Where a sequence stands in its chain. Start with the root in `key`. */
struct prefix_chain {
    uint8_t key[SHA256_BYTES];
    int pages; /* behind the root */
};

MUST_USE int prefix_new(struct prefix **out, struct kvcache *kv, struct err *e);
void prefix_free(struct prefix *p); /* gives its references back; NULL is fine */

/* Walk along the first `page_limit` pages of `tokens` as far as they are cached; `pages` [page_limit]
 * receives them and the chain moves on behind them. Returns how many. No references are taken: kvcache_share
 * does that. */
int prefix_match(struct prefix *p, struct prefix_chain *chain, const int32_t *tokens, int page_limit,
                 int32_t *pages);
/* Remember a sequence's full pages from the chain's place up to page `count`; the chain moves on. */
void prefix_keep(struct prefix *p, struct prefix_chain *chain, const int32_t *tokens, const int32_t *pages,
                 int count);
/* Give up unused pages until `count` pages are free or there is nothing left to give up. */
void prefix_make_room(struct prefix *p, int count);
int prefix_pages(const struct prefix *p); /* cached now */
