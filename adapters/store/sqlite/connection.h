/* What the backend's own files share: sqlite.c (opening), connection.c (statements, transactions, errors),
 * migrate.c. */
#pragma once
#include <sqlite3.h>
#include <sys/stat.h>

#include "adapters/store/sql/database.h"

struct connection {
    struct database database; /* first */
    sqlite3 *sqlite;
    char *path, *journal; /* owned */
    struct stat seen,
        journal_seen; /* the files after the last change, by their paths; st_ino 0: no journal yet */
    bool settled;     /* nobody but another program has a reason to write to it until the next change */
};

/* What to do about a damaged file. */
#define CONNECTION_DAMAGED_HINT "restore a backup into a new data directory: adapterctl restore BACKUP DATA"

/* The connection's present error as an err; sets `failed` where the state of the disk is in doubt. -1 */
int connection_error(struct connection *c, const char *doing, struct err *e);
MUST_USE int connection_execute(struct connection *c, const char *sql, struct err *e);
/* Of a statement that gives one integer. */
MUST_USE int connection_integer(struct connection *c, const char *sql, int64_t *out, struct err *e);
/* `pragma`: one of SQLite's checks, which answers "ok". "registry_malformed" */
MUST_USE int connection_check(struct connection *c, const char *pragma, struct err *e);
/* Remember the file as it is now. */
MUST_USE int connection_see(struct connection *c, struct err *e);
extern const struct database_methods connection_methods;
