/* Keys of a tenant: create (the only time the key is shown), list, revoke. Admins only. */
#include <stdlib.h>
#include <string.h>

#include "adapters/registry.h"
#include "server/adapter_json.h"
#include "server/fields.h"
#include "server/handlers.h"
#include "server/list.h"
#include "server/reply.h"

static int read_label(const json_t *body, const char **label, struct err *e)
{
    static const char *const known[] = {"label", NULL};
    size_t length = 0;
    if (fields_known(body, known, e) != 0 ||
        field_string(body, "label", LABEL_MAX_BYTES, label, &length, e) < 0)
        return -1;
    if (strlen(*label) == length)
        return 0;
    err_set(e, "out_of_range", "\"label\" may not hold U+0000");
    return err_param(e, "label");
}

void route_keys_create(struct request *r)
{
    struct err e;
    struct key_row row;
    char key[KEY_TEXT_BYTES];
    const char *label = "";
    json_t *body = fields_parse(r->body.data, r->body.length, &e);
    if (body && read_label(body, &label, &e) == 0 &&
        registry_key_create(r->server->registry, r->match.parameter[0], label, &row, key, &e) == 0) {
        r->reply.no_store = true;
        reply_json(r, 201,
                   json_pack("{s:s, s:s, s:s, s:o}", "kid", row.kid, "key", key, "label", row.label,
                             "created", adapter_json_time(row.created_ms)));
        explicit_bzero(key, sizeof key);
    } else {
        reply_error(r, &e);
    }
    json_decref(body);
}

static json_t *key_json(const struct key_row *k)
{
    return json_pack("{s:s, s:s, s:o, s:b}", "kid", k->kid, "label", k->label, "created",
                     adapter_json_time(k->created_ms), "revoked", (int)k->revoked);
}

static json_t *rows_json(const struct key_row *rows, size_t count, bool more)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        if (json_array_append_new(data, key_json(&rows[i])) != 0) {
            json_decref(data);
            return NULL;
        }
    return list_json(data, more, count ? rows[count - 1].kid : NULL);
}

void route_keys_list(struct request *r)
{
    struct err e;
    size_t count = 0;
    bool more = false;
    struct key_row *rows = calloc(r->limit, sizeof *rows);
    if (!rows) {
        reply_json(r, 200, NULL);
        return;
    }
    if (registry_key_list(r->server->registry, r->match.parameter[0], r->after[0] ? r->after : NULL, r->limit,
                          rows, &count, &more, &e) == 0)
        reply_json(r, 200, rows_json(rows, count, more));
    else
        reply_error(r, &e);
    free(rows);
}

void route_keys_revoke(struct request *r)
{
    struct err e;
    if (registry_key_revoke(r->server->registry, r->match.parameter[0], r->match.parameter[1], &e) != 0)
        reply_error(r, &e);
    else
        reply_empty(r);
}
