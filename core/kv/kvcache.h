/* Keys and values of all sequences, in pages of 32 tokens under a fixed budget. Owned by the engine thread;
 * compute workers read and write the pages that the step in hand names. Memory is taken once, at the start.
 * Pages are counted: one page may belong to several sequences and to the prefix cache, once it is full and no
 * longer written. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/kernels/attention.h"

enum { KV_PAGE_TOKENS = ATTENTION_KEYS };

struct kv_shape {
    int layers, heads, dim; /* KV heads, and the size of one */
    enum kv_type type;
};

struct kvcache;

struct kv_sequence { /* zero-initialize */
    int32_t *pages;  /* owned */
    int page_count;
};

size_t kvcache_page_bytes(const struct kv_shape *s); /* of all layers */
/* As many pages as `bytes` hold, at least one. */
MUST_USE int kvcache_new(struct kvcache **out, const struct kv_shape *s, size_t bytes, struct err *e);
void kvcache_free(struct kvcache *k);
int kvcache_pages(const struct kvcache *k);
int kvcache_pages_free(const struct kvcache *k);
int kvcache_pages_held(const struct kvcache *k); /* of sequences; of several, once */
/* Make room for `tokens` tokens in all. False, with nothing changed, when there are not enough free pages. */
MUST_USE bool kvcache_reserve(struct kvcache *k, struct kv_sequence *s, int tokens);
/* Begin a sequence with pages that are full already; each gets a reference more. The sequence is empty
 * before. */
MUST_USE bool kvcache_share(struct kvcache *k, struct kv_sequence *s, const int32_t *pages, int count);
void kvcache_release(struct kvcache *k, struct kv_sequence *s);
void kvcache_page_ref(struct kvcache *k, int32_t page);
void kvcache_page_unref(struct kvcache *k, int32_t page);
int kvcache_page_references(const struct kvcache *k, int32_t page);
/* One head's part of a page in one layer: keys [dim, KV_PAGE_TOKENS], values [KV_PAGE_TOKENS, dim]. */
void *kvcache_keys(struct kvcache *k, int layer, int page, int head);
void *kvcache_values(struct kvcache *k, int layer, int page, int head);
enum kv_type kvcache_type(const struct kvcache *k);
