/* SQLite as the registry's database: one connection that holds its file for as long as it lives. Opening
 * creates or migrates the file and checks it; a commit is on disk when it returns. */
#pragma once
#include "adapters/store/sql/database.h"

/* Open or create (*created). Errors: "registry_newer", "registry_malformed" (damaged, or another program's
 * file), "storage_full", "storage_failed", "storage_busy", "out_of_memory". */
MUST_USE int sqlite_open(struct database **out, const char *path, bool *created, struct err *e);
