/* A grammar compiled to a pushdown automaton over bytes: states with edges for ranges of bytes, splits, calls
 * that remember where to go on, and ends that go on there. Immutable once compiled and counted by reference;
 * any thread may use it. Never reads text itself: states.h does. */
#pragma once
#include <stdint.h>

#include "core/grammar/grammar.h"

enum {
    AUTOMATON_STATES_MAX = 1 << 18,
    AUTOMATON_CALLS_MAX = 512, /* calls within calls while a text is written */
};

enum automaton_kind {
    AUTOMATON_BYTES, /* goes on over one of the edges a..a + b */
    AUTOMATON_SPLIT, /* goes on at a and at b, reading nothing */
    AUTOMATON_CALL,  /* goes on at a, and at b when that has ended; b -1: the caller's end is its own */
    AUTOMATON_END,
};

struct automaton_state {
    enum automaton_kind kind;
    int32_t a, b;
    int32_t need; /* calls within calls that it takes at least until its rule ends */
};

struct automaton_edge { /* for the bytes low..high */
    uint8_t low, high;
    int32_t to;
};

struct automaton {
    const struct automaton_state *states;
    const struct automaton_edge *edges;
    int state_count, edge_count, start;
    uint8_t class_of[256]; /* bytes of one class go the same way everywhere */
    int class_count;
};

/* Compiles and changes `g` (analysis.h). Errors: those of analysis_run, "grammar_too_large",
 * "grammar_too_deep". */
MUST_USE int automaton_compile(struct automaton **out, struct grammar *g, struct err *e);
struct automaton *automaton_ref(struct automaton *a);
void automaton_unref(struct automaton *a); /* NULL is fine */
