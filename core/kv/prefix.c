#include "core/kv/prefix.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

/* One per KV page: a page is in the cache at most once. */
struct entry {
    uint8_t key[SHA256_BYTES];
    bool used;
    LIST_ENTRY(entry) same_bucket;
    TAILQ_ENTRY(entry) by_use;
};

LIST_HEAD(bucket, entry);

struct prefix {
    struct kvcache *kv;
    struct entry *entries;  /* owned, [pages of the KV cache] */
    struct bucket *buckets; /* owned, [bucket_mask + 1] */
    uint32_t bucket_mask;
    TAILQ_HEAD(uses, entry) uses; /* the least recently used first */
    int count;
};

int prefix_new(struct prefix **out, struct kvcache *kv, struct err *e)
{
    struct prefix *p = calloc(1, sizeof *p);
    if (!p)
        return err_memory(e);
    uint32_t buckets = 1;
    while (buckets < (uint32_t)kvcache_pages(kv))
        buckets *= 2;
    *p = (struct prefix){.kv = kv, .bucket_mask = buckets - 1};
    TAILQ_INIT(&p->uses);
    p->entries = calloc((size_t)kvcache_pages(kv), sizeof *p->entries);
    p->buckets = calloc(buckets, sizeof *p->buckets); /* zeros are empty lists */
    if (!p->entries || !p->buckets) {
        prefix_free(p);
        return err_memory(e);
    }
    *out = p;
    return 0;
}

static int32_t page_of(const struct prefix *p, const struct entry *entry)
{
    return (int32_t)(entry - p->entries);
}

static struct bucket *bucket_of(const struct prefix *p, const uint8_t *key)
{
    uint32_t hash;
    memcpy(&hash, key, sizeof hash);
    return &p->buckets[hash & p->bucket_mask];
}

static struct entry *find(const struct prefix *p, const uint8_t *key)
{
    struct entry *entry;
    LIST_FOREACH(entry, bucket_of(p, key), same_bucket)
        if (memcmp(entry->key, key, SHA256_BYTES) == 0)
            break;
    return entry;
}

static void forget(struct prefix *p, struct entry *entry)
{
    assert(entry->used && p->count > 0);
    LIST_REMOVE(entry, same_bucket);
    TAILQ_REMOVE(&p->uses, entry, by_use);
    entry->used = false;
    p->count--;
    kvcache_page_unref(p->kv, page_of(p, entry));
}

void prefix_free(struct prefix *p)
{
    if (!p)
        return;
    while (!TAILQ_EMPTY(&p->uses))
        forget(p, TAILQ_FIRST(&p->uses));
    free(p->entries);
    free(p->buckets);
    free(p);
}

static void next_key(const struct prefix_chain *chain, const int32_t *tokens, uint8_t out[SHA256_BYTES])
{
    struct sha256 s;
    sha256_init(&s);
    sha256_update(&s, chain->key, SHA256_BYTES);
    sha256_update(&s, tokens + (size_t)chain->pages * KV_PAGE_TOKENS, KV_PAGE_TOKENS * sizeof *tokens);
    sha256_final(&s, out);
}

static void advance(struct prefix_chain *chain, const uint8_t key[SHA256_BYTES])
{
    memcpy(chain->key, key, SHA256_BYTES);
    chain->pages++;
}

int prefix_match(struct prefix *p, struct prefix_chain *chain, const int32_t *tokens, int page_limit,
                 int32_t *pages)
{
    uint8_t key[SHA256_BYTES];
    int count = 0;
    for (; chain->pages < page_limit; count++) {
        next_key(chain, tokens, key);
        const struct entry *entry = find(p, key);
        if (!entry)
            break;
        pages[count] = page_of(p, entry);
        advance(chain, key);
    }
    for (int i = count - 1; i >= 0; i--) { /* the end of a chain goes before its beginning */
        TAILQ_REMOVE(&p->uses, &p->entries[pages[i]], by_use);
        TAILQ_INSERT_TAIL(&p->uses, &p->entries[pages[i]], by_use);
    }
    return count;
}

static void add(struct prefix *p, int32_t page, const uint8_t key[SHA256_BYTES])
{
    struct entry *entry = &p->entries[page];
    assert(!entry->used && kvcache_page_references(p->kv, page) > 0);
    memcpy(entry->key, key, SHA256_BYTES);
    entry->used = true;
    LIST_INSERT_HEAD(bucket_of(p, key), entry, same_bucket);
    TAILQ_INSERT_TAIL(&p->uses, entry, by_use);
    kvcache_page_ref(p->kv, page);
    p->count++;
}

void prefix_keep(struct prefix *p, struct prefix_chain *chain, const int32_t *tokens, const int32_t *pages,
                 int count)
{
    uint8_t key[SHA256_BYTES];
    while (chain->pages < count) {
        int32_t page = pages[chain->pages];
        next_key(chain, tokens, key);
        if (!find(p, key) && !p->entries[page].used)
            add(p, page, key);
        advance(chain, key);
    }
}

void prefix_make_room(struct prefix *p, int count)
{
    for (struct entry *entry = TAILQ_FIRST(&p->uses), *newer; entry && kvcache_pages_free(p->kv) < count;
         entry = newer) {
        newer = TAILQ_NEXT(entry, by_use);
        if (kvcache_page_references(p->kv, page_of(p, entry)) == 1)
            forget(p, entry);
    }
}

int prefix_pages(const struct prefix *p)
{
    return p->count;
}
