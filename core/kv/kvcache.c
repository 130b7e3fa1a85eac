#include "core/kv/kvcache.h"

#include <assert.h>
#include <stdlib.h>

#include "core/system/hugepage.h"

struct kvcache {
    struct kv_shape shape;
    int pages;
    char *memory;             /* owned: [pages, layers, heads, keys and values] */
    size_t bytes, head_bytes; /* in all; of one head's keys in one page */
    int32_t *free_list;       /* owned: stack of free pages */
    int free_count;
    int32_t *references; /* owned, [pages] */
    int32_t *sequences;  /* owned, [pages]: of these, sequences */
    int held_count;      /* pages that any has */
};

size_t kvcache_page_bytes(const struct kv_shape *s)
{
    return (size_t)s->layers * (size_t)s->heads * 2 * attention_page_bytes(s->type, s->dim);
}

int kvcache_new(struct kvcache **out, const struct kv_shape *s, size_t bytes, struct err *e)
{
    struct kvcache *k = calloc(1, sizeof *k);
    if (!k)
        return err_memory(e);
    size_t page_bytes = kvcache_page_bytes(s), pages = bytes / page_bytes;
    k->shape = *s;
    k->head_bytes = attention_page_bytes(s->type, s->dim);
    k->pages = pages < 1 ? 1 : pages > INT32_MAX / KV_PAGE_TOKENS ? INT32_MAX / KV_PAGE_TOKENS : (int)pages;
    k->bytes = (size_t)k->pages * page_bytes;
    k->free_list = calloc((size_t)k->pages, sizeof *k->free_list);
    k->references = calloc((size_t)k->pages, sizeof *k->references);
    k->sequences = calloc((size_t)k->pages, sizeof *k->sequences);
    k->memory = hugepage_new(k->bytes);
    if (!k->free_list || !k->references || !k->sequences || !k->memory) {
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
    hugepage_free(k->memory, k->bytes);
    free(k->free_list);
    free(k->references);
    free(k->sequences);
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

int kvcache_pages_held(const struct kvcache *k)
{
    return k->held_count;
}

/* The next page of a sequence, whose reference is there already. */
static void add_page(struct kvcache *k, struct kv_sequence *s, int32_t page)
{
    if (k->sequences[page]++ == 0)
        k->held_count++;
    s->pages[s->page_count++] = page;
}

static bool grow(struct kv_sequence *s, int count)
{
    int32_t *pages = realloc(s->pages, (size_t)count * sizeof *pages);
    if (pages)
        s->pages = pages;
    return pages != NULL;
}

bool kvcache_reserve(struct kvcache *k, struct kv_sequence *s, int tokens)
{
    int wanted = (tokens + KV_PAGE_TOKENS - 1) / KV_PAGE_TOKENS, more = wanted - s->page_count;
    if (more <= 0)
        return true;
    if (more > k->free_count || !grow(s, wanted))
        return false;
    while (s->page_count < wanted) {
        int32_t page = k->free_list[--k->free_count];
        assert(k->references[page] == 0);
        k->references[page] = 1;
        add_page(k, s, page);
    }
    return true;
}

bool kvcache_share(struct kvcache *k, struct kv_sequence *s, const int32_t *pages, int count)
{
    assert(s->page_count == 0);
    if (count == 0)
        return true;
    if (!grow(s, count))
        return false;
    for (int i = 0; i < count; i++) {
        kvcache_page_ref(k, pages[i]);
        add_page(k, s, pages[i]);
    }
    return true;
}

void kvcache_release(struct kvcache *k, struct kv_sequence *s)
{
    while (s->page_count > 0) {
        int32_t page = s->pages[--s->page_count];
        if (--k->sequences[page] == 0)
            k->held_count--;
        kvcache_page_unref(k, page);
    }
    free(s->pages);
    s->pages = NULL;
}

/* What is given or counted was taken, and by somebody. */
static void check_held(const struct kvcache *k, int32_t page)
{
    assert(page >= 0 && page < k->pages);
    assert(k->references[page] > 0 && k->free_count < k->pages);
}

void kvcache_page_ref(struct kvcache *k, int32_t page)
{
    check_held(k, page);
    k->references[page]++;
}

void kvcache_page_unref(struct kvcache *k, int32_t page)
{
    check_held(k, page);
    if (--k->references[page] == 0)
        k->free_list[k->free_count++] = page;
}

int kvcache_page_references(const struct kvcache *k, int32_t page)
{
    return k->references[page];
}

static char *head_at(struct kvcache *k, int layer, int page, int head)
{
    size_t index =
        ((size_t)page * (size_t)k->shape.layers + (size_t)layer) * (size_t)k->shape.heads + (size_t)head;
    return k->memory + index * 2 * k->head_bytes;
}

void *kvcache_keys(struct kvcache *k, int layer, int page, int head)
{
    return head_at(k, layer, page, head);
}

void *kvcache_values(struct kvcache *k, int layer, int page, int head)
{
    return head_at(k, layer, page, head) + k->head_bytes;
}

enum kv_type kvcache_type(const struct kvcache *k)
{
    return k->shape.type;
}
