/* GET /usage: what tenants used, by day and adapter version. What is still in memory is written first, so
 * that an answer that was received is in what is read afterwards. */
#include <stdio.h>
#include <stdlib.h>

#include "adapters/types/usage.h"
#include "server/routes/handlers.h"
#include "server/accounting/usage.h"
#include "server/http/list.h"
#include "server/http/reply.h"

static json_t *row_json(const struct usage_row *u)
{
    char version[SHA256_HEX + 8];
    snprintf(version, sizeof version, "sha256:%s", u->version);
    json_t *row = json_pack("{s:s, s:s, s:b, s:s?, s:s?}", "day", u->day, "tenant", u->tenant_id, "deleted",
                            (int)u->deleted, "adapter", u->adapter[0] ? u->adapter : NULL, "version",
                            u->version[0] ? version : NULL);
    for (int i = 0; i < USAGE_KINDS; i++)
        if (json_object_set_new(row, usage_names[i], json_integer(u->count[i])) != 0) {
            json_decref(row);
            return NULL;
        }
    return row;
}

static json_t *rows_json(const struct usage_row *rows, size_t count, bool more)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        list_add(&data, row_json(&rows[i]));
    return list_json_numbered(data, more, count ? rows[count - 1].number : 0);
}

static int list(struct request *r, struct usage_row *rows, struct err *e)
{
    bool own = r->caller.role == ROLE_TENANT, more = false;
    size_t count = 0;
    struct usage_query q = {.tenant_id = own ? r->caller.tenant_id : query_text(&r->query, "tenant"),
                            .tenant = own ? r->caller.tenant : 0,
                            .adapter = query_text(&r->query, "adapter"),
                            .from = query_text(&r->query, "from"),
                            .to = query_text(&r->query, "to"),
                            .limit = r->query.limit};
    if (list_number_after(r, &q.after, e) != 0 || usage_flush(r->server->usage, e) != 0 ||
        registry_usage_list(r->server->registry, &q, rows, &count, &more, e) != 0)
        return -1;
    /* Afterwards, for while it was read the tenant may have been deleted; then its rows are the admins'
     * alone. */
    if (own && request_tenant_again(r, e) != 0)
        return -1;
    reply_json(r, 200, rows_json(rows, count, more));
    return 0;
}

void route_usage_list(struct request *r)
{
    struct err e;
    struct usage_row *rows = calloc(r->query.limit, sizeof *rows);
    if (!rows)
        err_memory(&e);
    if (!rows || list(r, rows, &e) != 0)
        reply_error(r, &e);
    free(rows);
}
