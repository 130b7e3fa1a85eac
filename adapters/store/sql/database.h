/* A connection to a database that speaks SQL, whichever it is: what a backend (adapters/store/sqlite/)
 * provides, and what running a statement (query.h) needs of it. A backend is a folder that fills in these
 * methods; nobody above it sees its library.
 *
 * One thread at a time. Statements are written with parameters ? or ?1, ?2 ..., in the SQL that SQLite and
 * PostgreSQL have in common; migrations are the backend's own. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/base/err.h"

enum sql_type { SQL_NULL, SQL_INTEGER, SQL_REAL, SQL_TEXT, SQL_BYTES };

/* Bytes that are bound are borrowed until the statement is reset, those that are read until its next step. */
struct sql_value {
    enum sql_type type;
    int64_t integer;
    double real;
    const char *bytes; /* of a text a NUL follows; NULL for none */
    size_t length;
};

enum sql_step { SQL_ROW, SQL_DONE, SQL_FAILED };

struct database;

struct database_methods {
    void (*close)(struct database *d); /* frees it */
    int (*begin)(struct database *d, struct err *e);
    int (*commit)(struct database *d, struct err *e); /* 0: on disk. After an error nothing is open */
    void (*rollback)(struct database *d);
    /* Is what the connection writes to still what will be read at the next start? Looks at the file or the
     * server. */
    bool (*in_place)(struct database *d);
    /* Is what is stored sound? Reads all of it. "registry_malformed" */
    int (*check)(struct database *d, struct err *e);
    /* All of it in a new file, as it is between two changes; not synced. */
    int (*copy)(struct database *d, const char *path, struct err *e);

    void *(*prepare)(struct database *d, const char *sql); /* NULL: `error` says why */
    void (*finalize)(void *statement);
    int (*bind)(void *statement, int parameter, const struct sql_value *v); /* parameters count from 1 */
    enum sql_step (*step)(void *statement);
    void (*column)(void *statement, int column, struct sql_value *out); /* columns count from 0 */
    void (*reset)(void *statement);                                     /* and forget what is bound */
    /* What went wrong last, "registry: cannot `doing`: ..."; sets `failed` where it is left open what is on
     * disk. -1 */
    int (*error)(struct database *d, const char *doing, struct err *e);
};

enum { DATABASE_STATEMENTS_MAX = 128 }; /* that the program has */

struct database { /* the beginning of a backend's own struct */
    const struct database_methods *methods;
    bool failed;   /* what is on disk and what is believed may differ */
    bool replaced; /* what is written would not be read again: somebody removed or changed the file */
    struct prepared {
        const char *sql; /* found by its address */
        void *statement;
    } prepared[DATABASE_STATEMENTS_MAX]; /* query.c's: made on first use */
    size_t prepared_count;
};

/* -1 and "registry_replaced" */
static inline int database_replaced(struct err *e)
{
    err_set(e, "registry_replaced",
            "the registry's database was removed, replaced or changed by another program while the daemon"
            " runs; what is written now would be lost");
    return err_hint(
        e, "adapterctl backup saves what the daemon holds; then put the file back, or restore, and restart");
}
