#include "adapters/store/sqlite/connection.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/store/sqlite/pagesum.h"

static struct connection *of(struct database *d)
{
    return (struct connection *)d;
}

/* ---- errors ---- */

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

int connection_error(struct connection *c, const char *doing, struct err *e)
{
    int extended = sqlite3_extended_errcode(c->sqlite);
    int code = extended == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : extended & 0xff;
    c->database.failed = c->database.failed || in_doubt(code);
    bool mismatch = code == SQLITE_IOERR && pagesum_damaged(c->sqlite);
    if (mismatch || code == SQLITE_CORRUPT || code == SQLITE_NOTADB) {
        err_set(e, "registry_malformed", "%s is damaged: cannot %s: %s (SQLite %d)", c->path, doing,
                mismatch ? "the checksum of a page does not match" : sqlite3_errmsg(c->sqlite), extended);
        return err_hint(e, CONNECTION_DAMAGED_HINT);
    }
    err_set(e, error_code(code), "registry: cannot %s: %s (SQLite %d)", doing, sqlite3_errmsg(c->sqlite),
            extended);
    return err_hint(e, "%s", hint_for(code));
}

static int fail(struct database *d, const char *doing, struct err *e)
{
    return connection_error(of(d), doing, e);
}

/* ---- whole statements ---- */

