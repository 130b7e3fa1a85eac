/* The two tables of a BPE vocabulary: strings <-> ids, and pairs of ids -> merged id with its rank. They own
 * their memory; built by one thread, then read by any. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/buf.h"
#include "core/base/err.h"

enum { VOCAB_ID_LIMIT = 1 << 22 }; /* ids are below this: four million */

struct vocab_entry {
    uint32_t offset, length; /* into `strings`; length VOCAB_ABSENT: no such id */
};
enum { VOCAB_ABSENT = -1 };

struct vocab {
    struct buf strings;          /* every string, one behind the other */
    struct vocab_entry *entries; /* owned [size], by id */
    size_t size;                 /* highest id + 1 */
    size_t count;                /* strings in it */
    size_t longest;              /* bytes of the longest string */
    int32_t *slots;              /* owned [slot_count]: ids by hash, -1 free */
    size_t slot_count;           /* a power of two */
};

/* Room for `count` strings with ids below `size`. Error: "out_of_memory". */
MUST_USE int vocab_init(struct vocab *v, size_t count, size_t size, struct err *e);
/* Errors: "tokenizer_malformed" (string or id twice, id out of range), "out_of_memory". */
MUST_USE int vocab_add(struct vocab *v, const char *text, size_t length, int64_t id, struct err *e);
int32_t vocab_find(const struct vocab *v, const char *text, size_t length); /* id, or -1 */
/* The string of an id; NULL where there is none. */
const char *vocab_string(const struct vocab *v, int32_t id, size_t *length);
void vocab_fini(struct vocab *v);

struct merge {
    int32_t left, right; /* left -1: free slot */
    uint32_t rank;       /* the lower, the earlier */
    int32_t id;
};
struct merges {
    struct merge *slots; /* owned [slot_count] */
    size_t slot_count;   /* a power of two */
};
MUST_USE int merges_init(struct merges *m, size_t count, struct err *e);
/* A pair that is there already takes the later rank. */
void merges_add(struct merges *m, int32_t left, int32_t right, uint32_t rank, int32_t id);
const struct merge *merges_find(const struct merges *m, int32_t left, int32_t right); /* or NULL */
void merges_fini(struct merges *m);
