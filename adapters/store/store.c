#include "adapters/store/store.h"

#include <stdio.h>
#include <string.h>

#include "adapters/store/sqlite/query.h"

enum statement {
    TENANT_LIST,
    TENANT_INSERT,
    TENANT_CHANGE,
    TENANT_DELETE,
    KEY_LIST,
    KEY_INSERT,
    KEY_EXPIRE,
    KEY_USED,
    KEY_REVOKE,
    KEY_DELETE,
    ADAPTER_LIST,
    ADAPTER_INSERT,
    ADAPTER_DELETE,
    VERSION_LIST,
    VERSION_INSERT,
    VERSION_REPLACE_BLOBS,
    VERSION_ACTIVATE,
    VERSION_DEACTIVATE_ALL,
    VERSION_DELETE,
    VERSION_CANARY_OFF,
    VERSION_CANARY_ON,
    ACTIVATION_INSERT,
    ACTIVATION_TRIM,
    ACTIVATION_LIST,
    BLOB_USED,
    AUDIT_INSERT,
    AUDIT_LIST,
    USAGE_ADD,
    USAGE_LIST_TENANT,
    USAGE_LIST_ALL,
    STATEMENTS
};
_Static_assert((int)STATEMENTS <= (int)STORE_STATEMENTS_PROOFS, "every statement has its place");

#define USAGE_SELECT                                                                            \
    "SELECT number, tenant, tenant_id, day, adapter, version, requests, errors, prompt_tokens," \
    " completion_tokens, cached_tokens FROM usage"
#define USAGE_FILTER                                                                  \
    " AND number > ?3 AND (?4 IS NULL OR adapter = ?4) AND (?5 IS NULL OR day >= ?5)" \
    " AND (?6 IS NULL OR day <= ?6) ORDER BY number LIMIT ?7"

