#include "core/kv/prefix.h"

#include <stdlib.h>
#include <string.h>

enum { NONE = -1 };

/* One per KV page: a page is in the cache at most once. */
struct entry {
    uint8_t key[SHA256_BYTES];
    bool used;
    int32_t next_in_bucket;
    int32_t newer, older; /* by last use */
};

struct prefix {
    struct kvcache *kv;
    struct entry *entries; /* owned, [pages of the KV cache] */
    int32_t *buckets;      /* owned, [bucket_mask + 1] */
    uint32_t bucket_mask;
    int32_t newest, oldest;
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
    *p = (struct prefix){.kv = kv, .bucket_mask = buckets - 1, .newest = NONE, .oldest = NONE};
    p->entries = calloc((size_t)kvcache_pages(kv), sizeof *p->entries);
    p->buckets = malloc(buckets * sizeof *p->buckets);
    if (!p->entries || !p->buckets) {
        free(p->entries);
        free(p->buckets);
        free(p);
        return err_memory(e);
    }
    for (uint32_t i = 0; i < buckets; i++)
        p->buckets[i] = NONE;
    *out = p;
    return 0;
}

static int32_t *bucket_of(const struct prefix *p, const uint8_t *key)
{
    uint32_t hash;
    memcpy(&hash, key, sizeof hash);
    return &p->buckets[hash & p->bucket_mask];
}

static int32_t find(const struct prefix *p, const uint8_t *key)
{
    int32_t page = *bucket_of(p, key);
    while (page != NONE && memcmp(p->entries[page].key, key, SHA256_BYTES) != 0)
        page = p->entries[page].next_in_bucket;
    return page;
}

static void list_remove(struct prefix *p, int32_t page)
{
    struct entry *e = &p->entries[page];
    *(e->newer == NONE ? &p->newest : &p->entries[e->newer].older) = e->older;
    *(e->older == NONE ? &p->oldest : &p->entries[e->older].newer) = e->newer;
}

static void list_add_newest(struct prefix *p, int32_t page)
{
    struct entry *e = &p->entries[page];
    e->newer = NONE;
    e->older = p->newest;
    *(p->newest == NONE ? &p->oldest : &p->entries[p->newest].newer) = page;
    p->newest = page;
}

static void forget(struct prefix *p, int32_t page)
{
    int32_t *link = bucket_of(p, p->entries[page].key);
    while (*link != page)
        link = &p->entries[*link].next_in_bucket;
    *link = p->entries[page].next_in_bucket;
    list_remove(p, page);
    p->entries[page].used = false;
    p->count--;
    kvcache_page_unref(p->kv, page);
}

void prefix_free(struct prefix *p)
{
    if (!p)
        return;
    while (p->newest != NONE)
        forget(p, p->newest);
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
        int32_t page = find(p, key);
        if (page == NONE)
            break;
        pages[count] = page;
        advance(chain, key);
    }
    for (int i = count - 1; i >= 0; i--) { /* the end of a chain goes before its beginning */
        list_remove(p, pages[i]);
        list_add_newest(p, pages[i]);
    }
    return count;
}

static void add(struct prefix *p, int32_t page, const uint8_t key[SHA256_BYTES])
{
    struct entry *e = &p->entries[page];
    int32_t *bucket = bucket_of(p, key);
    memcpy(e->key, key, SHA256_BYTES);
    e->used = true;
    e->next_in_bucket = *bucket;
    *bucket = page;
    list_add_newest(p, page);
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
        if (find(p, key) == NONE && !p->entries[page].used)
            add(p, page, key);
        advance(chain, key);
    }
}

void prefix_make_room(struct prefix *p, int count)
{
    int32_t page = p->oldest;
    while (page != NONE && kvcache_pages_free(p->kv) < count) {
        int32_t newer = p->entries[page].newer;
        if (kvcache_page_references(p->kv, page) == 1)
            forget(p, page);
        page = newer;
    }
}

int prefix_pages(const struct prefix *p)
{
    return p->count;
}
