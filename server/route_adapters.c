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
        list_add(&data, adapter_json_row(&rows[i]));
    return list_json(data, more, count ? rows[count - 1].name : NULL);
}

/* `pattern` NULL: all. */
static void list(struct request *r, const struct tenant_row *tenant, const char *pattern)
{
    bool more = false;
    struct adapter_row *rows = calloc(r->limit, sizeof *rows);
    size_t count = rows ? registry_adapter_list(r->server->registry, tenant->number,
                                                r->after[0] ? r->after : NULL, pattern, r->limit, rows, &more)
                        : 0;
    json_t *body = rows ? rows_json(rows, count, more) : NULL;
    for (size_t i = 0; i < count; i++) {
        version_unref(rows[i].active);
        labels_unref(rows[i].about.labels);
    }
    free(rows);
    reply_json(r, 200, body);
}

void route_adapters_list(struct request *r)
{
    struct err e;
    struct tenant_row tenant;
    struct buf pattern = {0};
    if (request_tenant(r, NULL, &tenant, &e) != 0)
        reply_error(r, &e);
    else if (r->label_query[0] && labels_pattern(r->label_query, &pattern) != 0)
        reply_json(r, 200, NULL); /* it was valid: memory ran out */
    else
        list(r, &tenant, pattern.data);
    buf_fini(&pattern);
}
