#include "adapters/store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "adapters/store/sqlite/migrate.h"

enum { BUSY_TIMEOUT_MS = 5000 };

/* A commit is on disk when it returns: EXTRA also covers the journal's directory entry. PERSIST ends a
 * transaction by making the journal's header invalid and syncing it: its space stays, so that on a full disk
 * keys can be revoked and adapters deleted. One connection holds the file for as long as the daemon lives. */
static const char PRAGMAS[] = "PRAGMA locking_mode = EXCLUSIVE;"
                              "PRAGMA journal_mode = PERSIST;"
                              "PRAGMA journal_size_limit = 1048576;"
                              "PRAGMA synchronous = EXTRA;"
                              "PRAGMA foreign_keys = ON;"
                              "PRAGMA trusted_schema = OFF;"
                              "PRAGMA cell_size_check = ON;"
                              "PRAGMA temp_store = MEMORY;";

static int check_foreign_keys(struct connection *c, struct err *e)
{
    int64_t enforced;
    if (connection_integer(c, "PRAGMA foreign_keys", &enforced, e) != 0)
        return -1;
    if (enforced)
        return 0;
    return err_set(e, "internal_error", "this SQLite (%s) cannot enforce foreign keys", sqlite3_libversion());
}

static int connect_to(struct connection *c, const char *path, struct err *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    char opening[256];
    snprintf(opening, sizeof opening, "open %s", path);
    if (sqlite3_open_v2(path, &c->sqlite, flags, NULL) != SQLITE_OK)
        return c->sqlite ? connection_error(c, opening, e) : err_memory(e);
    sqlite3_busy_timeout(c->sqlite, BUSY_TIMEOUT_MS);
    sqlite3_db_config(c->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    if (sqlite3_exec(c->sqlite, PRAGMAS, NULL, NULL, NULL) != SQLITE_OK)
        return connection_error(c, opening, e);
    return check_foreign_keys(c, e);
}

/* A process that died between emptying the journal and syncing it left a commit that everybody sees and that
 * a power failure takes back. What is read from now on is built on (blobs are swept, uploads are found to be
 * there already), so it must be on disk first. */
static int sync_journal(const char *path, struct err *e)
{
    char *journal = NULL;
    if (asprintf(&journal, "%s-journal", path) < 0)
        return err_memory(e);
    int fd = open(journal, O_RDONLY | O_CLOEXEC), result = 0;
    if (fd < 0 ? errno != ENOENT : fsync(fd) != 0)
        result = err_errno(e, "cannot sync %s", journal);
    if (fd >= 0)
        close(fd);
    free(journal);
    return result;
}

static int open_checked(struct connection *c, const char *path, bool *created, struct err *e)
{
    int64_t schema;
    if (sync_journal(path, e) != 0 || connect_to(c, path, e) != 0 ||
        migrate_owner(c, path, &schema, e) != 0 || connection_check(c, "PRAGMA quick_check(1)", e) != 0)
        return -1;
    *created = schema == 0;
    return migrate_from(c, schema, e);
}

int sqlite_open(struct database **out, const char *path, bool *created, struct err *e)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    c->database.methods = &connection_methods;
    if (open_checked(c, path, created, e) != 0) {
        c->database.methods->close(&c->database);
        return -1;
    }
    *out = &c->database;
    return 0;
}
