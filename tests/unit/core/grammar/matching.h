/* For tests of grammars: does a text match, and where does it stop to? */
#pragma once
#include <stdbool.h>

#include "core/grammar/automaton/automaton.h"

/* Fails the test where the grammar does not compile. Gives the grammar up. */
struct automaton *matching_compile(struct grammar *g);
/* The whole text is one of the grammar. */
bool matching_whole(const struct automaton *a, const char *text, size_t length);
/* Bytes of the text that texts of the grammar begin with. */
size_t matching_prefix(const struct automaton *a, const char *text, size_t length);
