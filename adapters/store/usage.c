#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

#define COUNTS "requests, errors, prompt_tokens, completion_tokens, cached_tokens, trained_tokens"
#define COLUMNS "tenant, tenant_id, day, adapter, version, " COUNTS
#define FILTER                                                                        \
    " AND number > ?3 AND (?4 IS NULL OR adapter = ?4) AND (?5 IS NULL OR day >= ?5)" \
    " AND (?6 IS NULL OR day <= ?6) ORDER BY number LIMIT ?7"

static const char ADD[] =
    "INSERT INTO usage (" COLUMNS ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
    " ON CONFLICT (tenant, day, adapter, version) DO UPDATE SET requests = usage.requests + "
    "excluded.requests,"
    " errors = usage.errors + excluded.errors, prompt_tokens = usage.prompt_tokens + excluded.prompt_tokens,"
    " completion_tokens = usage.completion_tokens + excluded.completion_tokens,"
    " cached_tokens = usage.cached_tokens + excluded.cached_tokens,"
    " trained_tokens = usage.trained_tokens + excluded.trained_tokens";
static const char LIST_TENANT[] =
    "SELECT number, " COLUMNS " FROM usage WHERE tenant_id = ?1 AND (?2 = 0 OR tenant = ?2)" FILTER;
static const char LIST_ALL[] = "SELECT number, " COLUMNS " FROM usage WHERE ?1 IS NULL AND ?2 = 0" FILTER;

int store_usage_add(struct store *s, const struct usage_row *row, struct err *e)
{
    struct query q = query_start(s->database, ADD);
    query_bind_integer(&q, row->tenant);
    query_bind_text(&q, row->tenant_id);
    query_bind_text(&q, row->day);
    query_bind_text(&q, row->adapter);
    query_bind_text(&q, row->version);
    for (int i = 0; i < USAGE_KINDS; i++)
        query_bind_integer(&q, row->count[i]);
    return query_run(&q, "add to the usage", e);
}

static void read_row(struct query *q, void *row)
{
    struct usage_row *out = row;
    *out = (struct usage_row){.number = query_column_integer(q)};
    out->tenant = (uint32_t)query_column_integer(q);
    query_copy_text(q, out->tenant_id, sizeof out->tenant_id);
    query_copy_text(q, out->day, sizeof out->day);
    query_copy_text(q, out->adapter, sizeof out->adapter);
    query_copy_text(q, out->version, sizeof out->version);
    for (int i = 0; i < USAGE_KINDS; i++)
        out->count[i] = query_column_integer(q);
}

int store_usage_list(struct store *s, const struct usage_query *query, struct usage_row *out, size_t *count,
                     bool *more, struct err *e)
{
    struct query_page p = {.rows = out, .size = sizeof *out, .limit = query->limit, .read = read_row};
    struct query q = query_start(s->database, query->tenant_id ? LIST_TENANT : LIST_ALL);
    query_bind_text(&q, query->tenant_id);
    query_bind_integer(&q, query->tenant);
    query_bind_integer(&q, query->after);
    query_bind_text(&q, query->adapter);
    query_bind_text(&q, query->from);
    query_bind_text(&q, query->to);
    query_bind_integer(&q, (int64_t)query->limit + 1);
    if (query_page(&q, &p, "read the usage", e) != 0)
        return -1;
    *count = p.count;
    *more = p.more;
    return 0;
}
