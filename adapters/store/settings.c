/* What adapters bring beside their weights, kept once by content. */
#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

static const char PUT[] =
    "INSERT INTO settings (digest, files) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING";
static const char GET[] = "SELECT files FROM settings WHERE digest = ?";
static const char SWEEP[] = "DELETE FROM settings WHERE NOT EXISTS (SELECT 1 FROM versions WHERE "
                            "versions.settings = settings.digest)";

int store_settings_put(struct store *s, const char *digest, const struct buf *files, struct err *e)
{
    struct query q = query_start(s->database, PUT);
    query_bind_text(&q, digest);
    query_bind_bytes(&q, files);
    return query_run(&q, "store settings", e);
}

int store_settings_get(struct store *s, const char *digest, struct buf *out, struct err *e)
{
    struct query q = query_start(s->database, GET);
    query_bind_text(&q, digest);
    enum sql_step step = query_step(&q);
    if (step == SQL_FAILED)
        return query_fail(&q, "read settings", e);
    int result = step != SQL_ROW                    ? column_malformed("settings", e)
                 : query_column_bytes(&q, out) != 0 ? err_memory(e)
                                                    : 0;
    query_end(&q);
    return result;
}

int store_settings_sweep(struct store *s, struct err *e)
{
    struct query q = query_start(s->database, SWEEP);
    return query_run(&q, "delete settings", e);
}