static const char *const SQL[STATEMENTS] = {
    [TENANT_LIST] = "SELECT number, id, created_ms, adapters_max, adapter_bytes_max, tokens_per_minute,"
                    " requests_in_flight_max, weight, default_adapter FROM tenants ORDER BY id",
    [TENANT_INSERT] =
        "INSERT INTO tenants (id, created_ms, adapters_max, adapter_bytes_max, tokens_per_minute,"
        " requests_in_flight_max, weight, default_adapter) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [TENANT_CHANGE] = "UPDATE tenants SET adapters_max = ?, adapter_bytes_max = ?, tokens_per_minute = ?,"
                      " requests_in_flight_max = ?, weight = ?, default_adapter = ? WHERE number = ?",
    [TENANT_DELETE] = "DELETE FROM tenants WHERE number = ?",

    [KEY_LIST] = "SELECT tenant, kid, label, hash, created_ms, revoked_ms, expires_ms, used_ms FROM keys"
                 " ORDER BY tenant, kid",
    [KEY_INSERT] = "INSERT INTO keys (tenant, kid, label, hash, created_ms, expires_ms)"
                   " VALUES (?, ?, ?, ?, ?, ?)",
    [KEY_EXPIRE] = "UPDATE keys SET expires_ms = ? WHERE kid = ?",
    [KEY_USED] = "UPDATE keys SET used_ms = ? WHERE kid = ?",
    [KEY_REVOKE] = "UPDATE keys SET revoked_ms = ? WHERE kid = ? AND revoked_ms IS NULL",
    [KEY_DELETE] = "DELETE FROM keys WHERE kid = ?",

    [ADAPTER_LIST] = "SELECT number, tenant, name, created_ms, labels, expires_ms, pinned FROM adapters"
                     " ORDER BY tenant, name",
    [ADAPTER_INSERT] = "INSERT INTO adapters (tenant, name, created_ms) VALUES (?, ?, ?)",
    [ADAPTER_DELETE] = "DELETE FROM adapters WHERE number = ?",

    [VERSION_LIST] =
        "SELECT a.tenant, a.name, v.digest, v.config_blob, v.weights_blob, v.config_bytes,"
        " v.weights_bytes, v.rank_max, v.sites, v.parameters, v.created_ms, v.proof_max, v.proof_mean,"
        " v.active, v.canary FROM versions v JOIN adapters a ON a.number = v.adapter ORDER BY v.number",
    [VERSION_INSERT] =
        "INSERT INTO versions (adapter, digest, config_blob, weights_blob, config_bytes, weights_bytes,"
        " rank_max, sites, parameters, created_ms, proof_max, proof_mean, active)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    [VERSION_REPLACE_BLOBS] = "UPDATE versions SET config_blob = ?, weights_blob = ?, config_bytes = ?,"
                              " weights_bytes = ? WHERE adapter = ? AND digest = ?",
    [VERSION_ACTIVATE] = "UPDATE versions SET active = 1, canary = 0 WHERE adapter = ? AND digest = ?",
    [VERSION_DEACTIVATE_ALL] = "UPDATE versions SET active = 0 WHERE adapter = ? AND active = 1",

    [ACTIVATION_INSERT] = "INSERT INTO activations (adapter, digest, at_ms, actor) VALUES (?, ?, ?, ?)",
    [ACTIVATION_TRIM] =
        "DELETE FROM activations WHERE adapter = ?1 AND number <= (SELECT number FROM activations"
        " WHERE adapter = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
    [ACTIVATION_LIST] = "SELECT digest, at_ms, actor FROM activations WHERE adapter = ?"
                        " ORDER BY number DESC LIMIT ?",

    [VERSION_CANARY_OFF] = "UPDATE versions SET canary = 0 WHERE adapter = ? AND canary > 0",
    [VERSION_CANARY_ON] = "UPDATE versions SET canary = ?3 WHERE adapter = ?1 AND digest = ?2",
    [VERSION_DELETE] = "DELETE FROM versions WHERE adapter = ? AND digest = ?",
    [BLOB_USED] = "SELECT EXISTS (SELECT 1 FROM versions WHERE weights_blob = ?1)"
                  " OR EXISTS (SELECT 1 FROM versions WHERE config_blob = ?1)",

    [AUDIT_INSERT] = "INSERT INTO audit (at_ms, actor, actor_tenant, request, action, tenant, target, detail)"
                     " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    [AUDIT_LIST] = "SELECT number, at_ms, actor, actor_tenant, request, action, tenant, target, detail"
                   " FROM audit WHERE number > ?2 AND (?1 IS NULL OR tenant = ?1) ORDER BY number LIMIT ?3",

    [USAGE_ADD] =
        "INSERT INTO usage (tenant, tenant_id, day, adapter, version, requests, errors, prompt_tokens,"
        " completion_tokens, cached_tokens) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (tenant, day, adapter, version) DO UPDATE SET requests = requests + excluded.requests,"
        " errors = errors + excluded.errors, prompt_tokens = prompt_tokens + excluded.prompt_tokens,"
        " completion_tokens = completion_tokens + excluded.completion_tokens,"
        " cached_tokens = cached_tokens + excluded.cached_tokens",
    [USAGE_LIST_TENANT] = USAGE_SELECT " WHERE tenant_id = ?1 AND (?2 = 0 OR tenant = ?2)" USAGE_FILTER,
    [USAGE_LIST_ALL] = USAGE_SELECT " WHERE ?1 IS NULL AND ?2 = 0" USAGE_FILTER,
};

static struct query start(struct store *s, enum statement which)
{
    return query_start(s, which, SQL[which]);
}

static int malformed(const char *what, struct err *e)
{
    err_set(e, "registry_malformed", "registry: a row of %s holds what this daemon cannot have written",
            what);
    return err_hint(e, "restore the data directory from a backup");
}

static int column_name(struct query *q, char out[NAME_MAX_BYTES + 1])
{
    const char *text = query_column_text(q);
    if (!name_valid(text))
        return -1;
    strcpy(out, text);
    return 0;
}

