#include "adapters/store/sqlite/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/store/sqlite/migrate.h"
#include "adapters/store/sqlite/pagesum.h"
#include "core/system/file.h"

enum { BUSY_TIMEOUT_MS = 5000 };
#define CHECKED_WHOLLY_BYTES_MAX (INT64_C(1) << 30)

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

/* The file is made here, so that nobody else may read it whatever the umask; SQLite gives its journal the
 * same mode. */
static int make_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return err_errno(e, "cannot open %s", path);
    close(fd);
    return 0;
}

static int connect_to(struct connection *c, const char *path, struct err *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    char opening[256];
    snprintf(opening, sizeof opening, "open %s", path);
    if (make_file(path, e) != 0)
        return -1;
    if (sqlite3_open_v2(path, &c->sqlite, flags, pagesum_vfs()) != SQLITE_OK)
        return c->sqlite ? connection_error(c, opening, e) : err_memory(e);
    pagesum_reserve(c->sqlite);
    sqlite3_busy_timeout(c->sqlite, BUSY_TIMEOUT_MS);
    sqlite3_db_config(c->sqlite, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    if (sqlite3_exec(c->sqlite, PRAGMAS, NULL, NULL, NULL) != SQLITE_OK)
        return connection_error(c, opening, e);
    return check_foreign_keys(c, e);
}

static char *beside(const char *path, const char *suffix)
{
    char *name = NULL;
    return asprintf(&name, "%s%s", path, suffix) < 0 ? NULL : name;
}

/* A process that died between emptying the journal and syncing it left a commit that everybody sees and that
 * a power failure takes back. What is read from now on is built on (blobs are swept, uploads are found to be
 * there already), so it must be on disk first. */
static int sync_journal(const char *path, struct err *e)
{
    char *journal = beside(path, "-journal");
    if (!journal)
        return err_memory(e);
    int fd = open(journal, O_RDONLY | O_CLOEXEC), result = 0;
    if (fd < 0 ? errno != ENOENT : fsync(fd) != 0)
        result = err_errno(e, "cannot sync %s", journal);
    if (fd >= 0)
        close(fd);
    free(journal);
    return result;
}

/* Before anything is built on what it says. Where every page has its checksum, reading them all finds a
 * flipped bit wherever it is; indexes are compared with their tables, too, unless that would take long. */
static int check_content(struct connection *c, struct err *e)
{
    bool small = c->seen.st_size <= CHECKED_WHOLLY_BYTES_MAX;
    return connection_check(
        c, small || !pagesum_on(c->sqlite) ? "PRAGMA integrity_check(1)" : "PRAGMA quick_check(1)", e);
}

static int open_checked(struct connection *c, const char *path, int64_t *schema, struct err *e)
{
    c->path = strdup(path);
    c->journal = beside(path, "-journal");
    if (!c->path || !c->journal)
        return err_memory(e);
    if (sync_journal(path, e) != 0 || connect_to(c, path, e) != 0 || connection_see(c, e) != 0 ||
        migrate_owner(c, path, schema, e) != 0)
        return -1;
    return check_content(c, e);
}

static void close_quietly(struct connection *c)
{
    if (c)
        c->database.methods->close(&c->database);
}

static int open_connection(struct connection **out, const char *path, int64_t *schema, struct err *e)
{
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        return err_memory(e);
    c->database.methods = &connection_methods;
    if (open_checked(c, path, schema, e) != 0) {
        close_quietly(c);
        return -1;
    }
    *out = c;
    return 0;
}

/* ---- a file whose pages have no checksums ---- */

static int copy_into(struct connection *from, const char *path, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int result = 0;
    if (sqlite3_prepare_v2(from->sqlite, "VACUUM INTO ?", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_bind_text(statement, 1, path, -1, SQLITE_STATIC) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_DONE)
        result = connection_error(from, "copy an older database", e);
    sqlite3_finalize(statement);
    return result;
}

/* The copy is whole and of the present schema, or it is not used. */
static int finish_copy(const char *path, struct err *e)
{
    struct connection *c;
    int64_t schema;
    if (open_connection(&c, path, &schema, e) != 0)
        return -1;
    int result = migrate_from(c, schema, e);
    if (result == 0 && !pagesum_on(c->sqlite))
        result = err_set(e, "internal_error", "%s: the copy has no checksums", path);
    close_quietly(c);
    return result;
}

static void remove_copy(const char *path)
{
    char *journal = beside(path, "-journal");
    unlink(path);
    if (journal)
        unlink(journal);
    free(journal);
}

static int sync_file(const char *path, struct err *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int result = fd >= 0 && fsync(fd) == 0 ? 0 : err_errno(e, "cannot sync %s", path);
    if (fd >= 0)
        close(fd);
    return result;
}

static int sync_directory_of(const char *path, struct err *e)
{
    char *directory = strdup(path), *slash = directory ? strrchr(directory, '/') : NULL;
    if (slash)
        *slash = '\0';
    int result = directory ? file_fsync_directory(slash ? directory : ".", e) : err_memory(e);
    free(directory);
    return result;
}

/* In the place of the older file, at once. Its journal, should a rollback have removed it, must not be back
 * after a power failure: it would be taken for the new file's. */
static int put_in_place(const char *copy, const char *path, struct err *e)
{
    if (sync_file(copy, e) != 0 || sync_journal(path, e) != 0 || sync_directory_of(path, e) != 0)
        return -1;
    /* The name is on disk with the first change at the latest, before which the older file says the same:
     * SQLite syncs the directory with its journal. */
    return rename(copy, path) == 0 ? 0 : err_errno(e, "cannot move %s to %s", copy, path);
}

/* A program of before checksums, or another one, wrote it: everything goes to a new file, is migrated there,
 * and takes the older one's place. Where something fails, the older program still finds its own database.
 * Closes `c`. */
static int rewrite(struct connection *c, const char *path, struct err *e)
{
    char *copy = beside(path, ".upgrade");
    int result = copy ? 0 : err_memory(e);
    if (copy) {
        remove_copy(copy); /* of a start that did not come to its end */
        result = make_file(copy, e) == 0 ? copy_into(c, copy, e) : -1;
    }
    close_quietly(c);
    if (result == 0)
        result = finish_copy(copy, e) == 0 ? put_in_place(copy, path, e) : -1;
    if (copy)
        remove_copy(copy);
    free(copy);
    return result;
}

int sqlite_open(struct database **out, const char *path, bool *created, struct err *e)
{
    struct connection *c;
    int64_t schema;
    if (migrate_look(path, e) != 0 || open_connection(&c, path, &schema, e) != 0)
        return -1;
    if (schema != 0 && !pagesum_on(c->sqlite) &&
        (rewrite(c, path, e) != 0 || open_connection(&c, path, &schema, e) != 0))
        return -1;
    if (migrate_from(c, schema, e) != 0 || connection_see(c, e) != 0) {
        close_quietly(c);
        return -1;
    }
    *created = schema == 0;
    *out = &c->database;
    return 0;
}
