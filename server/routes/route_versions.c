/* One adapter and its versions: show, change which one the name means. The history is on disk alone, so all
 * of it runs on job threads. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/registry/registry.h"
#include "server/http/adapter_json.h"
#include "server/http/etag.h"
#include "server/base/fields.h"
#include "server/http/list.h"
#include "server/routes/handlers.h"
#include "server/http/reply.h"

/* ---- show ---- */

static json_t *canary_json(const struct adapter_detail *d)
{
    char text[VERSION_TEXT_BYTES];
    for (size_t i = 0; i < d->version_count; i++) {
        if (!d->versions[i]->canary)
            continue;
        adapter_json_version_text(d->versions[i], text);
        return json_pack("{s:s, s:f}", "version", text, "percent", d->versions[i]->canary / 100.0);
    }
    return json_null();
}

static const struct version *active_of(const struct adapter_detail *d)
{
    for (size_t i = 0; i < d->version_count; i++)
        if (d->versions[i]->active)
            return d->versions[i];
    return NULL;
}

static json_t *version_json(const struct version *v, const struct version_proof *proof)
{
    json_t *version = adapter_json_version(v);
    if (!version || (adapter_json_add_proof(version, proof) == 0 && adapter_json_add_files(version, v) == 0))
        return version;
    json_decref(version);
    return NULL;
}

static json_t *versions_json(const struct adapter_detail *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->version_count; i++)
        list_add(&list, version_json(d->versions[i], &d->proofs[i]));
    return list;
}

static json_t *history_json(const struct adapter_detail *d)
{
    json_t *list = json_array();
    for (size_t i = 0; i < d->activation_count; i++)
        list_add(&list, adapter_json_activation(&d->activations[i]));
    return list;
}

static json_t *metadata_json(const char *tenant, const char *name, const struct adapter_detail *d)
{
    char text[VERSION_TEXT_BYTES];
    const struct version *active = active_of(d);
    if (active)
        adapter_json_version_text(active, text);
    return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o, s:o, s:s%}", "tenant", tenant, "name", name, "version",
                     active ? text : NULL, "created", adapter_json_time(d->created_ms), "canary",
                     canary_json(d), "versions", versions_json(d), "history", history_json(d), "note",
                     d->note.data ? d->note.data : "", d->note.length);
}

static json_t *show_json(const char *tenant, const char *name, const struct adapter_detail *d)
{
    json_t *adapter = metadata_json(tenant, name, d);
    if (!adapter || adapter_json_add_metadata(adapter, &d->metadata) == 0)
        return adapter;
    json_decref(adapter);
    return NULL;
}

/* Takes what is in `d`. */
static void reply_detail(struct request *r, const struct tenant_row *tenant, struct adapter_detail *d)
{
    const struct version *active = active_of(d);
    if (active)
        adapter_json_header(r, active);
    reply_adapter(r, active, show_json(tenant->id, r->match.parameter[0], d));
    adapter_detail_fini(d);
}

static int show(struct request *r, struct adapter_detail *d, struct err *e)
{
    if (request_tenant(r, NULL, e) != 0 ||
        registry_adapter_detail(r->server->registry, r->tenant.number, r->match.parameter[0], d, e) != 0)
        return -1;
    reply_detail(r, &r->tenant, d);
    return 0;
}

void route_versions_show(struct request *r)
{
    struct err e;
    struct adapter_detail *d = calloc(1, sizeof *d);
    if (!d)
        err_memory(&e);
    if (!d || show(r, d, &e) != 0)
        reply_error(r, &e);
    free(d);
}

/* ---- show one version, with all norms and all its files ---- */

static json_t *version_with_settings(const struct version *v, const struct version_proof *proof,
                                     const struct settings_files *files)
{
    json_t *version = version_json(v, proof);
    if (!version || adapter_json_add_settings(version, files) == 0)
        return version;
    json_decref(version);
    return NULL;
}

static int show_one(struct request *r, const struct version *v, struct err *e)
{
    struct version_proof proof = {0};
    struct settings_files files = {0};
    int result = registry_version_proof(r->server->registry, v, true, &proof, e);
    if (result == 0)
        result = settings_cache_files(r->server->settings, v, &files, e);
    if (result == 0) {
        adapter_json_header(r, v);
        reply_json(r, 200, version_with_settings(v, &proof, &files));
    }
    settings_files_fini(&files);
    proof_fini(&proof);
    return result;
}

