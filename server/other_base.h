/* Another base under the same data: which versions it refuses, and --accept-base, which proves them anew. At
 * the start, when registry and engine are there and nobody is served yet. */
#pragma once
#include "core/base/err.h"

struct server;

/* Refuses the versions of other bases, or proves them on this one; the log names those that stay refused. */
MUST_USE int other_base_settle(struct server *s, struct err *e);