/* Borrowed until the next row. NULL: no digest. */
static const char *column_blob_name(struct query *q)
{
    uint8_t bytes[SHA256_BYTES];
    const char *text = query_column_text(q);
    return hex_decode(text, bytes, sizeof bytes) == 0 ? text : NULL;
}

static int column_digest(struct query *q, char out[SHA256_HEX + 1])
{
    uint8_t bytes[SHA256_BYTES];
    const char *text = query_column_text(q);
    if (hex_decode(text, bytes, sizeof bytes) != 0)
        return -1;
    strcpy(out, text);
    return 0;
}

static int column_quota(struct query *q, enum quota_kind kind, struct quota *out)
{
    const struct quota_bounds *b = &quota_bounds[kind];
    int64_t value = query_column_integer(q);
    bool unset = sqlite3_column_type(q->statement, q->column) == SQLITE_NULL;
    out->of[kind] = unset ? QUOTA_UNSET : value;
    return unset || (value >= b->low && value <= b->high) ? 0 : -1;
}

/* ---- loading ---- */

static int read_tenant(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_tenant row = {.number = (uint32_t)query_column_integer(q)};
    row.id = query_column_text(q);
    row.created_ms = query_column_integer(q);
    bool whole = name_valid(row.id);
    for (int i = 0; i < QUOTAS; i++)
        whole = column_quota(q, (enum quota_kind)i, &row.quota) == 0 && whole;
    row.default_adapter = query_column_text(q);
    whole = whole && (!row.default_adapter[0] || name_valid(row.default_adapter));
    return whole ? v->tenant(arg, &row, e) : malformed("tenants", e);
}

static int read_key(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_key row = {.tenant = (uint32_t)query_column_integer(q)};
    row.kid = query_column_text(q);
    row.label = query_column_text(q);
    const void *hash = sqlite3_column_blob(q->statement, ++q->column);
    bool whole = hash && sqlite3_column_bytes(q->statement, q->column) == SHA256_BYTES;
    if (!whole || strlen(row.kid) >= KID_BYTES || strlen(row.label) > LABEL_MAX_BYTES)
        return malformed("keys", e);
    memcpy(row.hash, hash, SHA256_BYTES);
    row.created_ms = query_column_integer(q);
    row.revoked = sqlite3_column_type(q->statement, ++q->column) != SQLITE_NULL;
    row.expires_ms = query_column_integer(q); /* NULL reads as 0 */
    row.used_ms = query_column_integer(q);
    return v->key(arg, &row, e);
}

static int read_adapter(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_adapter row = {.number = query_column_integer(q)};
    row.tenant = (uint32_t)query_column_integer(q);
    row.name = query_column_text(q);
    row.created_ms = query_column_integer(q);
    row.labels = query_column_text(q);
    row.expires_ms = query_column_integer(q); /* NULL reads as 0 */
    row.pinned = query_column_integer(q) != 0;
    return name_valid(row.name) ? v->adapter(arg, &row, e) : malformed("adapters", e);
}

static int read_version(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_version row = {.tenant = (uint32_t)query_column_integer(q)};
    struct version *values = &row.values;
    if (column_name(q, values->name) != 0 || column_digest(q, values->digest) != 0 ||
        !(values->config_blob = column_blob_name(q)) || !(values->weights_blob = column_blob_name(q)))
        return malformed("versions", e);
    row.adapter = values->name;
    values->tenant = row.tenant;
    values->config_bytes = (uint64_t)query_column_integer(q);
    values->weights_bytes = (uint64_t)query_column_integer(q);
    values->rank_max = (int)query_column_integer(q);
    values->sites = (int)query_column_integer(q);
    values->parameters = query_column_integer(q);
    values->created_ms = query_column_integer(q);
    values->proof_max = query_column_real(q);
    values->proof_mean = query_column_real(q);
    values->active = query_column_integer(q) != 0;
    values->canary = (int)query_column_integer(q);
    return v->version(arg, &row, e);
}

