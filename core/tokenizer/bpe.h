/* Byte-pair encoding of one word, as the BPE model of `tokenizers` does it (Sennrich et al. 2016, with byte
 * fallback and unknown tokens). struct bpe is read-only once loaded: any thread. struct bpe_work is one
 * thread's memory. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/tokenizer/token_list.h"
#include "core/tokenizer/vocab.h"

enum { BPE_DIRECT = 0x180 }; /* code points whose ids are looked up in an array: all of the byte alphabet */

struct bpe {
    struct vocab vocab;
    struct merges merges;
    bool fuse_unk, byte_fallback, ignore_merges;
    bool has_unk;
    int32_t unk_id;             /* -1: the unk_token is not in the vocabulary, an error when it is needed */
    int32_t byte_ids[256];      /* of <0x00> .. <0xFF>, -1 where missing */
    int32_t direct[BPE_DIRECT]; /* of the one-character strings, -1 where missing */
};
/* Fill byte_ids and direct; the vocabulary must be complete. */
void bpe_index(struct bpe *b);
void bpe_fini(struct bpe *b);

struct bpe_symbol;
struct bpe_candidate;
struct bpe_work {                     /* zero-initialize; free with bpe_work_fini */
    struct bpe_symbol *symbols;       /* owned */
    struct bpe_candidate *candidates; /* owned: a binary heap */
    size_t symbol_capacity, candidate_capacity;
};
/* Append the ids of `word` (valid UTF-8). Time is n log n in its length. Errors: "out_of_memory",
 * "tokenizer_malformed" (the unk_token is needed and not in the vocabulary). */
MUST_USE int bpe_encode(const struct bpe *b, struct bpe_work *w, const char *word, size_t length,
                        struct token_list *out, struct err *e);
void bpe_work_fini(struct bpe_work *w);
