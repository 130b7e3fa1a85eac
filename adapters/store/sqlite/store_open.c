#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/store/sqlite/migrations.h"
#include "adapters/store/sqlite/store_private.h"

enum {
    APPLICATION_ID = 0x61647064, /* "adpd", in the header of the file */
    BUSY_TIMEOUT_MS = 5000,
};

/* A commit is on disk when it returns: EXTRA also covers the journal's directory entry. PERSIST ends a
 * transaction by making the journal's header invalid and syncing it: its space stays, so that on a full disk
 * keys can be revoked and adapters deleted. One connection holds the file for as long as the daemon
 * lives. */
static const char PRAGMAS[] = "PRAGMA locking_mode = EXCLUSIVE;"
                              "PRAGMA journal_mode = PERSIST;"
                              "PRAGMA journal_size_limit = 1048576;"
                              "PRAGMA synchronous = EXTRA;"
                              "PRAGMA foreign_keys = ON;"
                              "PRAGMA trusted_schema = OFF;"
                              "PRAGMA cell_size_check = ON;"
                              "PRAGMA temp_store = MEMORY;";

static const char *hint_for(int code)
{
    switch (code) {
    case SQLITE_FULL:
        return "free space on the disk of the data directory";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "another program has the database open; only the daemon may";
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
        return "the daemon's user must be able to write the data directory";
    default:
        return "";
    }
}

static const char *error_code(int code)
{
    switch (code) {
    case SQLITE_FULL:
        return "storage_full";
    case SQLITE_NOMEM:
        return "out_of_memory";
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return "storage_busy";
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return "registry_malformed";
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PROTOCOL:
        return "storage_failed";
    default:
        return "internal_error";
    }
}

/* After these, what is on disk and what SQLite believes may differ. */
static bool in_doubt(int code)
{
    return code == SQLITE_IOERR || code == SQLITE_CORRUPT || code == SQLITE_NOTADB ||
           code == SQLITE_CANTOPEN || code == SQLITE_READONLY || code == SQLITE_PROTOCOL;
}

int store_error(struct store *s, const char *doing, struct err *e)
{
    int extended = sqlite3_extended_errcode(s->connection);
    int code = extended == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : extended & 0xff;
    s->failed = s->failed || in_doubt(code);
    err_set(e, error_code(code), "registry: cannot %s: %s (SQLite %d)", doing, sqlite3_errmsg(s->connection),
            extended);
    return err_hint(e, "%s", hint_for(code));
}