void route_versions_show_one(struct request *r)
{
    struct err e;
    const struct version *v = NULL;
    if (request_tenant(r, NULL, &e) != 0 ||
        registry_version_find(r->server->registry, r->tenant.number, r->match.parameter[0],
                              r->match.parameter[1], &v, &e) != 0 ||
        show_one(r, v, &e) != 0)
        reply_error(r, &e);
    version_unref(v);
}

/* ---- change ---- */

static int field_missing(struct err *e)
{
    return err_set(e, "missing_field",
                   "nothing to change: the body needs a \"version\", \"rollback\", \"canary\", \"labels\", "
                   "\"note\", \"expires_at\" or \"pinned\"");
}

static int read_version(const json_t *body, const char **out, struct err *e)
{
    size_t length;
    int found = field_string(body, "version", VERSION_TEXT_BYTES - 1, out, &length, e);
    if (found > 0 && strlen(*out) != length) {
        err_set(e, "version_not_found", "a version is written as hexadecimal digits");
        found = err_param(e, "version");
    }
    return found;
}

static int read_rollback(const json_t *body, bool *out, struct err *e)
{
    int found = field_bool(body, "rollback", out, e);
    if (found <= 0 || *out)
        return found < 0 ? -1 : 0;
    err_set(e, "out_of_range", "\"rollback\" can only be true");
    return err_param(e, "rollback");
}

/* null ends it. */
static int read_canary(const json_t *body, struct adapter_change *c, struct err *e)
{
    static const char *const known[] = {"version", "percent", NULL};
    const json_t *value = json_object_get(body, "canary");
    double percent = 0;
    c->set_canary = value != NULL;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_object(value))
        return field_wrong_type(value, "canary", "an object or null", e);
    if (fields_known(value, known, e) != 0)
        return -1;
    int version = read_version(value, &c->canary, e);
    int share = version < 0 ? -1 : field_number(value, "percent", 0.01, 100, &percent, e);
    if (version < 0 || share < 0)
        return -1;
    c->canary_share = (int)lround(percent * 100);
    if (share && fabs(percent * 100 - c->canary_share) > 1e-6) {
        err_set(e, "out_of_range", "\"percent\" must be in steps of 0.01, found %g", percent);
        return err_param(e, "canary");
    }
    if (version && share)
        return 0;
    err_set(e, "missing_field", "a canary needs a \"version\" and a \"percent\"");
    return err_param(e, "canary");
}

static int check_label(const char *key, const json_t *value, struct err *e)
{
    if (!label_key_valid(key)) {
        err_set(e, "out_of_range", "a label's key must match [a-z0-9._-]{1,63}, found \"%.64s\"", key);
        return err_param(e, "labels");
    }
    if (!json_is_null(value) && !json_is_string(value))
        return field_wrong_type(value, "labels", "an object of strings and nulls", e);
    size_t length = json_is_string(value) ? json_string_length(value) : 0;
    if (length <= LABEL_VALUE_BYTES_MAX && (length == 0 || strlen(json_string_value(value)) == length))
        return 0;
    err_set(e, "out_of_range", "the label \"%s\" must have %d bytes at most, without U+0000, found %zu", key,
            LABEL_VALUE_BYTES_MAX, length);
    return err_param(e, "labels");
}

/* `text` is the caller's to free. */
static int read_labels(const json_t *body, char **text, struct err *e)
{
    json_t *labels = json_object_get(body, "labels"), *value;
    const char *key;
    *text = NULL;
    if (!labels)
        return 0;
    if (!json_is_null(labels) && !json_is_object(labels))
        return field_wrong_type(labels, "labels", "an object or null", e);
    json_object_foreach(labels, key, value) if (check_label(key, value, e) != 0) return -1;
    *text = json_dumps(labels, JSON_COMPACT | JSON_ENCODE_ANY);
    return *text ? 1 : err_memory(e);
}

/* Memory is everybody's: no tenant decides who stays in it. */
static int read_pinned(const struct request *r, const json_t *body, struct adapter_change *c, struct err *e)
{
    int found = field_bool(body, "pinned", &c->pinned, e);
    if (found < 0)
        return -1;
    c->set_pinned = found > 0;
    if (!found || r->caller.role == ROLE_ADMIN)
        return 0;
    err_set(e, "forbidden", "\"pinned\" needs an admin key");
    return err_param(e, "pinned");
}

