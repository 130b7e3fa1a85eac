/* The list of adapters. */
#include "adapters/registry/registry.h"
#include "server/http/adapter_json.h"
#include "server/routes/handlers.h"
#include "server/http/list.h"
#include "server/http/reply.h"

static json_t *page_json(const struct request *r, const struct tenant_row *tenant,
                         const struct adapter_row *rows, size_t count, bool more)
{
    (void)r, (void)tenant;
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        list_add(&data, adapter_json_row(&rows[i]));
    return list_json(data, more, count ? rows[count - 1].name : NULL);
}

void route_adapters_list(struct request *r)
{
    struct err e;
    struct buf pattern = {0};
    const char *label = query_text(&r->query, "label");
    if (request_tenant(r, NULL, &e) != 0)
        reply_error(r, &e);
    else if (label && labels_pattern(label, &pattern) != 0)
        reply_json(r, 200, NULL); /* it was valid: memory ran out */
    else
        reply_json(r, 200, adapter_json_list(r, &r->tenant, pattern.data, page_json));
    buf_fini(&pattern);
}
