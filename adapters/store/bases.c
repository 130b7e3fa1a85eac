/* On which base each version was proved. */
#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

static const char PROVED[] =
    "UPDATE versions SET base = ?, proof_max = ?, proof_mean = ? WHERE adapter = ? AND digest = ?";
static const char UNKNOWN[] = "SELECT count(*) FROM versions WHERE base IS NULL";
static const char ADOPT[] = "UPDATE versions SET base = ? WHERE base IS NULL";
static const char OTHERS[] =
    "SELECT a.tenant, a.name, v.digest FROM versions v JOIN adapters a ON a.number = v.adapter"
    " WHERE v.base <> ? ORDER BY v.number";

int store_version_proved(struct store *s, int64_t adapter, const struct version *v, const char *base,
                         struct err *e)
{
    struct query q = query_start(s->database, PROVED);
    query_bind_text(&q, base[0] ? base : NULL);
    query_bind_real(&q, v->proof_max);
    query_bind_real(&q, v->proof_mean);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, v->digest);
    return query_run(&q, "note the base of a version", e);
}

int store_base_unknown(struct store *s, size_t *count, struct err *e)
{
    struct query q = query_start(s->database, UNKNOWN);
    if (query_step(&q) != SQL_ROW)
        return query_fail(&q, "count the versions without a base", e);
    *count = (size_t)query_column_integer(&q);
    query_end(&q);
    return 0;
}

int store_base_adopt(struct store *s, const char *base, struct err *e)
{
    struct query q = query_start(s->database, ADOPT);
    query_bind_text(&q, base);
    return query_run(&q, "note the base of older versions", e);
}

struct others {
    store_other_base_function *visit;
    void *arg;
};

static int read_other(struct query *q, void *arg, struct err *e)
{
    const struct others *o = arg;
    char name[NAME_MAX_BYTES + 1], digest[SHA256_HEX + 1];
    uint32_t tenant = (uint32_t)query_column_integer(q);
    if (column_name(q, name) != 0 || column_digest(q, digest) != 0)
        return column_malformed("versions", e);
    return o->visit(o->arg, tenant, name, digest, e);
}

int store_base_others(struct store *s, const char *base, store_other_base_function *visit, void *arg,
                      struct err *e)
{
    struct others o = {visit, arg};
    struct query q = query_start(s->database, OTHERS);
    query_bind_text(&q, base);
    return query_each(&q, read_other, &o, "read the bases of the versions", e);
}
