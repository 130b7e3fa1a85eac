/* Tenants: create, list, show, change, delete. Admins only. */
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/registry.h"
#include "server/http/adapter_json.h"
#include "server/base/fields.h"
#include "server/routes/handlers.h"
#include "server/http/list.h"
#include "server/http/reply.h"

static json_t *quota_json(const struct quota *q)
{
    json_t *object = json_object();
    for (int i = 0; i < QUOTAS; i++) {
        int64_t value = q->of[i] == QUOTA_UNSET && i == QUOTA_WEIGHT ? ENGINE_WEIGHT_DEFAULT : q->of[i];
        json_t *shown = value == QUOTA_UNSET ? json_null() : json_integer(value);
        if (json_object_set_new(object, quota_bounds[i].name, shown) != 0) {
            json_decref(object);
            return NULL;
        }
    }
    return object;
}

static json_t *tenant_json(const struct tenant_row *t)
{
    return json_pack("{s:s, s:o, s:i, s:I, s:s?, s:o}", "id", t->id, "created",
                     adapter_json_time(t->created_ms), "adapters", t->adapters, "adapter_bytes",
                     (json_int_t)t->adapter_bytes, "default_adapter",
                     t->default_adapter[0] ? t->default_adapter : NULL, "quota", quota_json(&t->quota));
}

/* ---- what may be set ---- */

static int read_quota_value(const json_t *quota, int kind, struct quota *out, struct err *e)
{
    const struct quota_bounds *b = &quota_bounds[kind];
    const json_t *value = json_object_get(quota, b->name);
    if (json_is_null(value)) {
        out->of[kind] = QUOTA_UNSET;
        return 0;
    }
    if (value && !json_is_integer(value))
        return field_wrong_type(value, b->name, "an integer or null", e);
    return field_integer(quota, b->name, b->low, b->high, &out->of[kind], e) < 0 ? -1 : 0;
}

static int check_quota_names(const json_t *quota, struct err *e)
{
    const char *known[QUOTAS + 1] = {NULL};
    for (int i = 0; i < QUOTAS; i++)
        known[i] = quota_bounds[i].name;
    return fields_known(quota, known, e);
}

static int read_quota(const json_t *body, struct quota *out, struct err *e)
{
    const json_t *quota = json_object_get(body, "quota");
    if (!quota)
        return 0;
    if (!json_is_object(quota))
        return field_wrong_type(quota, "quota", "an object", e);
    if (check_quota_names(quota, e) != 0)
        return -1;
    for (int i = 0; i < QUOTAS; i++)
        if (read_quota_value(quota, i, out, e) != 0)
            return -1;
    return 0;
}

static int read_default_adapter(const json_t *body, struct tenant_change *out, struct err *e)
{
    const json_t *value = json_object_get(body, "default_adapter");
    if (!value)
        return 0;
    out->set_default_adapter = true;
    if (json_is_null(value))
        return 0;
    if (!json_is_string(value))
        return field_wrong_type(value, "default_adapter", "an adapter's name or null", e);
    const char *name = json_string_value(value);
    if (strlen(name) != json_string_length(value) || !name_valid(name))
        return name_refuse("the name of an adapter", "default_adapter", e);
    strcpy(out->default_adapter, name);
    return 0;
}

static int read_change(const json_t *body, struct tenant_change *out, struct err *e)
{
    *out = (struct tenant_change){0};
    quota_fill(&out->quota, QUOTA_UNCHANGED);
    return read_quota(body, &out->quota, e) != 0 ? -1 : read_default_adapter(body, out, e);
}

static int read_id(const json_t *body, const char **id, struct err *e)
{
    static const char *const known[] = {"id", "quota", "default_adapter", NULL};
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
    return strlen(*id) == length && name_valid(*id) ? 0 : name_refuse("the id of a tenant", "id", e);
}

void route_tenants_create(struct request *r)
{
    struct err e;
    struct tenant_row row;
    const char *id;
    struct tenant_change change;
    json_t *body = fields_parse(r->body.data, r->body.length, &e);
    if (body && read_id(body, &id, &e) == 0 && read_change(body, &change, &e) == 0 &&
        registry_tenant_create(r->server->registry, id, &change, &row, &e) == 0)
        reply_json(r, 201, tenant_json(&row));
    else
        reply_error(r, &e);
    json_decref(body);
}

void route_tenants_list(struct request *r)
{
    bool more = false;
    struct tenant_row *rows = calloc(r->query.limit, sizeof *rows);
    if (!rows) {
        reply_json(r, 200, NULL);
        return;
    }
    size_t count = registry_tenant_list(r->server->registry, query_text(&r->query, "after"), r->query.limit,
                                        rows, &more);
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        list_add(&data, tenant_json(&rows[i]));
    reply_json(r, 200, list_json(data, more, count ? rows[count - 1].id : NULL));
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

void route_tenants_change(struct request *r)
{
    static const char *const known[] = {"quota", "default_adapter", NULL};
    struct err e;
    struct tenant_row row;
    struct tenant_change change;
    json_t *body = fields_parse(r->body.data, r->body.length, &e);
    if (body && fields_known(body, known, &e) == 0 && read_change(body, &change, &e) == 0 &&
        registry_tenant_change(r->server->registry, r->match.parameter[0], &change, &row, &e) == 0)
        reply_json(r, 200, tenant_json(&row));
    else
        reply_error(r, &e);
    json_decref(body);
}

void route_tenants_delete(struct request *r)
{
    struct err e;
    if (registry_tenant_delete(r->server->registry, r->match.parameter[0], &e) != 0)
        reply_error(r, &e);
    else
        reply_empty(r);
}
