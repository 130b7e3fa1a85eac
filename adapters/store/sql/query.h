/* Running one SQL statement on any backend: bind its parameters in order, step, read its columns in order.
 * Statements are prepared once and kept by the connection, found by the address of their text. The store's
 * thread at the time. */
#pragma once
#include "adapters/store/sql/database.h"
#include "core/base/buf.h"
#include "core/base/sha256.h"

struct query {
    struct database *database;
    void *statement; /* NULL after an error of preparing */
    int column;      /* last parameter bound; then the next column to read */
    bool failed;     /* preparing or binding did */
};

/* `sql`: a constant, of the same text for as long as the connection lives. */
struct query query_start(struct database *d, const char *sql);
/* Ends all statements, then the connection; NULL is fine. */
void query_close_database(struct database *d);

/* Texts and bytes are borrowed until query_end. */
void query_bind_text(struct query *q, const char *text);         /* NULL is NULL */
void query_bind_bytes(struct query *q, const struct buf *bytes); /* an empty buffer is NULL */
void query_bind_integer(struct query *q, int64_t value);
void query_bind_time(struct query *q, int64_t ms); /* 0, which is never, is NULL */
void query_bind_null(struct query *q);
void query_bind_real(struct query *q, double value);
void query_bind_hash(struct query *q, const uint8_t hash[SHA256_BYTES]);

MUST_USE enum sql_step query_step(struct query *q);
void query_end(struct query *q);
/* Ends it with the connection's error; `doing` is a verb and its object. Returns -1. */
int query_fail(struct query *q, const char *doing, struct err *e);
/* Run a statement that returns no rows. */
MUST_USE int query_run(struct query *q, const char *doing, struct err *e);
/* Run an INSERT ... RETURNING one number. */
MUST_USE int query_insert(struct query *q, int64_t *number, const char *doing, struct err *e);
/* Call `row` for each row until it returns -1. */
typedef int query_row_function(struct query *q, void *arg, struct err *e);
MUST_USE int query_each(struct query *q, query_row_function *row, void *arg, const char *doing,
                        struct err *e);

/* A page of rows, each read into its place in `rows`. The statement asks for one row more than `limit`: it
 * says whether there are any behind the page. */
struct query_page {
    void *rows; /* [limit], `size` bytes each */
    size_t size, limit;
    void (*read)(struct query *q, void *row);
    size_t count; /* filled, as what follows */
    bool more;
};
MUST_USE int query_page(struct query *q, struct query_page *p, const char *doing, struct err *e);

/* ---- columns, in order; NULL reads as 0 and as an empty text ---- */
int64_t query_column_integer(struct query *q);
bool query_column_known(struct query *q, int64_t *out); /* false, and nothing in *out: it is NULL */
double query_column_real(struct query *q);
/* Never NULL: memory that ran out shows as an empty text. Borrowed until the next row. */
const char *query_column_text(struct query *q);
void query_copy_text(struct query *q, char *out, size_t size);              /* cut where it does not fit */
MUST_USE int query_column_bytes(struct query *q, struct buf *out);          /* appended; -1: out of memory */
MUST_USE int query_column_hash(struct query *q, uint8_t out[SHA256_BYTES]); /* -1: it has another size */
