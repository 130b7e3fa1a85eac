#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

#define COLUMNS "at_ms, actor, actor_tenant, request, action, tenant, target, detail"
#define OF_TENANT " (?1 IS NULL OR tenant = ?1)"

static const char INSERT[] = "INSERT INTO audit (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
static const char OLDEST_FIRST[] =
    "SELECT number, " COLUMNS " FROM audit WHERE number > ?2 AND" OF_TENANT " ORDER BY number LIMIT ?3";
static const char NEWEST_FIRST[] =
    "SELECT number, " COLUMNS " FROM audit WHERE (?2 = 0 OR number < ?2) AND" OF_TENANT
    " ORDER BY number DESC LIMIT ?3";

int store_audit_insert(struct store *s, const struct audit_row *row, struct err *e)
{
    struct query q = query_start(s->database, INSERT);
    query_bind_integer(&q, row->at_ms);
    query_bind_text(&q, row->by.name);
    query_bind_text(&q, row->by.tenant);
    query_bind_text(&q, row->by.request);
    query_bind_text(&q, row->action);
    query_bind_text(&q, row->tenant);
    query_bind_text(&q, row->target);
    query_bind_text(&q, row->detail);
    return query_run(&q, "add to the audit log", e);
}

static void read_row(struct query *q, void *row)
{
    struct audit_row *out = row;
    out->number = query_column_integer(q);
    out->at_ms = query_column_integer(q);
    query_copy_text(q, out->by.name, sizeof out->by.name);
    query_copy_text(q, out->by.tenant, sizeof out->by.tenant);
    query_copy_text(q, out->by.request, sizeof out->by.request);
    query_copy_text(q, out->action, sizeof out->action);
    query_copy_text(q, out->tenant, sizeof out->tenant);
    query_copy_text(q, out->target, sizeof out->target);
    query_copy_text(q, out->detail, sizeof out->detail);
}

int store_audit_list(struct store *s, const struct audit_query *query, struct audit_row *out, size_t *count,
                     bool *more, struct err *e)
{
    struct query_page p = {.rows = out, .size = sizeof *out, .limit = query->limit, .read = read_row};
    struct query q = query_start(s->database, query->newest_first ? NEWEST_FIRST : OLDEST_FIRST);
    query_bind_text(&q, query->tenant);
    query_bind_integer(&q, query->after);
    query_bind_integer(&q, (int64_t)query->limit + 1);
    if (query_page(&q, &p, "read the audit log", e) != 0)
        return -1;
    *count = p.count;
    *more = p.more;
    return 0;
}