static int load_rows(struct store *s, enum statement which,
                     int (*read)(struct query *, const struct store_visitor *, void *, struct err *),
                     const struct store_visitor *v, void *arg, struct err *e)
{
    struct query q = start(s, which);
    int status;
    while ((status = query_step(&q)) == SQLITE_ROW) {
        if (read(&q, v, arg, e) != 0) {
            query_end(&q);
            return -1;
        }
    }
    if (status != SQLITE_DONE)
        return query_fail(&q, "read the rows", e);
    query_end(&q);
    return 0;
}

int store_load(struct store *s, const struct store_visitor *v, void *arg, struct err *e)
{
    if (load_rows(s, TENANT_LIST, read_tenant, v, arg, e) != 0 ||
        load_rows(s, KEY_LIST, read_key, v, arg, e) != 0 ||
        load_rows(s, ADAPTER_LIST, read_adapter, v, arg, e) != 0)
        return -1;
    return load_rows(s, VERSION_LIST, read_version, v, arg, e);
}

/* ---- tenants ---- */

static void bind_quota(struct query *q, const struct store_tenant *row)
{
    for (int i = 0; i < QUOTAS; i++) {
        if (row->quota.of[i] == QUOTA_UNSET)
            query_bind_null(q);
        else
            query_bind_integer(q, row->quota.of[i]);
    }
    if (row->default_adapter[0])
        query_bind_text(q, row->default_adapter);
    else
        query_bind_null(q);
}

int store_tenant_change(struct store *s, const struct store_tenant *row, struct err *e)
{
    struct query q = start(s, TENANT_CHANGE);
    bind_quota(&q, row);
    query_bind_integer(&q, row->number);
    return query_run(&q, "change a tenant", e);
}

int store_tenant_insert(struct store *s, const struct store_tenant *row, uint32_t *number, struct err *e)
{
    struct query q = start(s, TENANT_INSERT);
    query_bind_text(&q, row->id);
    query_bind_integer(&q, row->created_ms);
    bind_quota(&q, row);
    if (query_run(&q, "add a tenant", e) != 0)
        return -1;
    *number = (uint32_t)sqlite3_last_insert_rowid(s->connection);
    return 0;
}

int store_tenant_delete(struct store *s, uint32_t number, struct err *e)
{
    struct query q = start(s, TENANT_DELETE);
    query_bind_integer(&q, number);
    return query_run(&q, "delete a tenant", e);
}

/* ---- keys ---- */

int store_key_insert(struct store *s, const struct store_key *row, struct err *e)
{
    struct query q = start(s, KEY_INSERT);
    query_bind_integer(&q, row->tenant);
    query_bind_text(&q, row->kid);
    query_bind_text(&q, row->label);
    query_bind_hash(&q, row->hash);
    query_bind_integer(&q, row->created_ms);
    if (row->expires_ms)
        query_bind_integer(&q, row->expires_ms);
    else
        query_bind_null(&q);
    return query_run(&q, "add a key", e);
}

int store_key_expire(struct store *s, const char *kid, int64_t expires_ms, struct err *e)
{
    struct query q = start(s, KEY_EXPIRE);
    query_bind_integer(&q, expires_ms);
    query_bind_text(&q, kid);
    return query_run(&q, "let a key expire", e);
}

int store_key_used(struct store *s, const char *kid, int64_t used_ms, struct err *e)
{
    struct query q = start(s, KEY_USED);
    query_bind_integer(&q, used_ms);
    query_bind_text(&q, kid);
    return query_run(&q, "note the use of a key", e);
}

int store_key_revoke(struct store *s, const char *kid, int64_t revoked_ms, struct err *e)
{
    struct query q = start(s, KEY_REVOKE);
    query_bind_integer(&q, revoked_ms);
    query_bind_text(&q, kid);
    return query_run(&q, "revoke a key", e);
}

