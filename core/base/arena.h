/* Memory that is given back as a whole: allocations are aligned for every type, cannot be freed one by one,
 * and are overwritten at the end, since prompts are in them. One thread at a time. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct arena_block;

struct arena { /* zero-initialize, set bytes_max */
    struct arena_block *last;
    size_t bytes, bytes_max;
    bool full; /* an allocation failed because of bytes_max, not of the machine's memory */
};

void *arena_alloc(struct arena *a, size_t size); /* not initialized; NULL: none left */
void arena_fini(struct arena *a);
