#include "adapters/store.h"

#include <stdio.h>
#include <string.h>

#include "adapters/store_private.h"

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
_Static_assert((int)STATEMENTS <= (int)STORE_STATEMENTS_MAX, "every statement has its place");

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

    [ADAPTER_LIST] = "SELECT number, tenant, name, created_ms FROM adapters ORDER BY tenant, name",
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

/* ---- running a statement: bind in order, then run or step ---- */

struct query {
    struct store *store;
    sqlite3_stmt *statement; /* NULL after an error of preparing */
    int column;              /* last parameter bound or column read */
    int status;              /* first error of binding */
};

static struct query query_start(struct store *s, enum statement which)
{
    struct query q = {.store = s, .column = 0, .status = SQLITE_OK};
    if (!s->statements[which])
        q.status = sqlite3_prepare_v3(s->connection, SQL[which], -1, SQLITE_PREPARE_PERSISTENT,
                                      &s->statements[which], NULL);
    q.statement = s->statements[which];
    return q;
}

static void note_status(struct query *q, int status)
{
    if (q->status == SQLITE_OK)
        q->status = status;
}

static void bind_text(struct query *q, const char *text)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_text(q->statement, ++q->column, text, -1, SQLITE_STATIC));
}

static void bind_integer(struct query *q, int64_t value)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_int64(q->statement, ++q->column, value));
}

static void bind_null(struct query *q)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_null(q->statement, ++q->column));
}

static void bind_real(struct query *q, double value)
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_double(q->statement, ++q->column, value));
}

static void bind_hash(struct query *q, const uint8_t hash[SHA256_BYTES])
{
    if (q->status == SQLITE_OK)
        note_status(q, sqlite3_bind_blob(q->statement, ++q->column, hash, SHA256_BYTES, SQLITE_STATIC));
}

/* Next row: SQLITE_ROW, SQLITE_DONE or an error. */
static int query_step(struct query *q)
{
    if (q->status == SQLITE_OK) {
        q->column = -1;
        return sqlite3_step(q->statement);
    }
    return q->status;
}

static void query_end(struct query *q)
{
    if (q->statement) {
        sqlite3_reset(q->statement);
        sqlite3_clear_bindings(q->statement);
    }
}

static int query_fail(struct query *q, const char *doing, struct err *e)
{
    store_error(q->store, doing, e);
    query_end(q);
    return -1;
}

/* Run a statement that returns no rows. */
static int query_run(struct query *q, const char *doing, struct err *e)
{
    if (query_step(q) != SQLITE_DONE)
        return query_fail(q, doing, e);
    query_end(q);
    return 0;
}

/* ---- reading columns, in order ---- */

static int64_t column_integer(struct query *q)
{
    return sqlite3_column_int64(q->statement, ++q->column);
}

static double column_real(struct query *q)
{
    return sqlite3_column_double(q->statement, ++q->column);
}

static const char *column_text(struct query *q) /* never NULL: memory that ran out shows as an empty text */
{
    const char *text = (const char *)sqlite3_column_text(q->statement, ++q->column);
    return text ? text : "";
}

static void copy_text(struct query *q, char *out, size_t size)
{
    snprintf(out, size, "%s", column_text(q));
}

static int malformed(const char *what, struct err *e)
{
    err_set(e, "registry_malformed", "registry: a row of %s holds what this daemon cannot have written",
            what);
    return err_hint(e, "restore the data directory from a backup");
}

static int column_name(struct query *q, char out[NAME_MAX_BYTES + 1])
{
    const char *text = column_text(q);
    if (!name_valid(text))
        return -1;
    strcpy(out, text);
    return 0;
}

/* Borrowed until the next row. NULL: no digest. */
static const char *column_blob_name(struct query *q)
{
    uint8_t bytes[SHA256_BYTES];
    const char *text = column_text(q);
    return hex_decode(text, bytes, sizeof bytes) == 0 ? text : NULL;
}

static int column_digest(struct query *q, char out[SHA256_HEX + 1])
{
    uint8_t bytes[SHA256_BYTES];
    const char *text = column_text(q);
    if (hex_decode(text, bytes, sizeof bytes) != 0)
        return -1;
    strcpy(out, text);
    return 0;
}

static int column_quota(struct query *q, enum quota_kind kind, struct quota *out)
{
    const struct quota_bounds *b = &quota_bounds[kind];
    int64_t value = column_integer(q);
    bool unset = sqlite3_column_type(q->statement, q->column) == SQLITE_NULL;
    out->of[kind] = unset ? QUOTA_UNSET : value;
    return unset || (value >= b->low && value <= b->high) ? 0 : -1;
}

/* ---- loading ---- */

