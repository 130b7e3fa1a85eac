/* Tenants, keys, adapters and their versions: SQLite on disk, mirrored in memory.
 *
 * Writers are serialized on the one connection and return after the commit is on disk; they may block, so
 * they run on job threads, never on an HTTP or engine thread. Readers (registry_resolve, registry_key_check,
 * lists) look at the memory and never wait for the disk. Any thread may call anything. Every query takes the
 * tenant: a foreign name is an unknown name. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/blobs/version.h"
#include "adapters/registry/staged.h"
#include "adapters/types/proof.h"
#include "adapters/types/rows.h"
#include "adapters/types/usage.h"
#include "core/base/err.h"

struct registry;

/* Opens or creates DATA (lock file, database, migrations, blobs), sweeps what no row refers to, marks
 * versions whose blobs are missing or have the wrong size as broken. Errors: "data_locked" (another daemon),
 * "registry_newer", "registry_malformed" (damaged, or another program's file), "registry_missing" (blobs
 * without their database), "storage_failed", "storage_full", "io_error". Nothing is swept before the database
 * was checked, and what is swept goes to the quarantine (adapters/blobs/quarantine.h). */
MUST_USE int registry_open(struct registry **out, const char *data_directory, struct err *e);
void registry_close(struct registry *r); /* NULL is fine; nobody else uses it any more */

/* An I/O error left it open what is on disk: every change is refused with "storage_failed" from then on. The
 * daemon should stop and start again; nothing that was acknowledged is lost. Never waits. */
bool registry_failed(const struct registry *r);

/* Look whether somebody removed, replaced or wrote to the database's file, unless a writer is at work: now
 * and then. */
void registry_look(struct registry *r);
/* Somebody did: changes are refused with "registry_replaced" until a restart; the rest goes on. Never
 * waits. */
bool registry_replaced(const struct registry *r);

struct registry_stats {
    size_t tenants, keys, adapters, versions, broken;
    size_t other_base;        /* versions that were proved on another base than the one that is served */
    size_t pinned;            /* adapters */
    size_t swept_temporaries; /* files that opening removed */
    size_t swept_blobs;       /* that it moved to the quarantine */
    size_t recovered_blobs;   /* and that it brought back from there */
};
void registry_stats(struct registry *r, struct registry_stats *out);
/* At most `limit` versions that cannot be served, for the log; references are the caller's. Walks over
 * everything. */
size_t registry_broken(struct registry *r, size_t limit, const struct version **out);

/* ---- the base ---- */
/* The base that is served, before anybody is: versions of which it is not known on which they were proved are
 * taken as proved on it (how many), those that were proved on another (how many) are refused with
 * "adapter_base_changed" from now on. What is published is proved on this one. Without a call no base is
 * known, and none is compared. */
MUST_USE int registry_set_base(struct registry *r, const uint8_t fingerprint[SHA256_BYTES], size_t *adopted,
                               size_t *others, struct err *e);
/* At most `limit` versions of other bases; references are the caller's. */
size_t registry_other_base(struct registry *r, size_t limit, const struct version **out);
/* This version was proved on the base that is served, with this result, and a sample (NULL: it has none): it
 * can be served. */
MUST_USE int registry_accept_base(struct registry *r, const struct version *v, double proof_max,
                                  double proof_mean, const struct version_proof *sample, struct err *e);

/* ---- tenants ---- */
/* `change` may be NULL. "tenant_exists" */
MUST_USE int registry_tenant_create(struct registry *r, const char *id, const struct tenant_change *change,
                                    struct tenant_row *out, struct err *e);
/* On disk and in force when it returns. "tenant_not_found" */
MUST_USE int registry_tenant_change(struct registry *r, const char *id, const struct tenant_change *change,
                                    struct tenant_row *out, struct err *e);
MUST_USE int registry_tenant_find(struct registry *r, const char *id, struct tenant_row *out,
                                  struct err *e); /* "tenant_not_found" */
/* Rows after `after` (NULL: from the first) in order of id, at most `limit`. Returns how many; *more: there
 * are others. */
size_t registry_tenant_list(struct registry *r, const char *after, size_t limit, struct tenant_row *out,
                            bool *more);
/* Its keys, adapters and versions go with it. */
MUST_USE int registry_tenant_delete(struct registry *r, const char *id, struct err *e);
/* Would this content, published under `name`, be within the tenant's quota? "quota_exceeded". A look, so that
 * nobody works in vain; publishing decides. "tenant_not_found" */
MUST_USE int registry_quota_check(struct registry *r, uint32_t tenant, const char *name, const char *digest,
                                  uint64_t bytes, struct err *e);
/* The same, when all that is known of an upload is that its files have `least` to `most` bytes: refuses what
 * cannot be accepted whatever it is. What may be here already (a version of that size) passes. */
