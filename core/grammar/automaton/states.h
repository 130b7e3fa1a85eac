/* Where a text can be in an automaton, made deterministic as texts get there: a state is a set of places,
 * each with the calls that it is in. States are found again by their places, so that whatever has been worked
 * out once (the next state for a byte, a mask) holds for every text that comes by. Owns the states, which
 * only grow in number; states_move carries one over to a new `struct states`. One thread at a time.
 *
 * A set has at most STATES_PLACES_MAX places: of a grammar that is so ambiguous that there are more, the ones
 * found last are given up. Texts that go on are still texts of the grammar, and every place can end. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"
#include "core/grammar/automaton/automaton.h"

enum {
    STATES_DEAD = 0, /* no text of the grammar goes on like this */
    STATES_NONE = -1 /* out of memory, or not known yet */
};
enum { STATES_PLACES_MAX = 4096, STATES_STEPS_MAX = 16384 /* without reading, for one state */ };

struct states_set {
    int32_t first, count; /* of its places */
    uint32_t hash;
    uint32_t walk; /* the last one that came by */
    bool accepts;  /* a text may end here */
    int32_t note;  /* whoever uses the states may note something here; 0 at first */
};

struct states {
    const struct automaton *automaton; /* borrowed */
    int32_t *next;           /* [count, class_count] the state behind each class of bytes, or NONE */
    struct states_set *sets; /* [count] */
    int32_t count;
    size_t bytes;  /* what it holds of memory */
    uint32_t walk; /* states_begin_walk */
    struct states_inside *inside;
};

MUST_USE int states_new(struct states **out, const struct automaton *a, struct err *e);
void states_free(struct states *s); /* NULL is fine */
int32_t states_start(struct states *s);
/* Works out what is not known yet. */
int32_t states_compute(struct states *s, int32_t state, uint8_t byte);
int32_t states_move(struct states *s, const struct states *from, int32_t state);

/* The state behind a byte: DEAD, or NONE when memory ran out. */
static inline int32_t states_next(struct states *s, int32_t state, uint8_t byte)
{
    size_t at = (size_t)state * (size_t)s->automaton->class_count + s->automaton->class_of[byte];
    int32_t next = s->next[at];
    return next != STATES_NONE ? next : states_compute(s, state, byte);
}
