#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

#define QUOTA_COLUMNS                                                                              \
    "adapters_max, adapter_bytes_max, files_bytes_max, tokens_per_minute, requests_in_flight_max," \
    " training_jobs_max, training_tokens_per_day, training_rank_max, weight"

static const char LIST[] =
    "SELECT number, id, created_ms, " QUOTA_COLUMNS ", default_adapter FROM tenants ORDER BY id";
static const char INSERT[] = "INSERT INTO tenants (id, created_ms, " QUOTA_COLUMNS ", default_adapter)"
                             " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING number";
static const char CHANGE[] =
    "UPDATE tenants SET adapters_max = ?, adapter_bytes_max = ?, files_bytes_max = ?, tokens_per_minute = ?,"
    " requests_in_flight_max = ?, training_jobs_max = ?, training_tokens_per_day = ?,"
    " training_rank_max = ?, weight = ?, default_adapter = ? WHERE number = ?";
static const char DELETE[] = "DELETE FROM tenants WHERE number = ?";

static int read_row(struct query *q, void *arg, struct err *e)
{
    const struct store_reader *r = arg;
    struct store_tenant row = {.number = (uint32_t)query_column_integer(q)};
    row.id = query_column_text(q);
    row.created_ms = query_column_integer(q);
    bool whole = name_valid(row.id);
    for (int i = 0; i < QUOTAS; i++)
        whole = column_quota(q, (enum quota_kind)i, &row.quota) == 0 && whole;
    row.default_adapter = query_column_text(q);
    whole = whole && (!row.default_adapter[0] || name_valid(row.default_adapter));
    return whole ? r->visitor->tenant(r->arg, &row, e) : column_malformed("tenants", e);
}

int store_tenants_load(struct store *s, struct store_reader *r, struct err *e)
{
    struct query q = query_start(s->database, LIST);
    return query_each(&q, read_row, r, "read the tenants", e);
}

static void bind_quota(struct query *q, const struct store_tenant *row)
{
    for (int i = 0; i < QUOTAS; i++) {
        if (row->quota.of[i] == QUOTA_UNSET)
            query_bind_null(q);
        else
            query_bind_integer(q, row->quota.of[i]);
    }
    query_bind_text(q, row->default_adapter[0] ? row->default_adapter : NULL);
}

int store_tenant_insert(struct store *s, const struct store_tenant *row, uint32_t *number, struct err *e)
{
    int64_t given;
    struct query q = query_start(s->database, INSERT);
    query_bind_text(&q, row->id);
    query_bind_integer(&q, row->created_ms);
    bind_quota(&q, row);
    if (query_insert(&q, &given, "add a tenant", e) != 0)
        return -1;
    *number = (uint32_t)given;
    return 0;
}

int store_tenant_change(struct store *s, const struct store_tenant *row, struct err *e)
{
    struct query q = query_start(s->database, CHANGE);
    bind_quota(&q, row);
    query_bind_integer(&q, row->number);
    return query_run(&q, "change a tenant", e);
}

int store_tenant_delete(struct store *s, uint32_t number, struct err *e)
{
    struct query q = query_start(s->database, DELETE);
    query_bind_integer(&q, number);
    return query_run(&q, "delete a tenant", e) == 0 ? store_settings_sweep(s, e) : -1;
}
