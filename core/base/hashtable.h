/* A hash table of links that live inside the caller's items: adding never allocates for the item and never
 * fails, so it may follow a commit. Several items may have the same hash; the caller compares. The caller
 * locks. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct hashtable_link {
    struct hashtable_link *next;
    uint64_t hash;
};

struct hashtable {
    struct hashtable_link **buckets; /* [1 << bits], owned */
    int bits;
    size_t count;
};

/* The item that holds `link` as `member`; NULL for NULL. */
#define HASHTABLE_ITEM(link, type, member) ((type *)hashtable_item((link), offsetof(type, member)))

MUST_USE int hashtable_init(struct hashtable *t, struct err *e);
void hashtable_fini(struct hashtable *t); /* the items are the caller's */
/* Where memory for more buckets is missing, the chains grow longer instead. */
void hashtable_add(struct hashtable *t, struct hashtable_link *link, uint64_t hash);
void hashtable_remove(struct hashtable *t, struct hashtable_link *link); /* it is in the table */
struct hashtable_link *hashtable_first(const struct hashtable *t, uint64_t hash);
struct hashtable_link *
hashtable_next(const struct hashtable_link *link); /* with the same hash; NULL: no more */
void *hashtable_item(struct hashtable_link *link, size_t offset);
