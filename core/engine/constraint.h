/* What a text has to be, as the engine sees it: which tokens may come next, and that one came. Whoever hands
 * a constraint in fills the functions; the engine knows no grammars. Used by the engine's thread alone once
 * it was submitted; the engine frees it. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct constraint_mask {
    const uint64_t *bits; /* [vocab_size] bits, the lowest of a word first; ends of the text among them */
    int32_t count,
        first;      /* how many are set, one at least, and the lowest: the token, where it is the only one */
    bool ends_only; /* nothing but an end may come: the text is complete */
};

struct constraint {
    /* *out holds until the engine uses another constraint, or this one again. Error: the text cannot go on.
     */
    int (*mask)(struct constraint *c, struct constraint_mask *out, struct err *e);
    int (*accept)(struct constraint *c, int32_t token, struct err *e); /* one of the mask */
    struct constraint *(*copy)(const struct constraint *c);            /* NULL: out of memory */
    void (*free)(struct constraint *c);
};