MUST_USE int registry_quota_foresee(struct registry *r, uint32_t tenant, uint64_t least, uint64_t most,
                                    struct err *e);

/* ---- keys ---- */
/* A new key of a tenant; `key` is the only copy of its text (ad_...). It ends at `expires_ms`; 0: never. */
MUST_USE int registry_key_create(struct registry *r, const char *tenant_id, const char *label,
                                 int64_t expires_ms, struct key_row *out, char key[KEY_TEXT_BYTES],
                                 struct err *e);
/* A new key with the label of another, which goes on for `grace_ms` at most; *old is the other as it is then.
 * Errors: "key_not_found", "key_not_in_force" (revoked or expired). */
MUST_USE int registry_key_rotate(struct registry *r, const char *tenant_id, const char *kid, int64_t grace_ms,
                                 int64_t expires_ms, struct key_row *old, struct key_row *out,
                                 char key[KEY_TEXT_BYTES], struct err *e);
MUST_USE int registry_key_revoke(struct registry *r, const char *tenant_id, const char *kid,
                                 struct err *e); /* "key_not_found" */
MUST_USE int registry_key_list(struct registry *r, const char *tenant_id, const char *after, size_t limit,
                               struct key_row *out, size_t *count, bool *more, struct err *e);
/* Who holds this key? Role NONE for an unknown, revoked or expired one. Compares hashes; time does not depend
 * on the match. */
void registry_key_check(struct registry *r, const char *key, struct caller *out);
/* Is the key that this caller had still in force? For what goes on for long. */
bool registry_caller_holds(struct registry *r, const struct caller *c);
/* The admin keys in `path` (adapters/types/admin_keys.h), or a new one in a new file (mode 0600) when it
 * is not there. At any time: from then on these are in force; after an error, those before. */
MUST_USE int registry_admin_keys(struct registry *r, const char *path, bool *created, struct err *e);

/* ---- audit: see adapters/registry/audit.h ---- */
/* Rows in order of their numbers, or from the newest. Reads the disk. */
MUST_USE int registry_audit_list(struct registry *r, const struct audit_query *q, struct audit_row *out,
                                 size_t *count, bool *more, struct err *e);

/* ---- usage ---- */
/* Add all counts in one transaction, all of them, or after an error none; and with them, also with no rows,
 * the times at which keys were used. */
MUST_USE int registry_usage_add(struct registry *r, const struct usage_row *rows, size_t count,
                                struct err *e);
/* In the order in which the rows came to be. Reads the disk and waits for writers. */
MUST_USE int registry_usage_list(struct registry *r, const struct usage_query *q, struct usage_row *out,
                                 size_t *count, bool *more, struct err *e);

/* ---- adapters ---- */
struct publish {
    uint32_t tenant; /* by number: a new tenant of the same id is another one */
    const char *name;
    bool activate;
    uint8_t digest[SHA256_BYTES];
    int rank_max, sites;
    int64_t parameters;
    enum version_task task;
    int vocab; /* 0: as many tokens as the base has */
    double proof_max, proof_mean;
    const struct version_proof *proof; /* what else shows its effect; NULL: nothing is known */
    const struct buf *settings;        /* as settings_files_encode makes them; NULL: none */
};
/* Move the blobs into place and commit the row; 0 only once both are on disk. "quota_exceeded" when the
 * tenant may not have more. The same content again under the same name gives the version that is there,
 * *created false (activates it when asked, and stores a proof that has a sample). */
MUST_USE int registry_publish(struct registry *r, struct staged *s, const struct publish *p,
                              const struct version **out, bool *created, struct err *e);

/* "name" (the active version) or "name@digest-prefix" (at least 4 hexadecimal digits, "sha256:" allowed
 * before them). A reference is returned. Errors: "adapter_not_found", "version_not_found",
 * "version_ambiguous", "adapter_broken". */
MUST_USE int registry_resolve(struct registry *r, uint32_t tenant, const char *reference,
                              const struct version **out, struct err *e);
/* The same for a request: a name with a canary means that one for a share of all keys. `affinity` is such a
 * key: the same key always gives the same version, and a larger share only moves keys to the canary. NULL:
 * drawn anew. A canary that is broken has no share. "adapter_expired" for a name that has ended. */
MUST_USE int registry_resolve_request(struct registry *r, uint32_t tenant, const char *reference,
                                      const char *affinity, size_t affinity_length,
                                      const struct version **out, struct err *e);
struct adapter_row {
    char name[NAME_MAX_BYTES + 1];
    int versions;
    int64_t created_ms;
    const struct version *active; /* ref or NULL */
    struct metadata metadata;
};
/* References in the rows are the caller's. `label`: only those that labels_match; NULL: all. */
size_t registry_adapter_list(struct registry *r, uint32_t tenant, const char *after, const char *label,
                             size_t limit, struct adapter_row *out, bool *more);