static int read_tenant(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_tenant row = {.number = (uint32_t)column_integer(q)};
    row.id = column_text(q);
    row.created_ms = column_integer(q);
    bool whole = name_valid(row.id);
    for (int i = 0; i < QUOTAS; i++)
        whole = column_quota(q, (enum quota_kind)i, &row.quota) == 0 && whole;
    row.default_adapter = column_text(q);
    whole = whole && (!row.default_adapter[0] || name_valid(row.default_adapter));
    return whole ? v->tenant(arg, &row, e) : malformed("tenants", e);
}

static int read_key(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_key row = {.tenant = (uint32_t)column_integer(q)};
    row.kid = column_text(q);
    row.label = column_text(q);
    const void *hash = sqlite3_column_blob(q->statement, ++q->column);
    bool whole = hash && sqlite3_column_bytes(q->statement, q->column) == SHA256_BYTES;
    if (!whole || strlen(row.kid) >= KID_BYTES || strlen(row.label) > LABEL_MAX_BYTES)
        return malformed("keys", e);
    memcpy(row.hash, hash, SHA256_BYTES);
    row.created_ms = column_integer(q);
    row.revoked = sqlite3_column_type(q->statement, ++q->column) != SQLITE_NULL;
    row.expires_ms = column_integer(q); /* NULL reads as 0 */
    row.used_ms = column_integer(q);
    return v->key(arg, &row, e);
}

static int read_adapter(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_adapter row = {.number = column_integer(q)};
    row.tenant = (uint32_t)column_integer(q);
    row.name = column_text(q);
    row.created_ms = column_integer(q);
    return name_valid(row.name) ? v->adapter(arg, &row, e) : malformed("adapters", e);
}

static int read_version(struct query *q, const struct store_visitor *v, void *arg, struct err *e)
{
    struct store_version row = {.tenant = (uint32_t)column_integer(q)};
    struct version *values = &row.values;
    if (column_name(q, values->name) != 0 || column_digest(q, values->digest) != 0 ||
        !(values->config_blob = column_blob_name(q)) || !(values->weights_blob = column_blob_name(q)))
        return malformed("versions", e);
    row.adapter = values->name;
    values->tenant = row.tenant;
    values->config_bytes = (uint64_t)column_integer(q);
    values->weights_bytes = (uint64_t)column_integer(q);
    values->rank_max = (int)column_integer(q);
    values->sites = (int)column_integer(q);
    values->parameters = column_integer(q);
    values->created_ms = column_integer(q);
    values->proof_max = column_real(q);
    values->proof_mean = column_real(q);
    values->active = column_integer(q) != 0;
    values->canary = (int)column_integer(q);
    return v->version(arg, &row, e);
}

static int load_rows(struct store *s, enum statement which,
                     int (*read)(struct query *, const struct store_visitor *, void *, struct err *),
                     const struct store_visitor *v, void *arg, struct err *e)
{
    struct query q = query_start(s, which);
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
            bind_null(q);
        else
            bind_integer(q, row->quota.of[i]);
    }
    if (row->default_adapter[0])
        bind_text(q, row->default_adapter);
    else
        bind_null(q);
}

int store_tenant_change(struct store *s, const struct store_tenant *row, struct err *e)
{
    struct query q = query_start(s, TENANT_CHANGE);
    bind_quota(&q, row);
    bind_integer(&q, row->number);
    return query_run(&q, "change a tenant", e);
}

int store_tenant_insert(struct store *s, const struct store_tenant *row, uint32_t *number, struct err *e)
{
    struct query q = query_start(s, TENANT_INSERT);
    bind_text(&q, row->id);
    bind_integer(&q, row->created_ms);
    bind_quota(&q, row);
    if (query_run(&q, "add a tenant", e) != 0)
        return -1;
    *number = (uint32_t)sqlite3_last_insert_rowid(s->connection);
    return 0;
}

int store_tenant_delete(struct store *s, uint32_t number, struct err *e)
{
    struct query q = query_start(s, TENANT_DELETE);
    bind_integer(&q, number);
    return query_run(&q, "delete a tenant", e);
}

/* ---- keys ---- */

int store_key_insert(struct store *s, const struct store_key *row, struct err *e)
{
    struct query q = query_start(s, KEY_INSERT);
    bind_integer(&q, row->tenant);
    bind_text(&q, row->kid);
    bind_text(&q, row->label);
    bind_hash(&q, row->hash);
    bind_integer(&q, row->created_ms);
    if (row->expires_ms)
        bind_integer(&q, row->expires_ms);
    else
        bind_null(&q);
    return query_run(&q, "add a key", e);
}

