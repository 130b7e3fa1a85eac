#include "adapters/store/sql/query.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* ---- statements that are kept ---- */

static void *find_prepared(const struct database *d, const char *sql)
{
    for (size_t i = 0; i < d->prepared_count; i++)
        if (d->prepared[i].sql == sql)
            return d->prepared[i].statement;
    return NULL;
}

struct query query_start(struct database *d, const char *sql)
{
    struct query q = {.database = d, .statement = find_prepared(d, sql)};
    if (!q.statement && (q.statement = d->methods->prepare(d, sql))) {
        assert(d->prepared_count < DATABASE_STATEMENTS_MAX);
        d->prepared[d->prepared_count++] = (struct prepared){sql, q.statement};
    }
    q.failed = !q.statement;
    return q;
}

void query_close_database(struct database *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->prepared_count; i++)
        d->methods->finalize(d->prepared[i].statement);
    d->methods->close(d);
}

/* ---- parameters ---- */

static void bind(struct query *q, const struct sql_value *v)
{
    if (!q->failed)
        q->failed = q->database->methods->bind(q->statement, ++q->column, v) != 0;
}

void query_bind_null(struct query *q)
{
    bind(q, &(struct sql_value){.type = SQL_NULL});
}

void query_bind_text(struct query *q, const char *text)
{
    if (text)
        bind(q, &(struct sql_value){.type = SQL_TEXT, .bytes = text, .length = strlen(text)});
    else
        query_bind_null(q);
}

void query_bind_bytes(struct query *q, const struct buf *bytes)
{
    if (bytes->length)
        bind(q, &(struct sql_value){.type = SQL_BYTES, .bytes = bytes->data, .length = bytes->length});
    else
        query_bind_null(q);
}

void query_bind_hash(struct query *q, const uint8_t hash[SHA256_BYTES])
{
    bind(q, &(struct sql_value){.type = SQL_BYTES, .bytes = (const char *)hash, .length = SHA256_BYTES});
}

void query_bind_integer(struct query *q, int64_t value)
{
    bind(q, &(struct sql_value){.type = SQL_INTEGER, .integer = value});
}

void query_bind_time(struct query *q, int64_t ms)
{
    if (ms)
        query_bind_integer(q, ms);
    else
        query_bind_null(q);
}

void query_bind_real(struct query *q, double value)
{
    bind(q, &(struct sql_value){.type = SQL_REAL, .real = value});
}

/* ---- running ---- */

enum sql_step query_step(struct query *q)
{
    q->column = 0;
    return q->failed ? SQL_FAILED : q->database->methods->step(q->statement);
}

void query_end(struct query *q)
{
    if (q->statement)
        q->database->methods->reset(q->statement);
}

int query_fail(struct query *q, const char *doing, struct err *e)
{
    q->database->methods->error(q->database, doing, e);
    query_end(q);
    return -1;
}

int query_run(struct query *q, const char *doing, struct err *e)
{
    if (query_step(q) != SQL_DONE)
        return query_fail(q, doing, e);
    query_end(q);
    return 0;
}

int query_insert(struct query *q, int64_t *number, const char *doing, struct err *e)
{
    if (query_step(q) != SQL_ROW)
        return query_fail(q, doing, e);
    int64_t given = query_column_integer(q);
    if (query_run(q, doing, e) != 0)
        return -1;
    *number = given;
    return 0;
}

int query_each(struct query *q, query_row_function *row, void *arg, const char *doing, struct err *e)
{
    enum sql_step step;
    while ((step = query_step(q)) == SQL_ROW) {
        if (row(q, arg, e) != 0) {
            query_end(q);
            return -1;
        }
    }
    if (step == SQL_FAILED)
        return query_fail(q, doing, e);
    query_end(q);
    return 0;
}

static int read_page(struct query *q, void *arg, struct err *e)
{
    (void)e;
    struct query_page *p = arg;
    p->more = p->count == p->limit;
    if (!p->more)
        p->read(q, (char *)p->rows + p->count++ * p->size);
    return 0;
}

int query_page(struct query *q, struct query_page *p, const char *doing, struct err *e)
{
    p->count = 0;
    p->more = false;
    return query_each(q, read_page, p, doing, e);
}

/* ---- columns ---- */

static struct sql_value read_column(struct query *q)
{
    struct sql_value v = {.type = SQL_NULL};
    q->database->methods->column(q->statement, q->column++, &v);
    return v;
}

int64_t query_column_integer(struct query *q)
{
    return read_column(q).integer;
}

bool query_column_known(struct query *q, int64_t *out)
{
    struct sql_value v = read_column(q);
    if (v.type == SQL_NULL)
        return false;
    *out = v.integer;
    return true;
}

double query_column_real(struct query *q)
{
    return read_column(q).real;
}

const char *query_column_text(struct query *q)
{
    struct sql_value v = read_column(q);
    return v.type == SQL_TEXT && v.bytes ? v.bytes : "";
}

void query_copy_text(struct query *q, char *out, size_t size)
{
    snprintf(out, size, "%s", query_column_text(q));
}

int query_column_bytes(struct query *q, struct buf *out)
{
    struct sql_value v = read_column(q);
    return v.bytes ? buf_append(out, v.bytes, v.length) : 0;
}

int query_column_hash(struct query *q, uint8_t out[SHA256_BYTES])
{
    struct sql_value v = read_column(q);
    if (v.type != SQL_BYTES || v.length != SHA256_BYTES)
        return -1;
    memcpy(out, v.bytes, SHA256_BYTES);
    return 0;
}
