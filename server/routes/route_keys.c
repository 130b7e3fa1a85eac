/* Keys of a tenant: create and rotate (the only time the key is shown), list, revoke. Admins only. */
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/registry.h"
#include "server/http/adapter_json.h"
#include "server/base/fields.h"
#include "server/routes/handlers.h"
#include "server/http/list.h"
#include "server/http/reply.h"

enum { GRACE_S_DEFAULT = 3600, GRACE_S_MAX = 7 * 24 * 3600 };

/* 0 for null or nothing: never. */
static int read_expiry(const json_t *body, int64_t *out_ms, struct err *e)
{
    *out_ms = 0;
    return field_expiry(body, "expires_at", out_ms, e) < 0 ? -1 : 0;
}

static int read_key(const json_t *body, const char **label, int64_t *expires_ms, struct err *e)
{
    static const char *const known[] = {"label", "expires_at", NULL};
    if (fields_known(body, known, e) != 0 || field_text(body, "label", LABEL_MAX_BYTES, label, e) < 0)
        return -1;
    return read_expiry(body, expires_ms, e);
}

static json_t *time_json(int64_t unix_ms)
{
    return unix_ms ? adapter_json_time(unix_ms) : json_null();
}

/* `old`: the key that this one replaces; NULL: none. */
static json_t *created_json(const struct key_row *k, const char *key, const struct key_row *old)
{
    json_t *body =
        json_pack("{s:s, s:s, s:s, s:o, s:o}", "kid", k->kid, "key", key, "label", k->label, "created",
                  adapter_json_time(k->created_ms), "expires_at", time_json(k->expires_ms));
    if (body && old &&
        json_object_set_new(
            body, "replaces",
            json_pack("{s:s, s:o}", "kid", old->kid, "expires_at", time_json(old->expires_ms))) != 0) {
        json_decref(body);
        return NULL;
    }
    return body;
}

static int read_rotation(const json_t *body, int64_t *grace_s, int64_t *expires_ms, struct err *e)
{
    static const char *const known[] = {"grace_seconds", "expires_at", NULL};
    *grace_s = GRACE_S_DEFAULT;
    if (fields_known(body, known, e) != 0 ||
        field_integer(body, "grace_seconds", 0, GRACE_S_MAX, grace_s, e) < 0)
        return -1;
    return read_expiry(body, expires_ms, e);
}

void route_keys_rotate(struct request *r)
{
    struct err e;
    struct key_row row, old;
    char key[KEY_TEXT_BYTES];
    int64_t grace_s, expires_ms;
    json_t *body = fields_parse(r->body.data, r->body.length, &e);
    if (body && read_rotation(body, &grace_s, &expires_ms, &e) == 0 &&
        registry_key_rotate(r->server->registry, r->match.parameter[0], r->match.parameter[1], grace_s * 1000,
                            expires_ms, &old, &row, key, &e) == 0) {
        r->reply.no_store = true;
        reply_json(r, 201, created_json(&row, key, &old));
        explicit_bzero(key, sizeof key);
    } else {
        reply_error(r, &e);
    }
    json_decref(body);
}

void route_keys_create(struct request *r)
{
    struct err e;
    struct key_row row;
    char key[KEY_TEXT_BYTES];
    const char *label = "";
    int64_t expires_ms;
    json_t *body = fields_parse(r->body.data, r->body.length, &e);
    if (body && read_key(body, &label, &expires_ms, &e) == 0 &&
        registry_key_create(r->server->registry, r->match.parameter[0], label, expires_ms, &row, key, &e) ==
            0) {
        r->reply.no_store = true;
        reply_json(r, 201, created_json(&row, key, NULL));
        explicit_bzero(key, sizeof key);
    } else {
        reply_error(r, &e);
    }
    json_decref(body);
}

static json_t *key_json(const struct key_row *k)
{
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:b}", "kid", k->kid, "label", k->label, "created",
                     adapter_json_time(k->created_ms), "last_used", time_json(k->used_ms), "expires_at",
                     time_json(k->expires_ms), "revoked", (int)k->revoked);
}

static json_t *rows_json(const struct key_row *rows, size_t count, bool more)
{
    json_t *data = json_array();
    for (size_t i = 0; i < count; i++)
        list_add(&data, key_json(&rows[i]));
    return list_json(data, more, count ? rows[count - 1].kid : NULL);
}

void route_keys_list(struct request *r)
{
    struct err e;
    size_t count = 0;
    bool more = false;
    struct key_row *rows = calloc(r->query.limit, sizeof *rows);
    if (!rows) {
        reply_json(r, 200, NULL);
        return;
    }
    if (registry_key_list(r->server->registry, r->match.parameter[0], query_text(&r->query, "after"),
                          r->query.limit, rows, &count, &more, &e) == 0)
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
