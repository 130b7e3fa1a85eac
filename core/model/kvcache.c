#include "core/model/kvcache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct kvcache {
    int layers, kv_size, pages;
    float *memory; /* owned: [pages, layers, 2, KV_PAGE_TOKENS, kv_size] */
    size_t bytes;
    int32_t *free_list; /* owned: stack of free pages */
    int free_count;
};

static size_t page_floats(const struct kvcache *k)
{
    return (size_t)k->layers * 2 * KV_PAGE_TOKENS * (size_t)k->kv_size;
}

int kvcache_new(struct kvcache **out, int layers, int kv_size, size_t bytes, struct err *e)
{
    struct kvcache *k = calloc(1, sizeof *k);
    if (!k)
        return err_memory(e);
    *k = (struct kvcache){.layers = layers, .kv_size = kv_size};
    size_t page_bytes = page_floats(k) * sizeof(float), pages = bytes / page_bytes;
    k->pages = pages < 1 ? 1 : pages > INT32_MAX / KV_PAGE_TOKENS ? INT32_MAX / KV_PAGE_TOKENS : (int)pages;
    k->bytes = (size_t)k->pages * page_bytes;
    k->free_list = calloc((size_t)k->pages, sizeof *k->free_list);
    void *memory = mmap(NULL, k->bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    k->memory = memory == MAP_FAILED ? NULL : memory;
    if (!k->free_list || !k->memory) {
        kvcache_free(k);
        return err_set(e, "out_of_memory", "cannot get %zu bytes of memory for the KV cache", bytes);
    }
    for (int i = 0; i < k->pages; i++)
        k->free_list[i] = k->pages - 1 - i;
    k->free_count = k->pages;
    *out = k;
    return 0;
}

void kvcache_free(struct kvcache *k)
{
    if (!k)
        return;
    if (k->memory)
        munmap(k->memory, k->bytes);
    free(k->free_list);
    free(k);
}

int kvcache_pages(const struct kvcache *k)
{
    return k->pages;
}

int kvcache_pages_free(const struct kvcache *k)
{
    return k->free_count;
}

bool kvcache_reserve(struct kvcache *k, struct kv_sequence *s, int tokens)
{
    int wanted = (tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS, more = wanted - s->page_count;
    if (more <= 0)
        return true;
    if (more > k->free_count)
        return false;
    int32_t *pages = realloc(s->pages, (size_t)wanted * sizeof *pages);
    if (!pages)
        return false;
    s->pages = pages;
    while (s->page_count < wanted)
        s->pages[s->page_count++] = k->free_list[--k->free_count];
    return true;
}

void kvcache_release(struct kvcache *k, struct kv_sequence *s)
{
    while (s->page_count > 0)
        k->free_list[k->free_count++] = s->pages[--s->page_count];
    free(s->pages);
    s->pages = NULL;
}

static float *page_at(struct kvcache *k, int layer, int page, int which)
{
    size_t index = ((size_t)page * (size_t)k->layers + (size_t)layer) * 2 + (size_t)which;
    return k->memory + index * KV_PAGE_TOKENS * (size_t)k->kv_size;
}

float *kvcache_key_page(struct kvcache *k, int layer, int page)
{
    return page_at(k, layer, page, 0);
}

float *kvcache_value_page(struct kvcache *k, int layer, int page)
{
    return page_at(k, layer, page, 1);
}
