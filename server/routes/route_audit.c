/* GET /audit: who did what when. Admins only; reads the disk, so it runs on a job thread. */
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/registry.h"
#include "server/http/adapter_json.h"
#include "server/routes/handlers.h"
#include "server/http/list.h"
#include "server/http/reply.h"

static json_t *row_json(const struct audit_row *a)
{
    return json_pack("{s:I, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "number", (json_int_t)a->number, "time",
                     adapter_json_time(a->at_ms), "actor", a->by.name, "actor_tenant", a->by.tenant,
                     "request", a->by.request, "action", a->action, "tenant", a->tenant, "target", a->target,
                     "detail", a->detail);
}

static json_t *rows_json(const struct audit_row *rows, size_t count, bool more)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        list_add(&data, row_json(&rows[i]));
    return list_json_numbered(data, more, count ? rows[count - 1].number : 0);
}

/* The tenant may be deleted: its rows are still there. */
static int list(struct request *r, struct audit_row *rows, struct err *e)
{
    struct audit_query q = {.tenant = query_text(&r->query, "tenant"),
                            .newest_first = query_newest_first(&r->query, false),
                            .limit = r->query.limit};
    size_t count = 0;
    bool more = false;
    if (list_number_after(r, &q.after, e) != 0 ||
        registry_audit_list(r->server->registry, &q, rows, &count, &more, e) != 0)
        return -1;
    reply_json(r, 200, rows_json(rows, count, more));
    return 0;
}

void route_audit_list(struct request *r)
{
    struct err e;
    struct audit_row *rows = calloc(r->query.limit, sizeof *rows);
    if (!rows)
        err_memory(&e);
    if (!rows || list(r, rows, &e) != 0)
        reply_error(r, &e);
    free(rows);
}
