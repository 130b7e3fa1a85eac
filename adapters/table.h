/* A hash table of links that live inside the caller's items: adding never allocates for the item and never
 * fails, so it may follow a commit. Several items may have the same hash; the caller compares. The caller
 * locks. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

struct table_link {
    struct table_link *next;
    uint64_t hash;
};

struct table {
    struct table_link **buckets; /* [1 << bits], owned */
    int bits;
    size_t count;
};

/* The item that holds `link` as `member`; NULL for NULL. */
#define TABLE_ITEM(link, type, member) ((type *)table_item((link), offsetof(type, member)))

int table_init(struct table *t, struct err *e);
void table_fini(struct table *t); /* the items are the caller's */
/* Where memory for more buckets is missing, the chains grow longer instead. */
void table_add(struct table *t, struct table_link *link, uint64_t hash);
void table_remove(struct table *t, struct table_link *link); /* it is in the table */
struct table_link *table_first(const struct table *t, uint64_t hash);
struct table_link *table_next(const struct table_link *link); /* with the same hash; NULL: no more */
void *table_item(struct table_link *link, size_t offset);
