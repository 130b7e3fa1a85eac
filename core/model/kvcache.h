/* Keys and values of all sequences, in pages of 32 tokens under a fixed budget. Owned by the engine thread;
 * compute workers read and write the pages that the step in hand names. Memory is taken once, at the start.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum { KV_PAGE_TOKENS = 32 };

struct kvcache;

struct kv_sequence { /* zero-initialize */
    int32_t *pages;  /* owned */
    int page_count;
};

/* As many pages as `bytes` hold, at least one; for `layers` layers of `kv_size` floats of K and of V per
 * token. */
int kvcache_new(struct kvcache **out, int layers, int kv_size, size_t bytes, struct err *e);
void kvcache_free(struct kvcache *k);
int kvcache_pages(const struct kvcache *k);
int kvcache_pages_free(const struct kvcache *k);
/* Make room for `tokens` tokens in all. False, with nothing changed, when there are not enough free pages. */
bool kvcache_reserve(struct kvcache *k, struct kv_sequence *s, int tokens);
void kvcache_release(struct kvcache *k, struct kv_sequence *s);
/* Rows of one page of one layer: f32 [KV_PAGE_TOKENS, kv_size]. */
float *kvcache_key_page(struct kvcache *k, int layer, int page);
float *kvcache_value_page(struct kvcache *k, int layer, int page);
