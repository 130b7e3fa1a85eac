/* Lists of the daemon, {"data": [...], "next": cursor}, followed to their end. One thread. */
#pragma once
#include <jansson.h>

#include "cli/lib/args.h"
#include "cli/lib/commands.h"

/* How a list is printed: as a table for people, and with --csv, where the command has it, as these
 * members. */
struct list_view {
    int (*print)(const json_t *rows, struct err *e);
    const char *const *columns;
    size_t column_count;
};

/* Print all items of `path` (which may have a query), or the first so many of --limit; with --json as one
 * object of the daemon's form. */
MUST_USE int list_show(struct context *c, const struct args *a, const char *path, const struct list_view *v,
                       struct err *e);
