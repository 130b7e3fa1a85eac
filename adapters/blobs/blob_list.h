/* Blobs to go through: digest, size and one version that needs it. The caller's storage, zero to begin with;
 * one thread. */
#pragma once
#include "adapters/types/rows.h"

struct blob_entry {
    char digest[SHA256_HEX + 1];
    uint64_t bytes;
    const struct version *version; /* borrowed */
};

struct blob_list {
    struct blob_entry *items; /* owned */
    size_t count, capacity;
};

MUST_USE int blob_list_add(struct blob_list *l, const char *digest, uint64_t bytes, const struct version *v,
                           struct err *e);
void blob_list_sort(struct blob_list *l);   /* by digest */
void blob_list_unique(struct blob_list *l); /* a sorted one: each digest once */
void blob_list_fini(struct blob_list *l);
