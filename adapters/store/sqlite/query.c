#include "adapters/store/sqlite/query.h"

#include <stdio.h>

struct query query_start(struct store *s, int slot, const char *sql)
{
    struct query q = {.store = s, .column = 0, .status = SQLITE_OK};
    if (!s->statements[slot])
        q.status =
            sqlite3_prepare_v3(s->connection, sql, -1, SQLITE_PREPARE_PERSISTENT, &s->statements[slot], NULL);
    q.statement = s->statements[slot];
    return q;
}

static void note_status(struct query *q, int status)
{
    if (q->status == SQLITE_OK)
        q->status = status;
}

void query_bind_text(struct query *q, const char *text)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_text(q->statement, ++q->column, text, -1, SQLITE_STATIC));
}

void query_bind_bytes(struct query *q, const struct buf *bytes)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_blob64(q->statement, ++q->column, bytes->length ? bytes->data : NULL,
                                           bytes->length, SQLITE_STATIC));
}

void query_bind_integer(struct query *q, int64_t value)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_int64(q->statement, ++q->column, value));
}

void query_bind_null(struct query *q)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_null(q->statement, ++q->column));
}

void query_bind_real(struct query *q, double value)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_double(q->statement, ++q->column, value));
}

void query_bind_hash(struct query *q, const uint8_t hash[SHA256_BYTES])
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_blob(q->statement, ++q->column, hash, SHA256_BYTES, SQLITE_STATIC));
}

int query_step(struct query *q)
{
    if (q->status == SQLITE_OK) {
        q->column = -1;
        return sqlite3_step(q->statement);
    }
    return q->status;
}

void query_end(struct query *q)
{
    if (q->statement) {
        sqlite3_reset(q->statement);
        sqlite3_clear_bindings(q->statement);
    }
}

int query_fail(struct query *q, const char *doing, struct err *e)
{
    store_error(q->store, doing, e);
    query_end(q);
    return -1;
}

int query_run(struct query *q, const char *doing, struct err *e)
{
    if (query_step(q) != SQLITE_DONE)
        return query_fail(q, doing, e);
    query_end(q);
    return 0;
}

/* ---- reading columns, in order ---- */

int64_t query_column_integer(struct query *q)
{
    return sqlite3_column_int64(q->statement, ++q->column);
}

double query_column_real(struct query *q)
{
    return sqlite3_column_double(q->statement, ++q->column);
}

const char *query_column_text(struct query *q)
{
    const char *text = (const char *)sqlite3_column_text(q->statement, ++q->column);
    return text ? text : "";
}

void query_copy_text(struct query *q, char *out, size_t size)
{
    snprintf(out, size, "%s", query_column_text(q));
}

int query_column_bytes(struct query *q, struct buf *out)
{
    const void *bytes = sqlite3_column_blob(q->statement, ++q->column);
    return bytes ? buf_append(out, bytes, (size_t)sqlite3_column_bytes(q->statement, q->column)) : 0;
}
