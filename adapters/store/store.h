/* The rows on disk, by any database that speaks SQL: the statements of each table. Owned by the registry,
 * which calls it under its writer mutex only. Keeps no copies; never touches blobs.
 *
 * Changes are made between store_begin and store_end. An error that leaves it open what is on disk (I/O,
 * damage) makes the store failed: every later store_begin is refused with "storage_failed". A full disk is
 * "storage_full" and, rolled back, does no harm. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/types/proof.h"
#include "adapters/types/rows.h"
#include "adapters/types/usage.h"

struct database;
struct store;

struct store_tenant { /* texts are borrowed until the callback returns */
    uint32_t number;
    const char *id;
    int64_t created_ms;
    struct quota quota;
    const char *default_adapter; /* "": none */
};
struct store_key {
    uint32_t tenant;
    const char *kid, *label;
    uint8_t hash[SHA256_BYTES];
    int64_t created_ms, expires_ms, used_ms; /* 0: never */
    bool revoked;
};
struct store_adapter {
    int64_t number;
    uint32_t tenant;
    const char *name;
    int64_t created_ms;
    const char *labels; /* as labels_text has them; "": none */
    int64_t expires_ms; /* 0: never */
    bool pinned;
};
struct store_version {
    uint32_t tenant;
    const char *adapter;
    struct version values; /* without tenant_id and files */
};

/* Takes the connection over, also after an error. */
MUST_USE int store_open(struct store **out, struct database *d, struct err *e);
void store_close(struct store *s); /* NULL is fine */
bool store_failed(const struct store *s);
/* Did somebody remove, replace or write to the database's file? Looks at it; once true it stays so, and
 * changes are refused with "registry_replaced". What is held can still be read and copied. */
bool store_replaced(struct store *s);

MUST_USE int store_begin(struct store *s, struct err *e);
/* Commit what was done, or, where it was not, take it back; `e` then says why already. 0: it is on disk. -1:
 * nothing is. */
MUST_USE int store_end(struct store *s, bool done, struct err *e);

/* Call back for every row, parents first: tenants by id, keys, adapters, versions from the oldest. A
 * callback's -1 ends it. */
struct store_visitor {
    int (*tenant)(void *arg, const struct store_tenant *row, struct err *e);
    int (*key)(void *arg, const struct store_key *row, struct err *e);
    int (*adapter)(void *arg, const struct store_adapter *row, struct err *e);
    int (*version)(void *arg, const struct store_version *row, struct err *e);
};
MUST_USE int store_load(struct store *s, const struct store_visitor *v, void *arg, struct err *e);

/* Gives the row its number. */
MUST_USE int store_tenant_insert(struct store *s, const struct store_tenant *row, uint32_t *number,
                                 struct err *e);
/* Quota and default adapter of the row with this number. */
MUST_USE int store_tenant_change(struct store *s, const struct store_tenant *row, struct err *e);
MUST_USE int store_tenant_delete(struct store *s, uint32_t number,
                                 struct err *e); /* with all that is its own */

MUST_USE int store_key_insert(struct store *s, const struct store_key *row, struct err *e);
MUST_USE int store_key_expire(struct store *s, const char *kid, int64_t expires_ms, struct err *e);
MUST_USE int store_key_used(struct store *s, const char *kid, int64_t used_ms,
                            struct err *e); /* gone: nothing */
MUST_USE int store_key_revoke(struct store *s, const char *kid, int64_t revoked_ms, struct err *e);
MUST_USE int store_key_delete(struct store *s, const char *kid, struct err *e);

MUST_USE int store_adapter_insert(struct store *s, uint32_t tenant, const char *name, int64_t created_ms,
                                  int64_t *number, struct err *e);
MUST_USE int store_adapter_delete(struct store *s, int64_t number, struct err *e); /* with its versions */

MUST_USE int store_version_insert(struct store *s, int64_t adapter, const struct version *v, struct err *e);
/* The same content came again in other files: point the row at them. */
MUST_USE int store_version_replace_blobs(struct store *s, int64_t adapter, const struct version *v,
                                         struct err *e);
/* Make this version the adapter's only active one. */
MUST_USE int store_version_activate(struct store *s, int64_t adapter, const char *digest, struct err *e);
/* Make this version the only canary of its adapter; share 0: none is. */
MUST_USE int store_version_canary(struct store *s, int64_t adapter, const char *digest, int share,
                                  struct err *e);
MUST_USE int store_version_delete(struct store *s, int64_t adapter, const char *digest, struct err *e);
MUST_USE int store_version_deactivate_all(struct store *s, int64_t adapter, struct err *e);

/* Also forgets all but the newest ADAPTER_HISTORY_MAX. */
MUST_USE int store_activation_insert(struct store *s, int64_t adapter, const struct activation *row,
                                     struct err *e);
/* Newest first. */
MUST_USE int store_activation_list(struct store *s, int64_t adapter,
                                   struct activation out[ADAPTER_HISTORY_MAX], size_t *count, struct err *e);

MUST_USE int store_audit_insert(struct store *s, const struct audit_row *row, struct err *e);
MUST_USE int store_audit_list(struct store *s, const struct audit_query *q, struct audit_row *out,
                              size_t *count, bool *more, struct err *e);

/* Whether the file is sound: "registry_malformed". Reads all of it. */
MUST_USE int store_check(struct store *s, struct err *e);
/* A copy of the whole database in a new file, as it is between two changes; not synced. */
MUST_USE int store_copy(struct store *s, const char *path, struct err *e);

/* `note` NULL: as it is. */
MUST_USE int store_metadata_set(struct store *s, int64_t adapter, const struct metadata *metadata,
                                const char *note, struct err *e);
MUST_USE int store_note_get(struct store *s, int64_t adapter, struct buf *out, struct err *e); /* appended */

/* Of a version that is there, instead of what it has; a proof without a sample leaves the sample. */
MUST_USE int store_proof_set(struct store *s, int64_t adapter, const char *digest,
                             const struct version_proof *p, struct err *e);
/* As registry_version_proof. */
MUST_USE int store_proof_get(struct store *s, int64_t adapter, const char *digest, bool all,
                             struct version_proof *out, struct err *e);

/* The version's proof, and the base ("": not known) that it is of. */
MUST_USE int store_version_proved(struct store *s, int64_t adapter, const struct version *v, const char *base,
                                  struct err *e);
/* How many versions have no base, and let them have this one. */
MUST_USE int store_base_unknown(struct store *s, size_t *count, struct err *e);
MUST_USE int store_base_adopt(struct store *s, const char *base, struct err *e);
/* Call back for each version of another base. */
typedef int store_other_base_function(void *arg, uint32_t tenant, const char *adapter, const char *digest,
                                      struct err *e);
MUST_USE int store_base_others(struct store *s, const char *base, store_other_base_function *visit, void *arg,
                               struct err *e);

/* Nothing where they are there; appended, of settings that are there; those that no version has any more,
 * which deleting versions does by itself. */
MUST_USE int store_settings_put(struct store *s, const char *digest, const struct buf *files, struct err *e);
MUST_USE int store_settings_get(struct store *s, const char *digest, struct buf *out, struct err *e);
MUST_USE int store_settings_sweep(struct store *s, struct err *e);

MUST_USE int store_blob_used(struct store *s, const char *blob, bool *used, struct err *e);

MUST_USE int store_usage_add(struct store *s, const struct usage_row *row,
                             struct err *e); /* to the row that is there */
/* As registry_usage_list; `deleted` is left alone. */
MUST_USE int store_usage_list(struct store *s, const struct usage_query *query, struct usage_row *out,
                              size_t *count, bool *more, struct err *e);
