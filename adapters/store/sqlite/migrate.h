/* Whose file is it, and from which schema to the present one. */
#pragma once
#include "adapters/store/sqlite/connection.h"

/* The file's schema; 0 for an empty one. "registry_malformed" (another program's), "registry_newer" */
MUST_USE int migrate_owner(struct connection *c, const char *path, int64_t *schema, struct err *e);
/* All steps in one transaction: where one fails, the older program still finds its own database. */
MUST_USE int migrate_from(struct connection *c, int64_t schema, struct err *e);
