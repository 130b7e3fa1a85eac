/* What tenants used, by day and adapter version: rows on disk that only grow. The server counts in memory and
 * hands over what came since. Plain data. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/types/name.h"
#include "core/base/sha256.h"

enum usage_kind {
    USAGE_REQUESTS,
    USAGE_ERRORS, /* of the requests */
    USAGE_PROMPT_TOKENS,
    USAGE_COMPLETION_TOKENS,
    USAGE_CACHED_TOKENS, /* of the prompts' */
    USAGE_TRAINED_TOKENS,
    USAGE_KINDS
};
extern const char *const usage_names[USAGE_KINDS]; /* as in the API */

enum { DAY_BYTES = 11 };  /* "2026-01-31" */
#define USAGE_SEVERAL "*" /* in the place of the adapter: a request with several; no name looks like this */

struct usage_row {
    int64_t number; /* when listed */
    uint32_t tenant;
    char tenant_id[NAME_MAX_BYTES + 1];
    bool deleted; /* when listed: the tenant is no more */
    char day[DAY_BYTES];
    char adapter[NAME_MAX_BYTES + 1]; /* "": the bare base */
    char version[SHA256_HEX + 1];     /* its digest; "": none */
    int64_t count[USAGE_KINDS];
};

struct usage_query {
    const char *tenant_id; /* NULL: of all. Also of deleted ones */
    uint32_t tenant;     /* with tenant_id: only of the one with this number; 0: of all that were called so */
    const char *adapter; /* NULL: all */
    const char *from, *to; /* days, both included; NULL: no bound */
    int64_t after;         /* numbered above this */
    size_t limit;
};
