/* The bytes of a vocabulary's tokens as a tree, laid out in the order of a walk from the top, so that a walk
 * that leaves subtrees out is a loop. Made once for a model; immutable, any thread.
 *
 * Tokens of plain text, whole characters that JSON writes in a string as they are, have a tree of their own:
 * where a grammar takes any such character, they need not be walked at all. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum {
    TOKEN_BYTES_MAX = 512,    /* a longer token is never offered */
    TOKEN_PLAIN_MAX = 32,     /* characters up to which plain tokens are sorted by length */
    TOKEN_SPECIAL_BYTE = 0xFF /* before the name of a special token: no text has that byte, a grammar may */
};

struct token_text { /* of one token; no bytes: it is never offered */
    const char *bytes;
    size_t length;
};

struct token_node {
    uint32_t skip;      /* nodes of its subtree, itself among them */
    int32_t first;      /* in ids */
    uint16_t count;     /* tokens that end here */
    uint16_t depth;     /* 1: the first byte */
    uint16_t chars_max; /* plain tree: characters of the longest token in the subtree */
    uint8_t byte;
};

struct token_tree {
    struct token_node *nodes; /* owned, as the arrays below */
    uint32_t node_count;
    int32_t *ids;
    int32_t id_count;
};

struct token_trie {
    int vocab_size;
    size_t words; /* of a set of tokens: vocab_size bits, the lowest bit first */
    struct token_tree plain, other;
    int plain_chars;          /* of the longest plain token */
    uint64_t *plain_up_to;    /* [TOKEN_PLAIN_MAX + 1, words] plain tokens of so many characters at most */
    uint64_t *plain_all;      /* [words] */
    uint64_t *ends;           /* [words] the tokens that end a text */
    char *bytes;              /* of all tokens */
    size_t *begins;           /* [vocab_size + 1] in bytes */
    bool first_space_dropped; /* the text's first token loses a space at its beginning */
};

/* `tokens` [vocab_size] is read, not kept. `ends`: tokens that end a text, which have no bytes of their own.
 * Error: "out_of_memory". */
MUST_USE int token_trie_new(struct token_trie **out, const struct token_text *tokens, int vocab_size,
                            const int32_t *ends, size_t end_count, struct err *e);
void token_trie_free(struct token_trie *t); /* NULL is fine */
size_t token_trie_bytes(const struct token_trie *t, int32_t token, const char **bytes);
