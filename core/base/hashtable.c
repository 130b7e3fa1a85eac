#include "core/base/hashtable.h"

#include <stdlib.h>

enum { BITS_FIRST = 6, BITS_MAX = 26 };

static size_t bucket_of(uint64_t hash, int bits)
{
    return (size_t)((hash * UINT64_C(0x9E3779B97F4A7C15)) >>
                    (64 - bits)); /* golden ratio: spreads small numbers */
}

int hashtable_init(struct hashtable *t, struct err *e)
{
    struct hashtable_link **buckets = calloc((size_t)1 << BITS_FIRST, sizeof *buckets);
    if (!buckets)
        return err_memory(e);
    *t = (struct hashtable){.buckets = buckets, .bits = BITS_FIRST};
    return 0;
}

void hashtable_fini(struct hashtable *t)
{
    free(t->buckets);
    *t = (struct hashtable){0};
}

static void grow(struct hashtable *t)
{
    int bits = t->bits + 1;
    struct hashtable_link **buckets = calloc((size_t)1 << bits, sizeof *buckets);
    if (!buckets)
        return;
    for (size_t i = 0; i < (size_t)1 << t->bits; i++) {
        for (struct hashtable_link *link = t->buckets[i], *next; link; link = next) {
            next = link->next;
            struct hashtable_link **bucket = &buckets[bucket_of(link->hash, bits)];
            link->next = *bucket;
            *bucket = link;
        }
    }
    free(t->buckets);
    t->buckets = buckets;
    t->bits = bits;
}

void hashtable_add(struct hashtable *t, struct hashtable_link *link, uint64_t hash)
{
    if (t->count >= (size_t)1 << t->bits && t->bits < BITS_MAX)
        grow(t);
    struct hashtable_link **bucket = &t->buckets[bucket_of(hash, t->bits)];
    *link = (struct hashtable_link){.next = *bucket, .hash = hash};
    *bucket = link;
    t->count++;
}

void hashtable_remove(struct hashtable *t, struct hashtable_link *link)
{
    struct hashtable_link **at = &t->buckets[bucket_of(link->hash, t->bits)];
    while (*at != link)
        at = &(*at)->next;
    *at = link->next;
    t->count--;
}

static struct hashtable_link *skip_others(struct hashtable_link *link, uint64_t hash)
{
    while (link && link->hash != hash)
        link = link->next;
    return link;
}

struct hashtable_link *hashtable_first(const struct hashtable *t, uint64_t hash)
{
    return skip_others(t->buckets[bucket_of(hash, t->bits)], hash);
}

struct hashtable_link *hashtable_next(const struct hashtable_link *link)
{
    return skip_others(link->next, link->hash);
}

void *hashtable_item(struct hashtable_link *link, size_t offset)
{
    return link ? (char *)link - offset : NULL;
}
