#include <string.h>

#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

static const char LIST[] =
    "SELECT tenant, kid, label, hash, created_ms, revoked_ms, expires_ms, used_ms FROM keys"
    " ORDER BY tenant, kid";
static const char INSERT[] = "INSERT INTO keys (tenant, kid, label, hash, created_ms, expires_ms)"
                             " VALUES (?, ?, ?, ?, ?, ?)";
static const char EXPIRE[] = "UPDATE keys SET expires_ms = ? WHERE kid = ?";
static const char USED[] = "UPDATE keys SET used_ms = ? WHERE kid = ?";
static const char REVOKE[] = "UPDATE keys SET revoked_ms = ? WHERE kid = ? AND revoked_ms IS NULL";
static const char DELETE[] = "DELETE FROM keys WHERE kid = ?";

static int read_row(struct query *q, void *arg, struct err *e)
{
    const struct store_reader *r = arg;
    int64_t revoked_ms;
    struct store_key row = {.tenant = (uint32_t)query_column_integer(q)};
    row.kid = query_column_text(q);
    row.label = query_column_text(q);
    if (query_column_hash(q, row.hash) != 0 || strlen(row.kid) >= KID_BYTES ||
        strlen(row.label) > LABEL_MAX_BYTES)
        return column_malformed("keys", e);
    row.created_ms = query_column_integer(q);
    row.revoked = query_column_known(q, &revoked_ms);
    row.expires_ms = query_column_integer(q);
    row.used_ms = query_column_integer(q);
    return r->visitor->key(r->arg, &row, e);
}

int store_keys_load(struct store *s, struct store_reader *r, struct err *e)
{
    struct query q = query_start(s->database, LIST);
    return query_each(&q, read_row, r, "read the keys", e);
}

int store_key_insert(struct store *s, const struct store_key *row, struct err *e)
{
    struct query q = query_start(s->database, INSERT);
    query_bind_integer(&q, row->tenant);
    query_bind_text(&q, row->kid);
    query_bind_text(&q, row->label);
    query_bind_hash(&q, row->hash);
    query_bind_integer(&q, row->created_ms);
    query_bind_time(&q, row->expires_ms);
    return query_run(&q, "add a key", e);
}

/* The three times that a key has. */
static int set_time(struct store *s, const char *sql, const char *kid, int64_t ms, const char *doing,
                    struct err *e)
{
    struct query q = query_start(s->database, sql);
    query_bind_integer(&q, ms);
    query_bind_text(&q, kid);
    return query_run(&q, doing, e);
}

int store_key_expire(struct store *s, const char *kid, int64_t expires_ms, struct err *e)
{
    return set_time(s, EXPIRE, kid, expires_ms, "let a key expire", e);
}

int store_key_used(struct store *s, const char *kid, int64_t used_ms, struct err *e)
{
    return set_time(s, USED, kid, used_ms, "note the use of a key", e);
}

int store_key_revoke(struct store *s, const char *kid, int64_t revoked_ms, struct err *e)
{
    return set_time(s, REVOKE, kid, revoked_ms, "revoke a key", e);
}

int store_key_delete(struct store *s, const char *kid, struct err *e)
{
    struct query q = query_start(s->database, DELETE);
    query_bind_text(&q, kid);
    return query_run(&q, "delete a key", e);
}