int store_key_expire(struct store *s, const char *kid, int64_t expires_ms, struct err *e)
{
    struct query q = query_start(s, KEY_EXPIRE);
    bind_integer(&q, expires_ms);
    bind_text(&q, kid);
    return query_run(&q, "let a key expire", e);
}

int store_key_used(struct store *s, const char *kid, int64_t used_ms, struct err *e)
{
    struct query q = query_start(s, KEY_USED);
    bind_integer(&q, used_ms);
    bind_text(&q, kid);
    return query_run(&q, "note the use of a key", e);
}

int store_key_revoke(struct store *s, const char *kid, int64_t revoked_ms, struct err *e)
{
    struct query q = query_start(s, KEY_REVOKE);
    bind_integer(&q, revoked_ms);
    bind_text(&q, kid);
    return query_run(&q, "revoke a key", e);
}

int store_key_delete(struct store *s, const char *kid, struct err *e)
{
    struct query q = query_start(s, KEY_DELETE);
    bind_text(&q, kid);
    return query_run(&q, "delete a key", e);
}

/* ---- adapters and versions ---- */

int store_adapter_insert(struct store *s, uint32_t tenant, const char *name, int64_t created_ms,
                         int64_t *number, struct err *e)
{
    struct query q = query_start(s, ADAPTER_INSERT);
    bind_integer(&q, tenant);
    bind_text(&q, name);
    bind_integer(&q, created_ms);
    if (query_run(&q, "add an adapter", e) != 0)
        return -1;
    *number = sqlite3_last_insert_rowid(s->connection);
    return 0;
}

int store_adapter_delete(struct store *s, int64_t number, struct err *e)
{
    struct query q = query_start(s, ADAPTER_DELETE);
    bind_integer(&q, number);
    return query_run(&q, "delete an adapter", e);
}

int store_version_insert(struct store *s, int64_t adapter, const struct version *v, struct err *e)
{
    struct query q = query_start(s, VERSION_INSERT);
    bind_integer(&q, adapter);
    bind_text(&q, v->digest);
    bind_text(&q, v->config_blob);
    bind_text(&q, v->weights_blob);
    bind_integer(&q, (int64_t)v->config_bytes);
    bind_integer(&q, (int64_t)v->weights_bytes);
    bind_integer(&q, v->rank_max);
    bind_integer(&q, v->sites);
    bind_integer(&q, v->parameters);
    bind_integer(&q, v->created_ms);
    bind_real(&q, v->proof_max);
    bind_real(&q, v->proof_mean);
    bind_integer(&q, v->active);
    return query_run(&q, "add a version", e);
}

int store_version_replace_blobs(struct store *s, int64_t adapter, const struct version *v, struct err *e)
{
    struct query q = query_start(s, VERSION_REPLACE_BLOBS);
    bind_text(&q, v->config_blob);
    bind_text(&q, v->weights_blob);
    bind_integer(&q, (int64_t)v->config_bytes);
    bind_integer(&q, (int64_t)v->weights_bytes);
    bind_integer(&q, adapter);
    bind_text(&q, v->digest);
    return query_run(&q, "repair a version", e);
}

int store_version_activate(struct store *s, int64_t adapter, const char *digest, struct err *e)
{
    if (store_version_deactivate_all(s, adapter, e) != 0)
        return -1;
    struct query q = query_start(s, VERSION_ACTIVATE);
    bind_integer(&q, adapter);
    bind_text(&q, digest);
    return query_run(&q, "activate a version", e);
}

int store_version_deactivate_all(struct store *s, int64_t adapter, struct err *e)
{
    struct query q = query_start(s, VERSION_DEACTIVATE_ALL);
    bind_integer(&q, adapter);
    return query_run(&q, "deactivate a version", e);
}

int store_version_canary(struct store *s, int64_t adapter, const char *digest, int share, struct err *e)
{
    struct query q = query_start(s, VERSION_CANARY_OFF);
    bind_integer(&q, adapter);
    if (query_run(&q, "end a canary", e) != 0)
        return -1;
    if (share == 0)
        return 0;
    q = query_start(s, VERSION_CANARY_ON);
    bind_integer(&q, adapter);
    bind_text(&q, digest);
    bind_integer(&q, share);
    return query_run(&q, "begin a canary", e);
}

int store_version_delete(struct store *s, int64_t adapter, const char *digest, struct err *e)
{
    struct query q = query_start(s, VERSION_DELETE);
    bind_integer(&q, adapter);
    bind_text(&q, digest);
    return query_run(&q, "delete a version", e);
}

int store_blob_used(struct store *s, const char *blob, bool *used, struct err *e)
{
    struct query q = query_start(s, BLOB_USED);
    bind_text(&q, blob);
    if (query_step(&q) != SQLITE_ROW)
        return query_fail(&q, "look for users of a blob", e);
    *used = column_integer(&q) != 0;
    query_end(&q);
    return 0;
}

