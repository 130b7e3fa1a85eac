/* Which tokens may come next in a state: those whose bytes lead on, and the ends of the text where it may
 * end. Owns nothing. One thread at a time, that of the states. */
#pragma once
#include <stdint.h>

#include "core/grammar/automaton/states.h"
#include "core/grammar/tokens/token_trie.h"

enum {
    /* New states and their places that one mask looks at. Beyond that, only tokens of one byte are offered:
     * still texts of the grammar, and any of them can be written. It depends on the state alone, not on what
     * is known already. */
    TOKEN_MASK_WORK = 10 << 10,
};

/* mask [words] becomes the tokens. `at_start`: of the text's first token. 0, or -1: out of memory. */
int token_mask_fill(struct states *s, const struct token_trie *t, int32_t state, bool at_start,
                    uint64_t *mask);
