/* Lists of the daemon, {"data": [...], "next": cursor}, followed to their end. One thread. */
#pragma once
#include <jansson.h>

#include "cli/args.h"
#include "cli/commands.h"

/* All items of `path` (which may have a query), or the first so many of --limit, as one object of the same
 * form; the caller's reference. */
int list_fetch(struct context *c, const struct args *a, const char *path, json_t **out, struct err *e);
