/* A grammar over a vocabulary: what may come next in each text that is being written under it. Owns the
 * states that texts have been in, and the masks of their tokens, which are kept for the texts that come by
 * later, up to GUIDE_BYTES_MAX; then both are begun anew. What is answered does not depend on what is kept.
 *
 * Any thread may count references, and make new texts; from its first mask or token on a text belongs to one
 * thread, all texts of a guide to the same. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/grammar/automaton/automaton.h"
#include "core/grammar/tokens/token_trie.h"

enum { GUIDE_BYTES_MAX = 16 << 20 };

struct guide;
/* Takes a reference of the automaton; borrows the tokens. */
MUST_USE int guide_new(struct guide **out, struct automaton *a, const struct token_trie *tokens,
                       struct err *e);
struct guide *guide_ref(struct guide *g);
void guide_unref(struct guide *g);         /* NULL is fine */
size_t guide_bytes(const struct guide *g); /* the owner's thread: memory that it holds now */

struct guide_mask {
    const uint64_t *bits; /* [words of the vocabulary] tokens that may come next, ends among them */
    int32_t count, first; /* how many, and the lowest of them */
    bool ends_only;       /* nothing but an end of the text may come next */
};

struct guide_text; /* one text, at its beginning when it is new */
MUST_USE int guide_text_new(struct guide_text **out, struct guide *g, struct err *e);
MUST_USE int guide_text_copy(struct guide_text **out, const struct guide_text *t, struct err *e);
void guide_text_free(struct guide_text *t); /* NULL is fine */

/* *out holds until the next call for a text of this guide. Errors: "out_of_memory", "grammar_stuck" (no token
 * of the vocabulary leads on). */
MUST_USE int guide_text_mask(struct guide_text *t, struct guide_mask *out, struct err *e);
/* The text goes on with a token. Errors: "out_of_memory", "token_not_allowed" (nor does the text change). */
MUST_USE int guide_text_accept(struct guide_text *t, int32_t token, struct err *e);
bool guide_text_ended(const struct guide_text *t); /* an end was accepted */