/* 1: something is to change; 0: nothing. */
static int read_metadata(const struct request *r, const json_t *body, struct adapter_change *c, char **labels,
                         struct err *e)
{
    int note = field_text(body, "note", NOTE_MAX_BYTES, &c->note, e), expires = 0;
    if (note >= 0)
        expires = field_expiry(body, "expires_at", &c->expires_ms, e);
    if (note < 0 || expires < 0 || read_pinned(r, body, c, e) != 0 || read_labels(body, labels, e) < 0)
        return -1;
    c->labels = *labels;
    c->set_expires = expires > 0;
    return c->labels || c->note || c->set_expires || c->set_pinned;
}

/* `labels` is the caller's to free, also after an error. */
static int read_change(const struct request *r, const json_t *body, struct adapter_change *c, char **labels,
                       struct err *e)
{
    static const char *const known[] = {"tenant", "version",    "rollback", "canary", "labels",
                                        "note",   "expires_at", "pinned",   NULL};
    int version = fields_known(body, known, e) == 0 ? read_version(body, &c->version, e) : -1;
    if (version < 0 || read_rollback(body, &c->rollback, e) != 0 || read_canary(body, c, e) != 0)
        return -1;
    int metadata = read_metadata(r, body, c, labels, e);
    if (metadata < 0)
        return -1;
    int wanted = version + c->rollback + c->set_canary + metadata;
    if (wanted > 1)
        return err_set(e, "field_conflict",
                       "\"version\", \"rollback\" and \"canary\" exclude each other and all other changes");
    return wanted ? 0 : field_missing(e);
}

/* A lost compare-and-swap shows what the winner made of it. */
static void reply_refused(struct request *r, const struct version_expected *expected, const struct err *e)
{
    if (strcmp(e->code, "version_conflict") == 0)
        reply_conflict(r, expected->found, e);
    else
        reply_error(r, e);
}

/* What the name means now is read into memory before somebody asks for it. */
static void prefetch(struct request *r, uint32_t tenant)
{
    const struct version *v;
    struct err ignored;
    if (registry_resolve(r->server->registry, tenant, r->match.parameter[0], &v, &ignored) != 0)
        return;
    cache_prefetch(r->server->cache, v);
    version_unref(v);
}

/* The answer is the adapter as this change left it, whatever others do to it meanwhile. */
static int change(struct request *r, const json_t *body, struct version_expected *expected,
                  struct adapter_detail *d, struct err *e)
{
    struct adapter_change c = {0};
    char *labels = NULL;
    int result = request_body_tenant(r, body, e);
    if (result == 0)
        result = read_change(r, body, &c, &labels, e);
    if (result == 0)
        result = etag_expected(r->if_match, expected, e);
    if (result == 0)
        result = registry_adapter_change(r->server->registry, r->tenant.number, r->match.parameter[0], &c,
                                         expected, d, e);
    free(labels);
    if (result != 0)
        return -1;
    if (c.version || c.rollback || c.pinned)
        prefetch(r, r->tenant.number);
    reply_detail(r, &r->tenant, d);
    return 0;
}

void route_versions_change(struct request *r)
{
    struct err e;
    struct version_expected expected = {0};
    struct adapter_detail *d = calloc(1, sizeof *d);
    json_t *body = d ? fields_parse(r->body.data, r->body.length, &e) : NULL;
    if (!d)
        err_memory(&e);
    if (!body || change(r, body, &expected, d, &e) != 0)
        reply_refused(r, &expected, &e);
    json_decref(body);
    free(d);
}

/* ---- delete ---- */

static bool forced(const struct request *r)
{
    const char *force = query_text(&r->query, "force");
    return force && strcmp(force, "true") == 0;
}

void route_versions_delete(struct request *r)
{
    struct err e;
    struct version_expected expected = {0};
    if (request_tenant(r, NULL, &e) != 0 || etag_expected(r->if_match, &expected, &e) != 0 ||
        registry_version_delete(r->server->registry, r->tenant.number, r->match.parameter[0],
                                r->match.parameter[1], forced(r), &expected, &e) != 0)
        reply_refused(r, &expected, &e);
    else
        reply_empty(r);
}

void route_versions_delete_all(struct request *r)
{
    struct err e;
    struct version_expected expected = {0};
    if (request_tenant(r, NULL, &e) != 0 || etag_expected(r->if_match, &expected, &e) != 0 ||
        registry_adapter_delete(r->server->registry, r->tenant.number, r->match.parameter[0], &expected,
                                &e) != 0)
        reply_refused(r, &expected, &e);
    else
        reply_empty(r);
}
