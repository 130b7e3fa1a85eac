/* Whose file is it, and from which schema to the present one. */
#pragma once
#include "adapters/store/sqlite/connection.h"

/* By the file's header, before it is opened, so that no checksum is asked whether it is whole:
 * "registry_newer", "registry_malformed" (another program's). A file that is not there, or no database,
 * passes. */
MUST_USE int migrate_look(const char *path, struct err *e);
/* The file's schema; 0 for an empty one. "registry_malformed" (another program's), "registry_newer" */
MUST_USE int migrate_owner(struct connection *c, const char *path, int64_t *schema, struct err *e);
/* All steps in one transaction: where one fails, the older program still finds its own database. */
MUST_USE int migrate_from(struct connection *c, int64_t schema, struct err *e);
