#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

static const char LIST[] = "SELECT number, tenant, name, created_ms, labels, expires_ms, pinned FROM adapters"
                           " ORDER BY tenant, name";
static const char INSERT[] =
    "INSERT INTO adapters (tenant, name, created_ms) VALUES (?, ?, ?) RETURNING number";
static const char DELETE[] = "DELETE FROM adapters WHERE number = ?";
static const char DESCRIBE[] =
    "UPDATE adapters SET labels = ?, note = coalesce(?, note), expires_ms = ?, pinned = ?"
    " WHERE number = ?";
static const char NOTE[] = "SELECT note FROM adapters WHERE number = ?";

static int read_row(struct query *q, void *arg, struct err *e)
{
    const struct store_reader *r = arg;
    struct store_adapter row = {.number = query_column_integer(q)};
    row.tenant = (uint32_t)query_column_integer(q);
    row.name = query_column_text(q);
    row.created_ms = query_column_integer(q);
    row.labels = query_column_text(q);
    row.expires_ms = query_column_integer(q);
    row.pinned = query_column_integer(q) != 0;
    return name_valid(row.name) ? r->visitor->adapter(r->arg, &row, e) : column_malformed("adapters", e);
}

int store_adapters_load(struct store *s, struct store_reader *r, struct err *e)
{
    struct query q = query_start(s->database, LIST);
    return query_each(&q, read_row, r, "read the adapters", e);
}

int store_adapter_insert(struct store *s, uint32_t tenant, const char *name, int64_t created_ms,
                         int64_t *number, struct err *e)
{
    struct query q = query_start(s->database, INSERT);
    query_bind_integer(&q, tenant);
    query_bind_text(&q, name);
    query_bind_integer(&q, created_ms);
    return query_insert(&q, number, "add an adapter", e);
}

int store_adapter_delete(struct store *s, int64_t number, struct err *e)
{
    struct query q = query_start(s->database, DELETE);
    query_bind_integer(&q, number);
    return query_run(&q, "delete an adapter", e) == 0 ? store_settings_sweep(s, e) : -1;
}

/* ---- what is said about it ---- */

int store_metadata_set(struct store *s, int64_t adapter, const struct metadata *m, const char *note,
                       struct err *e)
{
    struct query q = query_start(s->database, DESCRIBE);
    query_bind_text(&q, labels_text(m->labels));
    query_bind_text(&q, note);
    query_bind_time(&q, m->expires_ms);
    query_bind_integer(&q, m->pinned);
    query_bind_integer(&q, adapter);
    return query_run(&q, "describe an adapter", e);
}

int store_note_get(struct store *s, int64_t adapter, struct buf *out, struct err *e)
{
    struct query q = query_start(s->database, NOTE);
    query_bind_integer(&q, adapter);
    if (query_step(&q) != SQL_ROW)
        return query_fail(&q, "read a note", e);
    int result = query_column_bytes(&q, out) == 0 ? 0 : err_memory(e);
    query_end(&q);
    return result;
}
