#include "core/system/hugepage.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Below a huge page, a mapping of its own costs more than it gives. */
enum { MAPPED_FROM = 2 << 20, ALIGNMENT = 64 };

void *hugepage_new(size_t bytes)
{
    if (bytes < MAPPED_FROM) {
        size_t whole = (bytes / ALIGNMENT + 1) * ALIGNMENT;
        void *p = aligned_alloc(ALIGNMENT, whole);
        return p ? memset(p, 0, whole) : NULL;
    }
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    madvise(p, bytes, MADV_HUGEPAGE); /* a wish: it works without */
    return p;
}

void hugepage_free(void *p, size_t bytes)
{
    if (!p || bytes < MAPPED_FROM)
        free(p);
    else
        munmap(p, bytes);
}