int store_execute(struct store *s, const char *sql, struct err *e)
{
    return sqlite3_exec(s->connection, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : store_error(s, sql, e);
}

/* ---- transactions ---- */

int store_begin(struct store *s, struct err *e)
{
    if (s->failed) {
        err_set(e, "storage_failed", "the registry is closed for changes after an earlier error of the disk");
        return err_hint(e, "check the disk, then restart the daemon");
    }
    return store_execute(s, "BEGIN IMMEDIATE", e);
}

int store_commit(struct store *s, struct err *e)
{
    if (sqlite3_exec(s->connection, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    store_error(s, "commit", e);
    store_rollback(s);
    return -1;
}

void store_rollback(struct store *s)
{
    /* Some errors have rolled back already. */
    if (!sqlite3_get_autocommit(s->connection) &&
        sqlite3_exec(s->connection, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        s->failed = true;
}

bool store_failed(const struct store *s)
{
    return s->failed;
}

/* ---- opening ---- */

static int read_integer(struct store *s, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int result = -1;
    if (sqlite3_prepare_v2(s->connection, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        *out = sqlite3_column_int64(statement, 0);
        result = 0;
    } else {
        store_error(s, sql, e);
    }
    sqlite3_finalize(statement);
    return result;
}

static int check_owner(struct store *s, const char *path, int64_t *version, struct err *e)
{
    int64_t application, objects, newest = (int64_t)migrations_count;
    if (read_integer(s, "PRAGMA application_id", &application, e) != 0 ||
        read_integer(s, "PRAGMA user_version", version, e) != 0 ||
        read_integer(s, "SELECT count(*) FROM sqlite_schema", &objects, e) != 0)
        return -1;
    bool empty = application == 0 && *version == 0 && objects == 0;
    if (!empty && (application != APPLICATION_ID || *version < 1))
        return err_set(e, "registry_malformed",
                       "%s is a database of another program: application id 0x%08llx, expected 0x%08x", path,
                       (unsigned long long)application & 0xffffffffu, APPLICATION_ID);
    if (*version <= newest)
        return 0;
    err_set(e, "registry_newer", "%s has schema version %lld, this adapterd knows up to %lld", path,
            (long long)*version, (long long)newest);
    return err_hint(e, "start the newer adapterd that wrote it, or restore a backup");
}

static int check_content(struct store *s, const char *path, const char *pragma, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int result = 0;
    if (sqlite3_prepare_v2(s->connection, pragma, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        result = store_error(s, "check the database", e);
    } else {
        const char *found = (const char *)sqlite3_column_text(statement, 0);
        if (!found || strcmp(found, "ok") != 0)
            result =
                err_set(e, "registry_malformed", "%s is damaged: %s", path, found ? found : "unreadable");
    }
    sqlite3_finalize(statement);
    if (result != 0)
        err_hint(e, "restore the data directory from a backup");
    return result;
}

int store_check(struct store *s, struct err *e)
{
    return check_content(s, "registry.db", "PRAGMA integrity_check(1)", e);
}

static int apply(struct store *s, const struct migration *m, struct err *e)
{
    char mark[96];
    snprintf(mark, sizeof mark, "PRAGMA application_id = %d; PRAGMA user_version = %d", APPLICATION_ID,
             m->number);
    if (sqlite3_exec(s->connection, m->sql, NULL, NULL, NULL) != SQLITE_OK)
        return store_error(s, m->name, e);
    return store_execute(s, mark, e);
}

/* All of them in one transaction: where one fails, the older program still finds its own database. */
static int migrate(struct store *s, int64_t version, struct err *e)
{
    if ((size_t)version >= migrations_count)
        return 0;
    if (store_begin(s, e) != 0)
        return -1;
    for (size_t i = (size_t)version; i < migrations_count; i++) {
        if (apply(s, &migrations[i], e) != 0) {
            store_rollback(s);
            return -1;
        }
    }
    return store_commit(s, e);
}

static int open_connection(struct store *s, const char *path, bool *created, struct err *e)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    char opening[256];
    snprintf(opening, sizeof opening, "open %s", path);
    if (sqlite3_open_v2(path, &s->connection, flags, NULL) != SQLITE_OK)
        return s->connection ? store_error(s, opening, e) : err_memory(e);
    sqlite3_busy_timeout(s->connection, BUSY_TIMEOUT_MS);
    sqlite3_db_config(s->connection, SQLITE_DBCONFIG_DEFENSIVE, 1, (int *)NULL);
    if (sqlite3_exec(s->connection, PRAGMAS, NULL, NULL, NULL) != SQLITE_OK)
        return store_error(s, opening, e);
    int64_t version, keys_enforced;
    if (read_integer(s, "PRAGMA foreign_keys", &keys_enforced, e) != 0)
        return -1;
    if (!keys_enforced)
        return err_set(e, "internal_error", "this SQLite (%s) cannot enforce foreign keys",
                       sqlite3_libversion());
    if (check_owner(s, path, &version, e) != 0 || check_content(s, path, "PRAGMA quick_check(1)", e) != 0)
        return -1;
    *created = version == 0;
    return migrate(s, version, e);
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

int store_open(struct store **out, const char *path, bool *created, struct err *e)
{
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return err_memory(e);
    if (sync_journal(path, e) != 0 || open_connection(s, path, created, e) != 0) {
        store_close(s);
        return -1;
    }
    *out = s;
    return 0;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < STORE_STATEMENTS_MAX; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->connection);
    free(s);
}

/* ---- a copy ---- */

static int copy_pages(struct store *s, sqlite3 *to, struct err *e)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", s->connection, "main");
    int status = b ? sqlite3_backup_step(b, -1) : sqlite3_errcode(to);
    int finished = b ? sqlite3_backup_finish(b) : SQLITE_OK;
    if (status == SQLITE_DONE && finished == SQLITE_OK)
        return 0;
    int code = status == SQLITE_DONE ? finished : status;
    return err_set(e, error_code(code & 0xff), "registry: cannot copy the database: %s",
                   sqlite3_errstr(code));
}

/* Whoever reads the copy checks it against a hash, so it needs no journal and no sync. */
int store_copy(struct store *s, const char *path, struct err *e)
{
    static const char pragmas[] = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
    sqlite3 *to = NULL;
    int result = -1;
    if (sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK ||
        sqlite3_exec(to, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        err_set(e, "io_error", "registry: cannot open %s for a copy: %s", path,
                to ? sqlite3_errmsg(to) : "no memory");
    else
        result = copy_pages(s, to, e);
    sqlite3_close(to);
    return result;
}
