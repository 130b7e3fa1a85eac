#include "adapters/blobs/blob_list.h"

#include <stdlib.h>
#include <string.h>

int blob_list_add(struct blob_list *l, const char *digest, uint64_t bytes, const struct version *v,
                  struct err *e)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity ? 2 * l->capacity : 64;
        struct blob_entry *items = reallocarray(l->items, capacity, sizeof *items);
        if (!items)
            return err_memory(e);
        l->items = items;
        l->capacity = capacity;
    }
    struct blob_entry *entry = &l->items[l->count++];
    strcpy(entry->digest, digest);
    entry->bytes = bytes;
    entry->version = v;
    return 0;
}

static int compare(const void *left, const void *right)
{
    const struct blob_entry *a = left, *b = right;
    return strcmp(a->digest, b->digest);
}

void blob_list_sort(struct blob_list *l)
{
    if (l->count)
        qsort(l->items, l->count, sizeof *l->items, compare);
}

void blob_list_unique(struct blob_list *l)
{
    size_t kept = 0;
    for (size_t i = 0; i < l->count; i++)
        if (kept == 0 || strcmp(l->items[kept - 1].digest, l->items[i].digest) != 0)
            l->items[kept++] = l->items[i];
    l->count = kept;
}

void blob_list_fini(struct blob_list *l)
{
    free(l->items);
    *l = (struct blob_list){0};
}
