/* Added tokens: strings that are found in the text before it is split, and become their token as a whole.
 * Read-only once loaded: any thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum { ADDED_LENGTH_MAX = 1024 }; /* bytes of one added token */

struct added_token {
    char *content; /* owned */
    size_t content_length;
    char *normalized_content; /* owned; NULL: not normalized, or the same. What is looked for, and what is
                                 decoded. */
    size_t normalized_length;
    int32_t id;
    bool single_word, lstrip, rstrip, normalized, special;
};

/* A trie over the bytes of the strings to find. Children of a node are a linked list. */
struct added_node {
    int32_t child, sibling; /* index, -1: none */
    int32_t token;          /* index of the token that ends here, -1: none */
    unsigned char byte;
};
struct added_trie {
    struct added_node *nodes; /* owned; node 0 is the root */
    size_t count, capacity;
    int32_t first[256]; /* the root's children by byte, -1: none */
};

struct added {
    struct added_token *tokens; /* owned; each content once */
    size_t count, capacity;
    struct added_trie raw;        /* looked for in the text as it came */
    struct added_trie normalized; /* looked for in the normalized text */
};

/* Build both tries. Errors: "tokenizer_unsupported" (no telling what would match), "out_of_memory". */
MUST_USE int added_index(struct added *a, struct err *e);
void added_fini(struct added *a);
/* The string that is looked for and that the id decodes to. */
const char *added_pattern(const struct added_token *t, size_t *length);

/* Cut `text` at its added tokens: `emit` gets every stretch in order, with the token's id or -1 for plain
 * text. The longest token at the leftmost place wins. Linear in the text. A result other than 0 ends it. */
MUST_USE int added_split(const struct added *a, const struct added_trie *trie, const char *text,
                         size_t length, int (*emit)(void *arg, size_t from, size_t to, int32_t id),
                         void *arg);
