/* Running one SQL statement: bind its parameters in order, step, read its columns in order. What the store's
 * files share; nobody else includes it. The store's thread at the time. */
#pragma once
#include "adapters/store/sqlite/store_private.h"

struct query {
    struct store *store;
    sqlite3_stmt *statement; /* NULL after an error of preparing */
    int column;              /* last parameter bound or column read */
    int status;              /* first error of binding */
};

/* `slot`: where the prepared statement is kept, below STORE_STATEMENTS_MAX, of this text alone. */
struct query query_start(struct store *s, int slot, const char *sql);

/* Texts and bytes are borrowed until query_end. */
void query_bind_text(struct query *q, const char *text);         /* NULL is NULL */
void query_bind_bytes(struct query *q, const struct buf *bytes); /* as a BLOB; an empty buffer is NULL */
void query_bind_integer(struct query *q, int64_t value);
void query_bind_null(struct query *q);
void query_bind_real(struct query *q, double value);
void query_bind_hash(struct query *q, const uint8_t hash[SHA256_BYTES]);

/* Next row: SQLITE_ROW, SQLITE_DONE or an error. */
int query_step(struct query *q);
void query_end(struct query *q);
/* Ends it with the connection's error; `doing` is a verb and its object. Returns -1. */
int query_fail(struct query *q, const char *doing, struct err *e);
/* Run a statement that returns no rows. */
int query_run(struct query *q, const char *doing, struct err *e);

int64_t query_column_integer(struct query *q);
double query_column_real(struct query *q);
/* Never NULL: memory that ran out shows as an empty text. Borrowed until the next row. */
const char *query_column_text(struct query *q);
void query_copy_text(struct query *q, char *out, size_t size); /* cut where it does not fit */
int query_column_bytes(struct query *q, struct buf *out); /* appended; NULL: nothing. -1: out of memory */
