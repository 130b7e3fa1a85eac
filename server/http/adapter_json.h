/* How adapters and their versions are written in answers. Any thread. */
#pragma once
#include <jansson.h>

#include "adapters/registry/registry.h"
#include "server/http/request.h"

enum { VERSION_TEXT_BYTES = 7 + SHA256_HEX + 1 }; /* "sha256:" and digits */

void adapter_json_version_text(const struct version *v, char out[VERSION_TEXT_BYTES]);
/* The header X-Adapter-Version of the coming reply. Before the reply, by the thread that makes it. */
void adapter_json_header(struct request *r, const struct version *v);

/* Each is a new reference, or NULL when memory ran out. */
json_t *adapter_json_upload(const struct version *v);  /* the answer to an upload */
json_t *adapter_json_version(const struct version *v); /* an entry of "versions" */
/* Add the member "files": what can be downloaded. -1: memory ran out. */
int adapter_json_add_files(json_t *version, const struct version *v);
/* And those beside them. -1: out of memory */
int adapter_json_add_settings(json_t *version, const struct settings_files *f);
/* Add to the member "proof" what else is known of it, with all norms where they were read. -1: memory ran
 * out. */
int adapter_json_add_proof(json_t *version, const struct version_proof *p);
json_t *adapter_json_row(const struct adapter_row *a); /* an entry of the list */
/* The part of the tenant's adapters that the request asks for, as `page` writes it. `pattern`: of
 * labels_pattern; NULL: all. */
typedef json_t *adapter_json_page(const struct request *r, const struct tenant_row *tenant,
                                  const struct adapter_row *rows, size_t count, bool more);
json_t *adapter_json_list(const struct request *r, const struct tenant_row *tenant, const char *pattern,
                          adapter_json_page *page);
json_t *adapter_json_reference(const struct version *v);     /* {"name", "version"} in an answer of /infer */
json_t *adapter_json_activation(const struct activation *a); /* an entry of "history" */
json_t *adapter_json_time(int64_t unix_ms);
/* Add the members "labels", "expires_at", "expired" and "pinned". -1: memory ran out. */
int adapter_json_add_metadata(json_t *adapter, const struct metadata *metadata);
