/* The list of adapters. */
#include <stdlib.h>

#include "adapters/registry.h"
#include "server/adapter_json.h"
#include "server/handlers.h"
#include "server/list.h"
#include "server/reply.h"

static json_t *rows_json(const struct adapter_row *rows, size_t count, bool more)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(data, adapter_json_row(&rows[i])) != 0) {
            json_decref(data);
            return NULL;
        }
    return list_json(data, more, count ? rows[count - 1].name : NULL);
}

void route_adapters_list(struct request *r)
{
    struct err e;
    struct tenant_row tenant;
    if (request_tenant(r, NULL, &tenant, &e) != 0) {
        reply_error(r, &e);
        return;
    }
    bool more = false;
    struct adapter_row *rows = calloc(r->limit, sizeof *rows);
    size_t count = rows ? registry_adapter_list(r->server->registry, tenant.number,
                                                r->after[0] ? r->after : NULL, r->limit, rows, &more)
                        : 0;
    json_t *body = rows ? rows_json(rows, count, more) : NULL;
    for (size_t i = 0; i < count; i++)
        version_unref(rows[i].active);
    free(rows);
    reply_json(r, 200, body);
}
