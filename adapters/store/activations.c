/* Which version a name meant, and since when. */
#include "adapters/store/store.h"
#include "adapters/store/store_private.h"

static const char INSERT[] = "INSERT INTO activations (adapter, digest, at_ms, actor) VALUES (?, ?, ?, ?)";
static const char TRIM[] =
    "DELETE FROM activations WHERE adapter = ?1 AND number <= (SELECT number FROM activations"
    " WHERE adapter = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)";
static const char LIST[] =
    "SELECT digest, at_ms, actor FROM activations WHERE adapter = ? ORDER BY number DESC LIMIT ?";

int store_activation_insert(struct store *s, int64_t adapter, const struct activation *row, struct err *e)
{
    struct query q = query_start(s->database, INSERT);
    query_bind_integer(&q, adapter);
    query_bind_text(&q, row->digest);
    query_bind_integer(&q, row->at_ms);
    query_bind_text(&q, row->by);
    if (query_run(&q, "add an activation", e) != 0)
        return -1;
    q = query_start(s->database, TRIM);
    query_bind_integer(&q, adapter);
    query_bind_integer(&q, ADAPTER_HISTORY_MAX);
    return query_run(&q, "forget old activations", e);
}

struct list {
    struct activation *rows;
    size_t count;
};

static int read_row(struct query *q, void *arg, struct err *e)
{
    (void)e;
    struct list *l = arg;
    struct activation *row = &l->rows[l->count++];
    query_copy_text(q, row->digest, sizeof row->digest);
    row->at_ms = query_column_integer(q);
    query_copy_text(q, row->by, sizeof row->by);
    return 0;
}

int store_activation_list(struct store *s, int64_t adapter, struct activation out[ADAPTER_HISTORY_MAX],
                          size_t *count, struct err *e)
{
    struct list l = {.rows = out};
    struct query q = query_start(s->database, LIST);
    query_bind_integer(&q, adapter);
    query_bind_integer(&q, ADAPTER_HISTORY_MAX);
    if (query_each(&q, read_row, &l, "read the activations", e) != 0)
        return -1;
    *count = l.count;
    return 0;
}
