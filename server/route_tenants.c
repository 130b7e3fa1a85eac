/* Tenants: create, list, show, delete. Admins only. */
#include <stdlib.h>
#include <string.h>

#include "adapters/registry.h"
#include "server/adapter_json.h"
#include "server/fields.h"
#include "server/handlers.h"
#include "server/list.h"
#include "server/reply.h"

static json_t *tenant_json(const struct tenant_row *t)
{
    return json_pack("{s:s, s:o, s:i}", "id", t->id, "created", adapter_json_time(t->created_ms), "adapters",
                     t->adapters);
}

static int read_id(const json_t *body, const char **id, struct err *e)
{
    static const char *const known[] = {"id", NULL};
    size_t length;
    if (fields_known(body, known, e) != 0)
        return -1;
    int found = field_string(body, "id", 1024, id, &length, e);
    if (found < 0)
        return -1;
    if (!found) {
        err_set(e, "missing_field", "\"id\" is required");
        return err_param(e, "id");
    }
    if (strlen(*id) != length || !name_valid(*id)) {
        err_set(e, "invalid_name", "the id of a tenant must match [a-z0-9][a-z0-9._-]{0,63}");
        return err_param(e, "id");
    }
    return 0;
}

void route_tenants_create(struct request *r)
{
    struct err e;
    struct tenant_row row;
    const char *id;
    json_t *body = fields_parse(r->body.data, r->body.length, &e);
    if (body && read_id(body, &id, &e) == 0 && registry_tenant_create(r->server->registry, id, &row, &e) == 0)
        reply_json(r, 201, tenant_json(&row));
    else
        reply_error(r, &e);
    json_decref(body);
}

void route_tenants_list(struct request *r)
{
    bool more = false;
    struct tenant_row *rows = calloc(r->limit, sizeof *rows);
    if (!rows) {
        reply_json(r, 200, NULL);
        return;
    }
    size_t count =
        registry_tenant_list(r->server->registry, r->after[0] ? r->after : NULL, r->limit, rows, &more);
    json_t *data = json_array();
    for (size_t i = 0; data && i < count; i++)
        if (json_array_append_new(data, tenant_json(&rows[i])) != 0) {
            json_decref(data);
            data = NULL;
        }
    reply_json(r, 200, data ? list_json(data, more, count ? rows[count - 1].id : NULL) : NULL);
    free(rows);
}

void route_tenants_show(struct request *r)
{
    struct err e;
    struct tenant_row row;
    if (registry_tenant_find(r->server->registry, r->match.parameter[0], &row, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, tenant_json(&row));
}

void route_tenants_delete(struct request *r)
{
    struct err e;
    if (registry_tenant_delete(r->server->registry, r->match.parameter[0], &e) != 0)
        reply_error(r, &e);
    else
        reply_empty(r);
}
