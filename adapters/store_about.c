/* Statements about what customers say about adapters. */
#include "adapters/query.h"

enum statement { ABOUT_SET = STORE_STATEMENTS_ABOUT, NOTE_GET };

int store_about_set(struct store *s, int64_t adapter, const struct about *about, const char *note,
                    struct err *e)
{
    struct query q = query_start(s, ABOUT_SET,
                                 "UPDATE adapters SET labels = ?, note = coalesce(?, note), expires_ms = ?,"
                                 " pinned = ? WHERE number = ?");
    query_bind_text(&q, labels_text(about->labels));
    query_bind_text(&q, note);
    if (about->expires_ms)
        query_bind_integer(&q, about->expires_ms);
    else
        query_bind_null(&q);
    query_bind_integer(&q, about->pinned);
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
