#include "server/http/adapter_json.h"

#include <stdio.h>
#include <stdlib.h>

#include "core/system/clock.h"

void adapter_json_version_text(const struct version *v, char out[VERSION_TEXT_BYTES])
{
    snprintf(out, VERSION_TEXT_BYTES, "sha256:%s", v->digest);
}

void adapter_json_header(struct request *r, const struct version *v)
{
    snprintf(r->reply.adapter_version, sizeof r->reply.adapter_version, "sha256:%s", v->digest);
}

json_t *adapter_json_time(int64_t unix_ms)
{
    char text[32];
    clock_format(unix_ms, text, sizeof text);
    return json_string(text);
}

/* As PEFT calls it; NULL: it has no head of its own. */
static const char *task_name(enum version_task task)
{
    return task == VERSION_LABELS_TEXTS ? "SEQ_CLS" : task == VERSION_LABELS_TOKENS ? "TOKEN_CLS" : NULL;
}

/* "sha256:..." of the files beside the weights, or null. */
static json_t *settings(const struct version *v)
{
    return v->settings[0] ? json_sprintf("sha256:%s", v->settings) : json_null();
}

static json_t *proof(const struct version *v)
{
    return json_pack("{s:f, s:f}", "max_logit_change", v->proof_max, "mean_logit_change", v->proof_mean);
}

json_t *adapter_json_upload(const struct version *v)
{
    char version[VERSION_TEXT_BYTES];
    adapter_json_version_text(v, version);
    return json_pack("{s:s, s:s, s:s, s:b, s:i, s:i, s:I, s:I, s:s?, s:o, s:o}", "tenant", v->tenant_id,
                     "name", v->name, "version", version, "active", (int)v->active, "rank_max", v->rank_max,
                     "sites", v->sites, "parameters", (json_int_t)v->parameters, "bytes",
                     (json_int_t)v->weights_bytes, "task", task_name(v->task), "settings", settings(v),
                     "proof", proof(v));
}

static json_t *file_json(const char *name, uint64_t bytes, const char *blob)
{
    return json_pack("{s:s, s:I, s:s}", "name", name, "bytes", (json_int_t)bytes, "sha256", blob);
}

int adapter_json_add_files(json_t *version, const struct version *v)
{
    return json_object_set_new(
        version, "files",
        json_pack("[o, o]", file_json("adapter_config.json", v->config_bytes, v->config_blob),
                  file_json("adapter_model.safetensors", v->weights_bytes, v->weights_blob)));
}

static int add_file(json_t *version, const char *name, const struct buf *text)
{
    uint8_t digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    sha256_of(text->data, text->length, digest);
    hex_encode(digest, sizeof digest, hex);
    return json_array_append_new(json_object_get(version, "files"), file_json(name, text->length, hex));
}

int adapter_json_add_settings(json_t *version, const struct settings_files *f)
{
    for (int i = 0; i < SETTINGS_FILES; i++)
        if (f->has[i] && add_file(version, settings_file_names[i], &f->text[i]) != 0)
            return -1;
    return 0;
}

static json_t *norms_json(const struct version_proof *p)
{
    const struct buf *text = p->norms.length ? &p->norms : &p->norms_largest;
    return text->length ? json_loadb(text->data, text->length, JSON_REJECT_DUPLICATES, NULL) : json_null();
}

static json_t *sample_json(const struct version_proof *p)
{
    if (p->prompt.length == 0)
        return json_null();
    return json_pack("{s:s%, s:s%, s:s%}", "prompt", p->prompt.data, p->prompt.length, "base",
                     p->base.data ? p->base.data : "", p->base.length, "adapter",
                     p->adapter.data ? p->adapter.data : "", p->adapter.length);
}

int adapter_json_add_proof(json_t *version, const struct version_proof *p)
{
    json_t *proof = json_object_get(version, "proof");
    bool known = p->norms.length || p->norms_largest.length;
    return proof && json_object_set_new(proof, "norms", norms_json(p)) == 0 &&
                   json_object_set_new(proof, "norm_sum", known ? json_real(p->norm_sum) : json_null()) ==
                       0 &&
                   json_object_set_new(proof, "norm_count",
                                       known ? json_integer(p->norm_count) : json_null()) == 0 &&
                   json_object_set_new(proof, "sample", sample_json(p)) == 0
               ? 0
               : -1;
}

json_t *adapter_json_version(const struct version *v)
{
    char version[VERSION_TEXT_BYTES];
    adapter_json_version_text(v, version);
    return json_pack("{s:s, s:o, s:b, s:s, s:i, s:i, s:I, s:I, s:s?, s:o, s:o}", "version", version,
                     "created", adapter_json_time(v->created_ms), "active", (int)v->active, "state",
                     v->broken       ? "broken"
                     : v->other_base ? "base_changed"
                                     : "ready",
                     "rank_max", v->rank_max, "sites", v->sites, "parameters", (json_int_t)v->parameters,
                     "bytes", (json_int_t)v->weights_bytes, "task", task_name(v->task), "settings",
                     settings(v), "proof", proof(v));
}

int adapter_json_add_metadata(json_t *adapter, const struct metadata *metadata)
{
    const char *text = labels_text(metadata->labels);
    bool added =
        json_object_set_new(adapter, "labels",
                            text ? json_loads(text, JSON_REJECT_DUPLICATES, NULL) : json_object()) == 0 &&
        json_object_set_new(adapter, "expires_at",
                            metadata->expires_ms ? adapter_json_time(metadata->expires_ms) : json_null()) ==
            0 &&
        json_object_set_new(adapter, "expired", json_boolean(registry_expired(metadata->expires_ms))) == 0 &&
        json_object_set_new(adapter, "pinned", json_boolean(metadata->pinned)) == 0;
    return added ? 0 : -1;
}

json_t *adapter_json_row(const struct adapter_row *a)
{
    /* What the active version is; an adapter without one has nulls there, and a time of its own. */
    json_t *row = a->active ? adapter_json_version(a->active) : json_pack("{s:n, s:n}", "version", "state");
    if (row && json_object_set_new(row, "name", json_string(a->name)) == 0 &&
        json_object_set_new(row, "versions", json_integer(a->versions)) == 0 &&
        json_object_set_new(row, "created", adapter_json_time(a->created_ms)) == 0 &&
        adapter_json_add_metadata(row, &a->metadata) == 0 &&
        (!a->active || json_object_del(row, "active") == 0))
        return row;
    json_decref(row);
    return NULL;
}

json_t *adapter_json_list(const struct request *r, const struct tenant_row *tenant, const char *pattern,
                          adapter_json_page *page)
{
    bool more = false;
    struct adapter_row *rows = calloc(r->query.limit, sizeof *rows);
    if (!rows)
        return NULL;
    size_t count = registry_adapter_list(r->server->registry, tenant->number, query_text(&r->query, "after"),
                                         pattern, r->query.limit, rows, &more);
    json_t *body = page(r, tenant, rows, count, more);
    adapter_rows_fini(rows, count);
    free(rows);
    return body;
}

json_t *adapter_json_activation(const struct activation *a)
{
    char version[VERSION_TEXT_BYTES];
    snprintf(version, sizeof version, "sha256:%s", a->digest);
    return json_pack("{s:s?, s:o, s:s?}", "version", a->digest[0] ? version : NULL, "time",
                     adapter_json_time(a->at_ms), "by", a->by[0] ? a->by : NULL);
}

json_t *adapter_json_reference(const struct version *v)
{
    char version[VERSION_TEXT_BYTES];
    adapter_json_version_text(v, version);
    return json_pack("{s:s, s:s}", "name", v->name, "version", version);
}
