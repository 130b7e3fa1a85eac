/* Statements about what customers say about adapters. */
#include "adapters/store/sqlite/query.h"

enum statement { METADATA_SET = STORE_STATEMENTS_METADATA, NOTE_GET };

int store_metadata_set(struct store *s, int64_t adapter, const struct metadata *metadata, const char *note,
                       struct err *e)
{
    struct query q = query_start(s, METADATA_SET,
                                 "UPDATE adapters SET labels = ?, note = coalesce(?, note), expires_ms = ?,"
                                 " pinned = ? WHERE number = ?");
    query_bind_text(&q, labels_text(metadata->labels));
    query_bind_text(&q, note);
    if (metadata->expires_ms)
        query_bind_integer(&q, metadata->expires_ms);
    else
        query_bind_null(&q);
    query_bind_integer(&q, metadata->pinned);
    query_bind_integer(&q, adapter);
    return query_run(&q, "describe an adapter", e);
}

int store_note_get(struct store *s, int64_t adapter, struct buf *out, struct err *e)
{
    struct query q = query_start(s, NOTE_GET, "SELECT note FROM adapters WHERE number = ?");
    query_bind_integer(&q, adapter);
    if (query_step(&q) != SQLITE_ROW)
        return query_fail(&q, "read a note", e);
    int result = query_column_bytes(&q, out) == 0 ? 0 : err_memory(e);
    query_end(&q);
    return result;
}
