/* The bytes that a tokenizer's tokens add to a text, in a trie. */
#pragma once
#include "core/grammar/tokens/token_trie.h"
#include "core/tokenizer/tokenizer.h"

/* For a model of `vocab_size` logits. `ends` end a text. Special tokens are TOKEN_SPECIAL_BYTE and their
 * name. Errors: "out_of_memory", those of tokenizer_decode. */
MUST_USE int token_bytes_trie(struct token_trie **out, const struct tokenizer *t, int vocab_size,
                              const int32_t *ends, size_t end_count, struct err *e);
