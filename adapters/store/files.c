#include "adapters/store/files.h"

#include <string.h>

#include "adapters/store/store_private.h"

#define COLUMNS "number, id, tenant, name, purpose, blob, bytes, examples, created_ms, expires_ms"
#define THERE " (expires_ms IS NULL OR expires_ms > ?)"

static const char INSERT[] =
    "INSERT INTO files (id, tenant, name, purpose, blob, bytes, examples, created_ms,"
    " expires_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number";
static const char FIND[] = "SELECT " COLUMNS " FROM files WHERE id = ? AND tenant = ? AND" THERE;
static const char DELETE[] = "DELETE FROM files WHERE number = ?";
static const char DELETE_NAMED[] = "DELETE FROM files WHERE tenant = ? AND purpose = ? AND name = ?";
static const char DELETE_ENDED[] = "DELETE FROM files WHERE expires_ms <= ?";
static const char LIST_OLDEST[] =
    "SELECT " COLUMNS " FROM files WHERE tenant = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)"
    " AND number > ?3 AND (?4 IS NULL OR purpose = ?4) ORDER BY number LIMIT ?5";
static const char LIST_NEWEST[] =
    "SELECT " COLUMNS " FROM files WHERE tenant = ?1 AND (expires_ms IS NULL OR expires_ms > ?2)"
    " AND (?3 = 0 OR number < ?3) AND (?4 IS NULL OR purpose = ?4) ORDER BY number DESC LIMIT ?5";
static const char USAGE[] = "SELECT coalesce(sum(bytes), 0), count(*) FROM files WHERE tenant = ?";
static const char EACH[] = "SELECT " COLUMNS " FROM files ORDER BY number";
static const char GONE[] = "SELECT blob FROM files_gone WHERE blob > ? ORDER BY blob LIMIT 1";
static const char FORGET[] = "DELETE FROM files_gone WHERE blob = ?";

int store_file_insert(struct store *s, struct file_row *row, struct err *e)
{
    struct query q = query_start(s->database, INSERT);
    query_bind_text(&q, row->id);
    query_bind_integer(&q, row->tenant);
    query_bind_text(&q, row->name);
    query_bind_text(&q, row->purpose);
    query_bind_text(&q, row->blob);
    query_bind_integer(&q, (int64_t)row->bytes);
    query_bind_integer(&q, row->examples);
    query_bind_integer(&q, row->created_ms);
    query_bind_time(&q, row->expires_ms);
    return query_insert(&q, &row->number, "add a file", e);
}

static void read_row(struct query *q, void *row)
{
    struct file_row *out = row;
    *out = (struct file_row){.number = query_column_integer(q)};
    query_copy_text(q, out->id, sizeof out->id);
    out->tenant = (uint32_t)query_column_integer(q);
    query_copy_text(q, out->name, sizeof out->name);
    query_copy_text(q, out->purpose, sizeof out->purpose);
    query_copy_text(q, out->blob, sizeof out->blob);
    out->bytes = (uint64_t)query_column_integer(q);
    out->examples = query_column_integer(q);
    out->created_ms = query_column_integer(q);
    out->expires_ms = query_column_integer(q);
}

static int check_row(const struct file_row *row, struct err *e)
{
    uint8_t digest[SHA256_BYTES];
    bool whole = name_valid(row->id) && hex_decode(row->blob, digest, sizeof digest) == 0;
    return whole ? 0 : column_malformed("files", e);
}

static int read_one(struct query *q, void *arg, struct err *e)
{
    read_row(q, arg);
    return check_row(arg, e);
}

int store_file_find(struct store *s, uint32_t tenant, const char *id, int64_t now_ms, struct file_row *out,
                    struct err *e)
{
    struct query q = query_start(s->database, FIND);
    query_bind_text(&q, id);
    query_bind_integer(&q, tenant);
    query_bind_integer(&q, now_ms);
    out->number = 0;
    return query_each(&q, read_one, out, "look for a file", e);
}

int store_file_delete(struct store *s, int64_t number, struct err *e)
{
    struct query q = query_start(s->database, DELETE);
    query_bind_integer(&q, number);
    return query_run(&q, "delete a file", e);
}

int store_file_delete_named(struct store *s, const struct file_row *like, struct err *e)
{
    struct query q = query_start(s->database, DELETE_NAMED);
    query_bind_integer(&q, like->tenant);
    query_bind_text(&q, like->purpose);
    query_bind_text(&q, like->name);
    return query_run(&q, "delete the files of a name", e);
}

int store_file_delete_ended(struct store *s, int64_t now_ms, struct err *e)
{
    struct query q = query_start(s->database, DELETE_ENDED);
    query_bind_integer(&q, now_ms);
    return query_run(&q, "delete files that have ended", e);
}

int store_file_list(struct store *s, const struct file_query *query, struct file_row *out, size_t *count,
                    bool *more, struct err *e)
{
    struct query_page p = {.rows = out, .size = sizeof *out, .limit = query->limit, .read = read_row};
    struct query q = query_start(s->database, query->newest_first ? LIST_NEWEST : LIST_OLDEST);
    query_bind_integer(&q, query->tenant);
    query_bind_integer(&q, query->now_ms);
    query_bind_integer(&q, query->after);
    query_bind_text(&q, query->purpose);
    query_bind_integer(&q, (int64_t)query->limit + 1);
    if (query_page(&q, &p, "list files", e) != 0)
        return -1;
    for (size_t i = 0; i < p.count; i++)
        if (check_row(&out[i], e) != 0)
            return -1;
    *count = p.count;
    *more = p.more;
    return 0;
}

struct usage {
    uint64_t bytes;
    size_t count;
};

static int read_usage(struct query *q, void *arg, struct err *e)
{
    (void)e;
    struct usage *u = arg;
    u->bytes = (uint64_t)query_column_integer(q);
    u->count = (size_t)query_column_integer(q);
    return 0;
}

int store_file_usage(struct store *s, uint32_t tenant, uint64_t *bytes, size_t *count, struct err *e)
{
    struct usage u = {0};
    struct query q = query_start(s->database, USAGE);
    query_bind_integer(&q, tenant);
    if (query_each(&q, read_usage, &u, "add up the files of a tenant", e) != 0)
        return -1;
    *bytes = u.bytes;
    *count = u.count;
    return 0;
}

struct visit {
    store_file_function *call;
    void *arg;
};

static int visit_row(struct query *q, void *arg, struct err *e)
{
    const struct visit *v = arg;
    struct file_row row;
    return read_one(q, &row, e) == 0 ? v->call(v->arg, &row, e) : -1;
}

int store_file_each(struct store *s, store_file_function *visit, void *arg, struct err *e)
{
    struct visit v = {visit, arg};
    struct query q = query_start(s->database, EACH);
    return query_each(&q, visit_row, &v, "read the files", e);
}

static int read_gone(struct query *q, void *arg, struct err *e)
{
    return column_digest(q, arg) == 0 ? 0 : column_malformed("files_gone", e);
}

int store_file_gone(struct store *s, const char *after, char out[SHA256_HEX + 1], struct err *e)
{
    struct query q = query_start(s->database, GONE);
    query_bind_text(&q, after);
    char found[SHA256_HEX + 1] = "";
    if (query_each(&q, read_gone, found, "look for deleted files", e) != 0)
        return -1;
    memcpy(out, found, sizeof found); /* `after` may be the same memory */
    return 0;
}

int store_file_forget(struct store *s, const char *blob, struct err *e)
{
    struct query q = query_start(s->database, FORGET);
    query_bind_text(&q, blob);
    return query_run(&q, "forget a deleted file", e);
}
