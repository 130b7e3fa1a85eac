/* GET and DELETE of adapters. */
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

static const struct version *active_of(const struct version **versions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (versions[i]->active)
            return versions[i];
    return NULL;
}

static json_t *show_json(const struct tenant_row *tenant, const char *name, const struct version **versions,
                         size_t count)
{
    char text[VERSION_TEXT_BYTES];
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(list, adapter_json_version(versions[i])) != 0) {
            json_decref(list);
            return NULL;
        }
    const struct version *active = active_of(versions, count);
    if (active)
        adapter_json_version_text(active, text);
    return json_pack("{s:s, s:s, s:s?, s:o}", "tenant", tenant->id, "name", name, "version",
                     active ? text : NULL, "versions", list);
}

static int show(struct request *r, struct err *e)
{
    struct tenant_row tenant;
    size_t count = 0;
    const char *name = r->match.parameter[0];
    if (request_tenant(r, NULL, &tenant, e) != 0)
        return -1;
    const struct version **versions = calloc(ADAPTER_VERSIONS_MAX, sizeof *versions);
    if (!versions)
        return err_memory(e);
    int result = registry_adapter_versions(r->server->registry, tenant.number, name, ADAPTER_VERSIONS_MAX,
                                           versions, &count, e);
    if (result == 0) {
        const struct version *active = active_of(versions, count);
        if (active)
            adapter_json_header(r, active);
        reply_json(r, 200, show_json(&tenant, name, versions, count));
    }
    for (size_t i = 0; i < count; i++)
        version_unref(versions[i]);
    free(versions);
    return result;
}

void route_adapters_show(struct request *r)
{
    struct err e;
    if (show(r, &e) != 0)
        reply_error(r, &e);
}

void route_adapters_delete(struct request *r)
{
    struct err e;
    struct tenant_row tenant;
    if (request_tenant(r, NULL, &tenant, &e) != 0 ||
        registry_adapter_delete(r->server->registry, tenant.number, r->match.parameter[0], &e) != 0)
        reply_error(r, &e);
    else
        reply_empty(r);
}
