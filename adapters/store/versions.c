#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

static const char LIST[] =
    "SELECT a.tenant, a.name, v.digest, v.config_blob, v.weights_blob, v.config_bytes, v.weights_bytes, "
    "v.rank_max,"
    " v.sites, v.parameters, v.created_ms, v.proof_max, v.proof_mean, v.active, v.canary, v.settings, "
    "v.task, v.vocab"
    " FROM versions v JOIN adapters a ON a.number = v.adapter ORDER BY v.number";
static const char INSERT[] =
    "INSERT INTO versions (adapter, digest, config_blob, weights_blob, config_bytes, weights_bytes, "
    "rank_max, sites,"
    " parameters, created_ms, proof_max, proof_mean, active, settings, task, vocab)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
static const char REPLACE_BLOBS[] = "UPDATE versions SET config_blob = ?, weights_blob = ?, config_bytes = ?,"
                                    " weights_bytes = ? WHERE adapter = ? AND digest = ?";
static const char ACTIVATE[] = "UPDATE versions SET active = 1, canary = 0 WHERE adapter = ? AND digest = ?";
static const char DEACTIVATE_ALL[] = "UPDATE versions SET active = 0 WHERE adapter = ? AND active = 1";
static const char CANARY_OFF[] = "UPDATE versions SET canary = 0 WHERE adapter = ? AND canary > 0";
static const char CANARY_ON[] = "UPDATE versions SET canary = ?3 WHERE adapter = ?1 AND digest = ?2";
static const char DELETE[] = "DELETE FROM versions WHERE adapter = ? AND digest = ?";
static const char BLOB_USED[] = "SELECT 1 WHERE EXISTS (SELECT 1 FROM versions WHERE weights_blob = ?1)"
                                " OR EXISTS (SELECT 1 FROM versions WHERE config_blob = ?1)"
                                " OR EXISTS (SELECT 1 FROM files WHERE blob = ?1)";

static int read_row(struct query *q, void *arg, struct err *e)
{
    const struct store_reader *r = arg;
    struct store_version row = {.tenant = (uint32_t)query_column_integer(q)};
    struct version *values = &row.values;
    if (column_name(q, values->name) != 0 || column_digest(q, values->digest) != 0 ||
        !(values->config_blob = column_blob(q)) || !(values->weights_blob = column_blob(q)))
        return column_malformed("versions", e);
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
    query_copy_text(q, values->settings, sizeof values->settings);
    int64_t task = query_column_integer(q);
    if (task < VERSION_GENERATES || task > VERSION_LABELS_TOKENS)
        return column_malformed("versions", e);
    values->task = (enum version_task)task;
    values->vocab = (int)query_column_integer(q);
    return r->visitor->version(r->arg, &row, e);
}

int store_versions_load(struct store *s, struct store_reader *r, struct err *e)
{
    struct query q = query_start(s->database, LIST);
    return query_each(&q, read_row, r, "read the versions", e);
}

static void bind_blobs(struct query *q, const struct version *v)
{
    query_bind_text(q, v->config_blob);
    query_bind_text(q, v->weights_blob);
    query_bind_integer(q, (int64_t)v->config_bytes);
    query_bind_integer(q, (int64_t)v->weights_bytes);
}

int store_version_insert(struct store *s, int64_t adapter, const struct version *v, struct err *e)
{
    struct query q = query_start(s->database, INSERT);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, v->digest);
    bind_blobs(&q, v);
    query_bind_integer(&q, v->rank_max);
    query_bind_integer(&q, v->sites);
    query_bind_integer(&q, v->parameters);
    query_bind_integer(&q, v->created_ms);
    query_bind_real(&q, v->proof_max);
    query_bind_real(&q, v->proof_mean);
    query_bind_integer(&q, v->active);
    query_bind_text(&q, v->settings[0] ? v->settings : NULL);
    query_bind_integer(&q, v->task);
    query_bind_integer(&q, v->vocab);
    return query_run(&q, "add a version", e);
}

int store_version_replace_blobs(struct store *s, int64_t adapter, const struct version *v, struct err *e)
{
    struct query q = query_start(s->database, REPLACE_BLOBS);
    bind_blobs(&q, v);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, v->digest);
    return query_run(&q, "repair a version", e);
}

/* A statement about one version of one adapter. */
static int run_on_version(struct store *s, const char *sql, int64_t adapter, const char *digest,
                          const char *doing, struct err *e)
{
    struct query q = query_start(s->database, sql);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, digest);
    return query_run(&q, doing, e);
}

/* And about all of an adapter's. */
static int run_on_adapter(struct store *s, const char *sql, int64_t adapter, const char *doing, struct err *e)
{
    struct query q = query_start(s->database, sql);
    query_bind_integer(&q, adapter);
    return query_run(&q, doing, e);
}

int store_version_activate(struct store *s, int64_t adapter, const char *digest, struct err *e)
{
    if (store_version_deactivate_all(s, adapter, e) != 0)
        return -1;
    return run_on_version(s, ACTIVATE, adapter, digest, "activate a version", e);
}

int store_version_deactivate_all(struct store *s, int64_t adapter, struct err *e)
{
    return run_on_adapter(s, DEACTIVATE_ALL, adapter, "deactivate a version", e);
}

int store_version_canary(struct store *s, int64_t adapter, const char *digest, int share, struct err *e)
{
    if (run_on_adapter(s, CANARY_OFF, adapter, "end a canary", e) != 0)
        return -1;
    if (share == 0)
        return 0;
    struct query q = query_start(s->database, CANARY_ON);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, digest);
    query_bind_integer(&q, share);
    return query_run(&q, "begin a canary", e);
}

int store_version_delete(struct store *s, int64_t adapter, const char *digest, struct err *e)
{
    if (run_on_version(s, DELETE, adapter, digest, "delete a version", e) != 0)
        return -1;
    return store_settings_sweep(s, e);
}

int store_blob_used(struct store *s, const char *blob, bool *used, struct err *e)
{
    struct query q = query_start(s->database, BLOB_USED);
    query_bind_text(&q, blob);
    enum sql_step step = query_step(&q);
    if (step == SQL_FAILED)
        return query_fail(&q, "look for users of a blob", e);
    *used = step == SQL_ROW;
    query_end(&q);
    return 0;
}