void adapter_rows_fini(struct adapter_row *rows, size_t count); /* drops the references in them */
/* Is it over? 0: never. */
bool registry_expired(int64_t expires_ms);
/* All versions of one adapter, newest first, at most `limit`; references are the caller's.
 * "adapter_not_found". */
MUST_USE int registry_adapter_versions(struct registry *r, uint32_t tenant, const char *name, size_t limit,
                                       const struct version **out, size_t *count, struct err *e);

/* One adapter with all that is known of it, as of one moment. */
struct adapter_detail {
    int64_t created_ms;
    struct metadata metadata;
    struct buf note;
    size_t version_count;
    const struct version *versions[ADAPTER_VERSIONS_MAX]; /* newest first; references */
    struct version_proof proofs[ADAPTER_VERSIONS_MAX];    /* of each, with its largest norms */
    size_t activation_count;
    struct activation activations[ADAPTER_HISTORY_MAX]; /* newest first */
};
/* Reads the disk and waits for writers: not for HTTP threads. "adapter_not_found". */
MUST_USE int registry_adapter_detail(struct registry *r, uint32_t tenant, const char *name,
                                     struct adapter_detail *out, struct err *e);
void adapter_detail_fini(struct adapter_detail *d);

/* Errors: "adapter_not_found", "version_conflict", "version_not_found", "version_ambiguous",
 * "no_previous_version", "version_active" (a canary must be another), "adapter_broken", "out_of_range" (too
 * many labels), "limit_reached" (ADAPTERS_PINNED_MAX). Nothing has changed then. `after` (NULL: not wanted)
 * is the adapter as the change left it, before anybody else's; should reading it fail, the change stands. */
MUST_USE int registry_adapter_change(struct registry *r, uint32_t tenant, const char *name,
                                     const struct adapter_change *c, struct version_expected *expected,
                                     struct adapter_detail *after, struct err *e);
/* Let the name mean this version, given by all 64 digits. Errors: "adapter_not_found", "version_not_found",
 * "adapter_broken". A reference is returned. */
MUST_USE int registry_activate(struct registry *r, uint32_t tenant, const char *name, const char *digest,
                               const struct version **out, struct err *e);
/* `expected` may be NULL. */
MUST_USE int registry_adapter_delete(struct registry *r, uint32_t tenant, const char *name,
                                     struct version_expected *expected, struct err *e);
/* A version goes at once from lists and from resolving; its files when nobody uses it any more. The active
 * one only with `force` ("version_active"); then none is active. `version` as in struct adapter_change,
 * `expected` as above. */
MUST_USE int registry_version_delete(struct registry *r, uint32_t tenant, const char *name,
                                     const char *version, bool force, struct version_expected *expected,
                                     struct err *e);
/* ---- pins: what a pinned name means for requests, its active version and its canary, while it has not ended
 * ---- */
/* Is this content (64 digits) of this tenant meant by one? */
bool registry_pinned(struct registry *r, uint32_t tenant, const char *digest);
enum { VERSIONS_PINNED_MAX = 2 * ADAPTERS_PINNED_MAX };
/* All of them; references are the caller's. Returns how many. */
size_t registry_pinned_list(struct registry *r, const struct version *out[VERSIONS_PINNED_MAX]);

/* Find a version of an adapter, also one that is broken. A reference is returned. "adapter_not_found",
 * "version_not_found", "version_ambiguous". */
MUST_USE int registry_version_find(struct registry *r, uint32_t tenant, const char *name, const char *version,
                                   const struct version **out, struct err *e);
/* What is stored of its effect: all norms, or the largest. Nothing is there (zeros) for a version that was
 * deleted meanwhile, or is older than such proofs. Reads the disk and waits for writers. `out` is
 * zero-initialized; the caller's proof_fini, also after an error. */
MUST_USE int registry_version_proof(struct registry *r, const struct version *v, bool all,
                                    struct version_proof *out, struct err *e);
/* The settings that came with a version, as they were published; appended. Nothing where it has none. */
MUST_USE int registry_version_settings(struct registry *r, const struct version *v, struct buf *out,
                                       struct err *e);
/* Open a version's blobs for reading. Error "adapter_broken" when one is missing. Works on deleted versions,
 * too: a reference keeps the files. */
MUST_USE int registry_open_blobs(struct registry *r, const struct version *v, int *config_fd, int *weights_fd,
                                 struct err *e);
/* Are both there, and of their size? Where not, the version is refused from now on ("adapter_broken"). */
MUST_USE int registry_check_files(struct registry *r, const struct version *v, struct err *e);
/* A blob turned out to be damaged: refuse this version from now on. False: it is not there any more. */
bool registry_mark_broken(struct registry *r, const struct version *v);
