/* The models of OpenAI's clients: a tenant's adapters and the base. */
#include <string.h>

#include "adapters/registry/registry.h"
#include "server/admission/ability.h"
#include "server/http/adapter_json.h"
#include "server/routes/handlers.h"
#include "server/http/list.h"
#include "server/http/reply.h"

static json_t *model_json(const struct server *s, const char *id, int64_t created_s, const char *owner,
                          const struct version *v)
{
    return json_pack("{s:s, s:s, s:I, s:s, s:o}", "id", id, "object", "model", "created",
                     (json_int_t)created_s, "owned_by", owner, "capabilities", ability_json(s, v));
}

static json_t *base_json(const struct server *s)
{
    return model_json(s, s->model_name, s->model_created_s, "adapterd", NULL);
}

/* Does this name mean the base? Not where an adapter has it, whatever the state that one is in. */
static bool means_base(const struct server *s, const struct tenant_row *tenant, const char *name)
{
    const struct version *v;
    struct err e;
    if (strcmp(name, s->model_name) != 0)
        return false;
    if (registry_resolve(s->registry, tenant->number, name, &v, &e) != 0)
        return strcmp(e.code, "adapter_not_found") == 0;
    version_unref(v);
    return false;
}

/* Requests for it are answered, unless its files are broken. */
static bool serves(const struct adapter_row *a)
{
    return a->active && !registry_expired(a->metadata.expires_ms);
}

static json_t *page_json(const struct request *r, const struct tenant_row *tenant,
                         const struct adapter_row *rows, size_t count, bool more)
{
    json_t *data = json_array();
    if (!query_text(&r->query, "after") && means_base(r->server, tenant, r->server->model_name))
        list_add(&data, base_json(r->server));
    for (size_t i = 0; i < count; i++)
        if (serves(&rows[i]))
            list_add(&data, model_json(r->server, rows[i].name, rows[i].active->created_ms / 1000, tenant->id,
                                       rows[i].active));
    return json_pack("{s:s, s:o, s:b, s:s?}", "object", "list", "data", data, "has_more", (int)more, "next",
                     more ? rows[count - 1].name : NULL);
}

void route_models_list(struct request *r)
{
    struct err e;
    if (request_tenant(r, NULL, &e) != 0)
        reply_error(r, &e);
    else
        reply_json(r, 200, adapter_json_list(r, &r->tenant, NULL, page_json));
}

void route_models_show(struct request *r)
{
    struct err e;
    const struct version *v;
    const char *name = r->match.parameter[0];
    if (request_tenant(r, NULL, &e) != 0) {
        reply_error(r, &e);
    } else if (means_base(r->server, &r->tenant, name)) {
        reply_json(r, 200, base_json(r->server));
    } else if (registry_resolve_request(r->server->registry, r->tenant.number, name, NULL, 0, &v, &e) != 0) {
        if (strcmp(e.code, "adapter_not_found") == 0)
            err_set(&e, "model_not_found", "there is no model \"%s\"", name);
        err_param(&e, "model");
        reply_error(r, &e);
    } else {
        reply_json(r, 200, model_json(r->server, name, v->created_ms / 1000, r->tenant.id, v));
        version_unref(v);
    }
}
