/* What shows the effect of versions. */
#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

static const char SET[] =
    "INSERT INTO proofs (version, norm_count, norm_sum, norms_largest, norms, sample_prompt, sample_base,"
    " sample_adapter) SELECT number, ?3, ?4, ?5, ?6, ?7, ?8, ?9 FROM versions WHERE adapter = ?1 AND digest "
    "= ?2"
    " ON CONFLICT (version) DO UPDATE SET norm_count = excluded.norm_count, norm_sum = excluded.norm_sum,"
    " norms_largest = excluded.norms_largest, norms = excluded.norms,"
    " sample_base = CASE WHEN excluded.sample_prompt IS NULL THEN proofs.sample_base ELSE "
    "excluded.sample_base END,"
    " sample_adapter = CASE WHEN excluded.sample_prompt IS NULL THEN proofs.sample_adapter"
    " ELSE excluded.sample_adapter END,"
    " sample_prompt = coalesce(excluded.sample_prompt, proofs.sample_prompt)";

static const char GET[] = "SELECT p.norm_count, p.norm_sum, CASE WHEN ?3 = 1 THEN p.norms ELSE "
                          "p.norms_largest END, p.sample_prompt, p.sample_base,"
                          " p.sample_adapter FROM versions v JOIN proofs p ON p.version = v.number"
                          " WHERE v.adapter = ?1 AND v.digest = ?2";

int store_proof_set(struct store *s, int64_t adapter, const char *digest, const struct version_proof *p,
                    struct err *e)
{
    struct query q = query_start(s->database, SET);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, digest);
    query_bind_integer(&q, p->norm_count);
    query_bind_real(&q, p->norm_sum);
    query_bind_bytes(&q, &p->norms_largest);
    query_bind_bytes(&q, &p->norms);
    query_bind_bytes(&q, &p->prompt);
    query_bind_bytes(&q, &p->base);
    query_bind_bytes(&q, &p->adapter);
    return query_run(&q, "store a proof", e);
}

static int read_proof(struct query *q, bool all, struct version_proof *out, struct err *e)
{
    out->norm_count = (int)query_column_integer(q);
    out->norm_sum = query_column_real(q);
    if (query_column_bytes(q, all ? &out->norms : &out->norms_largest) != 0 ||
        query_column_bytes(q, &out->prompt) != 0 || query_column_bytes(q, &out->base) != 0 ||
        query_column_bytes(q, &out->adapter) != 0)
        return err_memory(e);
    return 0;
}

int store_proof_get(struct store *s, int64_t adapter, const char *digest, bool all, struct version_proof *out,
                    struct err *e)
{
    struct query q = query_start(s->database, GET);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, digest);
    query_bind_integer(&q, all ? 1 : 0);
    enum sql_step step = query_step(&q);
    if (step == SQL_FAILED)
        return query_fail(&q, "read a proof", e);
    int result = step == SQL_ROW ? read_proof(&q, all, out, e) : 0;
    query_end(&q);
    return result;
}