int connection_execute(struct connection *c, const char *sql, struct err *e)
{
    return sqlite3_exec(c->sqlite, sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : connection_error(c, sql, e);
}

int connection_integer(struct connection *c, const char *sql, int64_t *out, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int result = -1;
    if (sqlite3_prepare_v2(c->sqlite, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
        *out = sqlite3_column_int64(statement, 0);
        result = 0;
    } else {
        connection_error(c, sql, e);
    }
    sqlite3_finalize(statement);
    return result;
}

/* `found` may have several lines. */
static int damaged(const struct connection *c, const char *found, struct err *e)
{
    err_set(e, "registry_malformed", "%s is damaged: %.300s", c->path, found);
    return err_hint(e, CONNECTION_DAMAGED_HINT);
}

int connection_check(struct connection *c, const char *pragma, struct err *e)
{
    sqlite3_stmt *statement = NULL;
    int result = 0;
    if (sqlite3_prepare_v2(c->sqlite, pragma, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        result = connection_error(c, "check the database", e);
    } else {
        const char *found = (const char *)sqlite3_column_text(statement, 0);
        if (!found || strcmp(found, "ok") != 0)
            result = damaged(c, found ? found : "unreadable", e);
    }
    sqlite3_finalize(statement);
    return result;
}

static int check(struct database *d, struct err *e)
{
    return connection_check(of(d), "PRAGMA integrity_check(1)", e);
}

/* ---- the file ---- */

int connection_see(struct connection *c, struct err *e)
{
    if (stat(c->path, &c->seen) != 0)
        return err_errno(e, "cannot look at %s", c->path);
    if (stat(c->journal, &c->journal_seen) != 0)
        c->journal_seen = (struct stat){0};
    c->settled = true;
    return 0;
}

static bool is_same(const char *path, const struct stat *seen, struct stat *now)
{
    return stat(path, now) == 0 && now->st_dev == seen->st_dev && now->st_ino == seen->st_ino;
}

/* Do the paths still name the files that are open? Without its journal, a change that is cut short could not
 * be taken back. */
static bool same_files(const struct connection *c, struct stat *now)
{
    struct stat journal;
    return is_same(c->path, &c->seen, now) &&
           (c->journal_seen.st_ino == 0 || is_same(c->journal, &c->journal_seen, &journal));
}

/* And has nobody else written to it? SQLite holds it and what it read of it, and would not notice. */
static bool in_place(struct database *d)
{
    const struct connection *c = of(d);
    struct stat now;
    if (!same_files(c, &now))
        return false;
    return !c->settled || (now.st_size == c->seen.st_size && now.st_mtim.tv_sec == c->seen.st_mtim.tv_sec &&
                           now.st_mtim.tv_nsec == c->seen.st_mtim.tv_nsec);
}

/* ---- transactions ---- */

static int begin(struct database *d, struct err *e)
{
    assert(sqlite3_get_autocommit(of(d)->sqlite)); /* transactions do not nest */
    return connection_execute(of(d), "BEGIN IMMEDIATE", e);
}

/* What could not be written is taken back in the file when it is read next: now, so that the file is what was
 * seen last. */
static void settle(struct connection *c)
{
    struct err ignored;
    struct stat now;
    int64_t objects;
    c->settled = connection_integer(c, "SELECT count(*) FROM sqlite_schema", &objects, &ignored) == 0 &&
                 same_files(c, &now) && connection_see(c, &ignored) == 0;
}

static void rollback(struct database *d)
{
    /* Some errors have rolled back already. */
    if (!sqlite3_get_autocommit(of(d)->sqlite) &&
        sqlite3_exec(of(d)->sqlite, "ROLLBACK", NULL, NULL, NULL) != SQLITE_OK)
        d->failed = true;
    settle(of(d));
}

/* What went into a file that nobody will read again is not acknowledged. */
static int commit(struct database *d, struct err *e)
{
    if (sqlite3_exec(of(d)->sqlite, "COMMIT", NULL, NULL, NULL) != SQLITE_OK) {
        connection_error(of(d), "commit", e);
        rollback(d);
        return -1;
    }
    struct stat now;
    if (same_files(of(d), &now))
        return connection_see(of(d), e);
    d->replaced = true;
    return database_replaced(e);
}

/* ---- statements ---- */

static void *prepare(struct database *d, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    int status = sqlite3_prepare_v3(of(d)->sqlite, sql, -1, SQLITE_PREPARE_PERSISTENT, &statement, NULL);
    return status == SQLITE_OK ? statement : NULL;
}

static void finalize(void *statement)
{
    sqlite3_finalize(statement);
}

static int bind(void *statement, int parameter, const struct sql_value *v)
{
    switch (v->type) {
    case SQL_INTEGER:
        return sqlite3_bind_int64(statement, parameter, v->integer);
    case SQL_REAL:
        return sqlite3_bind_double(statement, parameter, v->real);
    case SQL_TEXT:
        return sqlite3_bind_text64(statement, parameter, v->bytes, v->length, SQLITE_STATIC, SQLITE_UTF8);
    case SQL_BYTES:
        return sqlite3_bind_blob64(statement, parameter, v->bytes, v->length, SQLITE_STATIC);
    case SQL_NULL:
        break;
    }
    return sqlite3_bind_null(statement, parameter);
}

static enum sql_step step(void *statement)
{
    int status = sqlite3_step(statement);
    return status == SQLITE_ROW ? SQL_ROW : status == SQLITE_DONE ? SQL_DONE : SQL_FAILED;
}

static void read_bytes(void *statement, int column, enum sql_type type, struct sql_value *out)
{
    out->type = type;
    out->bytes = type == SQL_TEXT ? (const char *)sqlite3_column_text(statement, column)
                                  : sqlite3_column_blob(statement, column);
    out->length = (size_t)sqlite3_column_bytes(statement, column);
}

static void column(void *statement, int column, struct sql_value *out)
{
    *out = (struct sql_value){.type = SQL_NULL};
    switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER:
        out->type = SQL_INTEGER;
        out->integer = sqlite3_column_int64(statement, column);
        break;
    case SQLITE_FLOAT:
        out->type = SQL_REAL;
        out->real = sqlite3_column_double(statement, column);
        break;
    case SQLITE_TEXT:
        read_bytes(statement, column, SQL_TEXT, out);
        break;
    case SQLITE_BLOB:
        read_bytes(statement, column, SQL_BYTES, out);
        break;
    default:
        break;
    }
}

static void reset(void *statement)
{
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
}

/* ---- a copy ---- */

static int copy_pages(sqlite3 *from, sqlite3 *to, struct err *e)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", from, "main");
    int status = b ? sqlite3_backup_step(b, -1) : sqlite3_errcode(to);
    int finished = b ? sqlite3_backup_finish(b) : SQLITE_OK;
    if (status == SQLITE_DONE && finished == SQLITE_OK)
        return 0;
    int code = status == SQLITE_DONE ? finished : status;
    return err_set(e, error_code(code & 0xff), "registry: cannot copy the database: %s",
                   sqlite3_errstr(code));
}

/* Whoever reads the copy checks it against a hash, so it needs no journal and no sync. */
static int copy(struct database *d, const char *path, struct err *e)
{
    static const char pragmas[] = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;";
    sqlite3 *to = NULL;
    int result = -1;
    if (sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, pagesum_vfs()) != SQLITE_OK ||
        sqlite3_exec(to, pragmas, NULL, NULL, NULL) != SQLITE_OK)
        err_set(e, "io_error", "registry: cannot open %s for a copy: %s", path,
                to ? sqlite3_errmsg(to) : "no memory");
    else
        result = copy_pages(of(d)->sqlite, to, e);
    sqlite3_close(to);
    return result;
}

static void close_connection(struct database *d)
{
    sqlite3_close(of(d)->sqlite);
    free(of(d)->path);
    free(of(d)->journal);
    free(d);
}

const struct database_methods connection_methods = {
    .close = close_connection,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .in_place = in_place,
    .check = check,
    .copy = copy,
    .prepare = prepare,
    .finalize = finalize,
    .bind = bind,
    .step = step,
    .column = column,
    .reset = reset,
    .error = fail,
};
