/* Who serves goes before who trains. The engine shuts the gate around its steps; training passes it between
 * small pieces of work (about a millisecond each) and waits where it is shut. Any thread. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "core/base/err.h"

struct gate;

MUST_USE int gate_new(struct gate **out, struct err *e);
void gate_free(struct gate *g); /* NULL is fine */
void gate_shut(struct gate *g);
void gate_open(struct gate *g);
void gate_pass(struct gate *g);            /* waits while it is shut; NULL: returns */
bool gate_is_wanted(const struct gate *g); /* somebody waits before it */
