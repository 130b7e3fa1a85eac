#include "adapters/table.h"

#include <stdlib.h>

enum { BITS_FIRST = 6, BITS_MAX = 26 };

static size_t bucket_of(uint64_t hash, int bits)
{
    return (size_t)((hash * UINT64_C(0x9E3779B97F4A7C15)) >>
                    (64 - bits)); /* golden ratio: spreads small numbers */
}

int table_init(struct table *t, struct err *e)
{
    struct table_link **buckets = calloc((size_t)1 << BITS_FIRST, sizeof *buckets);
    if (!buckets)
        return err_memory(e);
    *t = (struct table){.buckets = buckets, .bits = BITS_FIRST};
    return 0;
}

void table_fini(struct table *t)
{
    free(t->buckets);
    *t = (struct table){0};
}

static void grow(struct table *t)
{
    int bits = t->bits + 1;
    struct table_link **buckets = calloc((size_t)1 << bits, sizeof *buckets);
    if (!buckets)
        return;
    for (size_t i = 0; i < (size_t)1 << t->bits; i++) {
        for (struct table_link *link = t->buckets[i], *next; link; link = next) {
            next = link->next;
            struct table_link **bucket = &buckets[bucket_of(link->hash, bits)];
            link->next = *bucket;
            *bucket = link;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->bits = bits;
}

void table_add(struct table *t, struct table_link *link, uint64_t hash)
{
    if (t->count >= (size_t)1 << t->bits && t->bits < BITS_MAX)
        grow(t);
    struct table_link **bucket = &t->buckets[bucket_of(hash, t->bits)];
    *link = (struct table_link){.next = *bucket, .hash = hash};
    *bucket = link;
    t->count++;
}

void table_remove(struct table *t, struct table_link *link)
{
    struct table_link **at = &t->buckets[bucket_of(link->hash, t->bits)];
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    t->count--;
}

static struct table_link *skip_others(struct table_link *link, uint64_t hash)
{
    while (link && link->hash != hash)
        link = link->next;
    return link;
}

struct table_link *table_first(const struct table *t, uint64_t hash)
{
    return skip_others(t->buckets[bucket_of(hash, t->bits)], hash);
}

struct table_link *table_next(const struct table_link *link)
{
    return skip_others(link->next, link->hash);
}

void *table_item(struct table_link *link, size_t offset)
{
    return link ? (char *)link - offset : NULL;
}
