/* What the store's files share: store.c (transactions), tenants.c, keys.c, adapters.c, versions.c,
 * activations.c, proofs.c, audit.c and usage.c (the statements of each table). Nobody else includes it. */
#pragma once
#include "adapters/store/sql/query.h"
#include "adapters/types/rows.h"

struct store_visitor;

struct store {
    struct database *database; /* owned */
};

/* ---- column.c: columns that are checked, because a row may be damaged or another program's ---- */

/* Each copies, or borrows until the next row; -1 or NULL: it is none. */
MUST_USE int column_name(struct query *q, char out[NAME_MAX_BYTES + 1]);
MUST_USE int column_digest(struct query *q, char out[SHA256_HEX + 1]);
const char *column_blob(struct query *q);
MUST_USE int column_quota(struct query *q, enum quota_kind kind, struct quota *out);
int column_malformed(const char *table, struct err *e); /* -1 and "registry_malformed" */

/* ---- for load.c: every row of a table, in the order that store.h promises ---- */
struct store_reader {
    const struct store_visitor *visitor;
    void *arg;
};
MUST_USE int store_tenants_load(struct store *s, struct store_reader *r, struct err *e);
MUST_USE int store_keys_load(struct store *s, struct store_reader *r, struct err *e);
MUST_USE int store_adapters_load(struct store *s, struct store_reader *r, struct err *e);
MUST_USE int store_versions_load(struct store *s, struct store_reader *r, struct err *e);
