/* ETags and the headers that name them. A document's is a hash of it. An adapter's ETag is
 * "sha256:DIGEST-HASH" ("none-HASH" without an active version): the version that it means, and a hash of the
 * whole answer. If-Match looks at the version alone, so that "sha256:DIGEST" is a good one, too;
 * If-None-Match at all of it. Stateless. */
#pragma once
#include <stdbool.h>

#include "adapters/registry/registry.h"

enum { ETAG_BYTES = 112, ETAG_HEADER_BYTES_MAX = 2048 };

/* If-Match (NULL: it was not sent). Error: "invalid_header". */
MUST_USE int etag_expected(const char *header, struct version_expected *out, struct err *e);
/* Is `etag` (with its quotes) one of If-None-Match? */
bool etag_listed(const char *header, const char *etag);
void etag_of_document(const void *text, size_t length, char out[ETAG_BYTES]);
/* `v` may be NULL: no version is active. */
void etag_of_adapter(const struct version *v, const void *body, size_t length, char out[ETAG_BYTES]);
