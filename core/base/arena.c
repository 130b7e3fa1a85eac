#include "core/base/arena.h"

#include <stdlib.h>
#include <string.h>

struct arena_block {
    struct arena_block *before;
    size_t used, capacity;
    _Alignas(16) char data[];
};

enum { BLOCK_BYTES = 16 << 10, BLOCK_BYTES_MAX = 1 << 20 };

static struct arena_block *add_block(struct arena *a, size_t size)
{
    size_t capacity = a->last ? 2 * a->last->capacity : BLOCK_BYTES;
    if (capacity > BLOCK_BYTES_MAX)
        capacity = BLOCK_BYTES_MAX;
    if (capacity < size)
        capacity = size;
    struct arena_block *b = malloc(sizeof *b + capacity);
    if (!b)
        return NULL;
    b->before = a->last;
    b->used = 0;
    b->capacity = capacity;
    a->last = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > a->bytes_max - a->bytes) {
        a->full = true;
        return NULL;
    }
    size_t rounded = (size + 15) & ~(size_t)15;
    struct arena_block *b = a->last;
    if (!b || rounded > b->capacity - b->used)
        b = add_block(a, rounded);
    if (!b)
        return NULL;
    void *out = b->data + b->used;
    b->used += rounded;
    a->bytes += size;
    return out;
}

void arena_fini(struct arena *a)
{
    struct arena_block *b = a->last;
    while (b) {
        struct arena_block *before = b->before;
        explicit_bzero(b->data, b->used);
        free(b);
        b = before;
    }
    *a = (struct arena){.bytes_max = a->bytes_max};
}