/* ---- activations ---- */

int store_activation_insert(struct store *s, int64_t adapter, const struct activation *row, struct err *e)
{
    struct query q = query_start(s, ACTIVATION_INSERT);
    bind_integer(&q, adapter);
    bind_text(&q, row->digest);
    bind_integer(&q, row->at_ms);
    bind_text(&q, row->by);
    if (query_run(&q, "add an activation", e) != 0)
        return -1;
    q = query_start(s, ACTIVATION_TRIM);
    bind_integer(&q, adapter);
    bind_integer(&q, ADAPTER_HISTORY_MAX);
    return query_run(&q, "forget old activations", e);
}

int store_activation_list(struct store *s, int64_t adapter, struct activation out[ADAPTER_HISTORY_MAX],
                          size_t *count, struct err *e)
{
    struct query q = query_start(s, ACTIVATION_LIST);
    size_t n = 0;
    int status;
    bind_integer(&q, adapter);
    bind_integer(&q, ADAPTER_HISTORY_MAX);
    while ((status = query_step(&q)) == SQLITE_ROW && n < ADAPTER_HISTORY_MAX) {
        copy_text(&q, out[n].digest, sizeof out[n].digest);
        out[n].at_ms = column_integer(&q);
        copy_text(&q, out[n++].by, sizeof out->by);
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
    struct query q = query_start(s, AUDIT_INSERT);
    bind_integer(&q, row->at_ms);
    bind_text(&q, row->by.name);
    bind_text(&q, row->by.tenant);
    bind_text(&q, row->by.request);
    bind_text(&q, row->action);
    bind_text(&q, row->tenant);
    bind_text(&q, row->target);
    bind_text(&q, row->detail);
    return query_run(&q, "add to the audit log", e);
}

static void read_audit(struct query *q, struct audit_row *out)
{
    out->number = column_integer(q);
    out->at_ms = column_integer(q);
    copy_text(q, out->by.name, sizeof out->by.name);
    copy_text(q, out->by.tenant, sizeof out->by.tenant);
    copy_text(q, out->by.request, sizeof out->by.request);
    copy_text(q, out->action, sizeof out->action);
    copy_text(q, out->tenant, sizeof out->tenant);
    copy_text(q, out->target, sizeof out->target);
    copy_text(q, out->detail, sizeof out->detail);
}

int store_audit_list(struct store *s, const char *tenant, int64_t after, size_t limit, struct audit_row *out,
                     size_t *count, bool *more, struct err *e)
{
    struct query q = query_start(s, AUDIT_LIST);
    size_t n = 0;
    int status;
    bind_text(&q, tenant);
    bind_integer(&q, after);
    bind_integer(&q, (int64_t)limit + 1);
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
    struct query q = query_start(s, USAGE_ADD);
    bind_integer(&q, row->tenant);
    bind_text(&q, row->tenant_id);
    bind_text(&q, row->day);
    bind_text(&q, row->adapter);
    bind_text(&q, row->version);
    for (int i = 0; i < USAGE_KINDS; i++)
        bind_integer(&q, row->count[i]);
    return query_run(&q, "add to the usage", e);
}

static void read_usage(struct query *q, struct usage_row *out)
{
    *out = (struct usage_row){.number = column_integer(q)};
    out->tenant = (uint32_t)column_integer(q);
    copy_text(q, out->tenant_id, sizeof out->tenant_id);
    copy_text(q, out->day, sizeof out->day);
    copy_text(q, out->adapter, sizeof out->adapter);
    copy_text(q, out->version, sizeof out->version);
    for (int i = 0; i < USAGE_KINDS; i++)
        out->count[i] = column_integer(q);
}

int store_usage_list(struct store *s, const struct usage_query *query, struct usage_row *out, size_t *count,
                     bool *more, struct err *e)
{
    struct query q = query_start(s, query->tenant_id ? USAGE_LIST_TENANT : USAGE_LIST_ALL);
    size_t n = 0;
    int status;
    bind_text(&q, query->tenant_id);
    bind_integer(&q, query->tenant);
    bind_integer(&q, query->after);
    bind_text(&q, query->adapter);
    bind_text(&q, query->from);
    bind_text(&q, query->to);
    bind_integer(&q, (int64_t)query->limit + 1);
    while ((status = query_step(&q)) == SQLITE_ROW && n < query->limit)
        read_usage(&q, &out[n++]);
    if (status != SQLITE_ROW && status != SQLITE_DONE)
        return query_fail(&q, "read the usage", e);
    query_end(&q);
    *count = n;
    *more = status == SQLITE_ROW;
    return 0;
}