int store_key_delete(struct store *s, const char *kid, struct err *e)
{
    struct query q = start(s, KEY_DELETE);
    query_bind_text(&q, kid);
    return query_run(&q, "delete a key", e);
}

/* ---- adapters and versions ---- */

int store_adapter_insert(struct store *s, uint32_t tenant, const char *name, int64_t created_ms,
                         int64_t *number, struct err *e)
{
    struct query q = start(s, ADAPTER_INSERT);
    query_bind_integer(&q, tenant);
    query_bind_text(&q, name);
    query_bind_integer(&q, created_ms);
    if (query_run(&q, "add an adapter", e) != 0)
        return -1;
    *number = sqlite3_last_insert_rowid(s->connection);
    return 0;
}

int store_adapter_delete(struct store *s, int64_t number, struct err *e)
{
    struct query q = start(s, ADAPTER_DELETE);
    query_bind_integer(&q, number);
    return query_run(&q, "delete an adapter", e);
}

int store_version_insert(struct store *s, int64_t adapter, const struct version *v, struct err *e)
{
    struct query q = start(s, VERSION_INSERT);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, v->digest);
    query_bind_text(&q, v->config_blob);
    query_bind_text(&q, v->weights_blob);
    query_bind_integer(&q, (int64_t)v->config_bytes);
    query_bind_integer(&q, (int64_t)v->weights_bytes);
    query_bind_integer(&q, v->rank_max);
    query_bind_integer(&q, v->sites);
    query_bind_integer(&q, v->parameters);
    query_bind_integer(&q, v->created_ms);
    query_bind_real(&q, v->proof_max);
    query_bind_real(&q, v->proof_mean);
    query_bind_integer(&q, v->active);
    return query_run(&q, "add a version", e);
}

int store_version_replace_blobs(struct store *s, int64_t adapter, const struct version *v, struct err *e)
{
    struct query q = start(s, VERSION_REPLACE_BLOBS);
    query_bind_text(&q, v->config_blob);
    query_bind_text(&q, v->weights_blob);
    query_bind_integer(&q, (int64_t)v->config_bytes);
    query_bind_integer(&q, (int64_t)v->weights_bytes);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, v->digest);
    return query_run(&q, "repair a version", e);
}

int store_version_activate(struct store *s, int64_t adapter, const char *digest, struct err *e)
{
    if (store_version_deactivate_all(s, adapter, e) != 0)
        return -1;
    struct query q = start(s, VERSION_ACTIVATE);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, digest);
    return query_run(&q, "activate a version", e);
}

int store_version_deactivate_all(struct store *s, int64_t adapter, struct err *e)
{
    struct query q = start(s, VERSION_DEACTIVATE_ALL);
    query_bind_integer(&q, adapter);
    return query_run(&q, "deactivate a version", e);
}

int store_version_canary(struct store *s, int64_t adapter, const char *digest, int share, struct err *e)
{
    struct query q = start(s, VERSION_CANARY_OFF);
    query_bind_integer(&q, adapter);
    if (query_run(&q, "end a canary", e) != 0)
        return -1;
    if (share == 0)
        return 0;
    q = start(s, VERSION_CANARY_ON);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, digest);
    query_bind_integer(&q, share);
    return query_run(&q, "begin a canary", e);
}

int store_version_delete(struct store *s, int64_t adapter, const char *digest, struct err *e)
{
    struct query q = start(s, VERSION_DELETE);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, digest);
    return query_run(&q, "delete a version", e);
}

int store_blob_used(struct store *s, const char *blob, bool *used, struct err *e)
{
    struct query q = start(s, BLOB_USED);
    query_bind_text(&q, blob);
    if (query_step(&q) != SQLITE_ROW)
        return query_fail(&q, "look for users of a blob", e);
    *used = query_column_integer(&q) != 0;
    query_end(&q);
    return 0;
}

