#include "tests/unit/core/grammar/matching.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/grammar/automaton/states.h"

struct automaton *matching_compile(struct grammar *g)
{
    struct automaton *a = NULL;
    struct err e;
    int result = automaton_compile(&a, g, &e);
    grammar_fini(g);
    if (result != 0)
        fail_msg("%s: %s", e.code, e.message);
    return a;
}

static size_t run(const struct automaton *a, const char *text, size_t length, bool *accepts)
{
    struct states *s;
    struct err e;
    assert_int_equal(states_new(&s, a, &e), 0);
    int32_t state = states_start(s);
    size_t at = 0;
    for (; at < length; at++) {
        int32_t next = states_next(s, state, (uint8_t)text[at]);
        assert_int_not_equal(next, STATES_NONE);
        if (next == STATES_DEAD)
            break;
        state = next;
    }
    *accepts = s->sets[state].accepts;
    states_free(s);
    return at;
}

bool matching_whole(const struct automaton *a, const char *text, size_t length)
{
    bool accepts;
    return run(a, text, length, &accepts) == length && accepts;
}

size_t matching_prefix(const struct automaton *a, const char *text, size_t length)
{
    bool accepts;
    return run(a, text, length, &accepts);
}