/* ---- activations ---- */

int store_activation_insert(struct store *s, int64_t adapter, const struct activation *row, struct err *e)
{
    struct query q = start(s, ACTIVATION_INSERT);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, row->digest);
    query_bind_integer(&q, row->at_ms);
    query_bind_text(&q, row->by);
    if (query_run(&q, "add an activation", e) != 0)
        return -1;
    q = start(s, ACTIVATION_TRIM);
    query_bind_integer(&q, adapter);
    query_bind_integer(&q, ADAPTER_HISTORY_MAX);
    return query_run(&q, "forget old activations", e);
}

int store_activation_list(struct store *s, int64_t adapter, struct activation out[ADAPTER_HISTORY_MAX],
                          size_t *count, struct err *e)
{
    struct query q = start(s, ACTIVATION_LIST);
    size_t n = 0;
    int status;
    query_bind_integer(&q, adapter);
    query_bind_integer(&q, ADAPTER_HISTORY_MAX);
    while ((status = query_step(&q)) == SQLITE_ROW && n < ADAPTER_HISTORY_MAX) {
        query_copy_text(&q, out[n].digest, sizeof out[n].digest);
        out[n].at_ms = query_column_integer(&q);
        query_copy_text(&q, out[n++].by, sizeof out->by);
    }
    if (status != SQLITE_DONE)
        return query_fail(&q, "read the activations", e);
    query_end(&q);
    *count = n;
    return 0;
}

/* ---- audit ---- */

int store_audit_insert(struct store *s, const struct audit_row *row, struct err *e)
{
    struct query q = start(s, AUDIT_INSERT);
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

static void read_audit(struct query *q, struct audit_row *out)
{
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

int store_audit_list(struct store *s, const char *tenant, int64_t after, size_t limit, struct audit_row *out,
                     size_t *count, bool *more, struct err *e)
{
    struct query q = start(s, AUDIT_LIST);
    size_t n = 0;
    int status;
    query_bind_text(&q, tenant);
    query_bind_integer(&q, after);
    query_bind_integer(&q, (int64_t)limit + 1);
    while ((status = query_step(&q)) == SQLITE_ROW && n < limit)
        read_audit(&q, &out[n++]);
    if (status != SQLITE_ROW && status != SQLITE_DONE)
        return query_fail(&q, "read the audit log", e);
    query_end(&q);
    *count = n;
    *more = status == SQLITE_ROW;
    return 0;
}

/* ---- usage ---- */

int store_usage_add(struct store *s, const struct usage_row *row, struct err *e)
{
    struct query q = start(s, USAGE_ADD);
    query_bind_integer(&q, row->tenant);
    query_bind_text(&q, row->tenant_id);
    query_bind_text(&q, row->day);
    query_bind_text(&q, row->adapter);
    query_bind_text(&q, row->version);
    for (int i = 0; i < USAGE_KINDS; i++)
        query_bind_integer(&q, row->count[i]);
    return query_run(&q, "add to the usage", e);
}

static void read_usage(struct query *q, struct usage_row *out)
{
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
    struct query q = start(s, query->tenant_id ? USAGE_LIST_TENANT : USAGE_LIST_ALL);
    size_t n = 0;
    int status;
    query_bind_text(&q, query->tenant_id);
    query_bind_integer(&q, query->tenant);
    query_bind_integer(&q, query->after);
    query_bind_text(&q, query->adapter);
    query_bind_text(&q, query->from);
    query_bind_text(&q, query->to);
    query_bind_integer(&q, (int64_t)query->limit + 1);
    while ((status = query_step(&q)) == SQLITE_ROW && n < query->limit)
        read_usage(&q, &out[n++]);
    if (status != SQLITE_ROW && status != SQLITE_DONE)
        return query_fail(&q, "read the usage", e);
    query_end(&q);
    *count = n;
    *more = status == SQLITE_ROW;
    return 0;
}
