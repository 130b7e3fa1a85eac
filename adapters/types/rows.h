/* What the registry holds, as values: tenants, keys, adapters, versions, audit rows, and their bounds. Plain
 * data that is copied; only struct version is shared (adapters/blobs/version.h has its references). Knows
 * neither SQL nor files. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/types/labels.h"
#include "adapters/types/name.h"
#include "adapters/types/quota.h"
#include "core/base/sha256.h"

enum { LABEL_MAX_BYTES = 128, NOTE_MAX_BYTES = 1024 };

/* What one daemon holds at most; beyond it "limit_reached". */
enum {
    TENANTS_MAX = 100000,
    TENANT_KEYS_MAX = 1000,
    TENANT_ADAPTERS_MAX = 100000,
    ADAPTER_VERSIONS_MAX = 1000,
    ADAPTERS_PINNED_MAX = 64,
    ADAPTER_HISTORY_MAX = 100 /* activations that are remembered */
};

/* ---- tenants ---- */

struct tenant_row {
    uint32_t number;
    char id[NAME_MAX_BYTES + 1];
    int64_t created_ms;
    int adapters;
    uint64_t adapter_bytes; /* both files of all versions */
    struct quota quota;
    char default_adapter[NAME_MAX_BYTES + 1]; /* "": the bare base */
};
struct tenant_change {
    struct quota quota; /* QUOTA_UNCHANGED where nothing is said */
    bool set_default_adapter;
    char default_adapter[NAME_MAX_BYTES + 1]; /* valid, of an adapter that need not be there; "": none */
};

/* ---- keys ---- */

enum { KEY_TEXT_BYTES = 96, KID_BYTES = 24 };
enum role { ROLE_NONE, ROLE_TENANT, ROLE_ADMIN };
struct caller {
    enum role role;
    uint32_t tenant;
    char tenant_id[NAME_MAX_BYTES + 1];
    char kid[KID_BYTES];
};
struct key_row {
    char kid[KID_BYTES];
    char label[LABEL_MAX_BYTES + 1];
    int64_t created_ms;
    int64_t expires_ms; /* 0: never */
    int64_t used_ms;    /* the minute of its last use; 0: never */
    bool revoked;
};

/* ---- audit ---- */

enum { REQUEST_ID_BYTES = 40 };
struct audit_actor {
    char name[KID_BYTES];            /* of the key: its kid, "admin", "admin:NAME"; "no-auth", "daemon" */
    char tenant[NAME_MAX_BYTES + 1]; /* whose key; "" for an admin */
    char request[REQUEST_ID_BYTES];
};
struct audit_row {
    int64_t number, at_ms;
    struct audit_actor by;
    char action[32];
    char tenant[NAME_MAX_BYTES + 1], target[NAME_MAX_BYTES + 1];
    char detail[192];
};
struct audit_query {
    const char *tenant; /* whose rows; NULL: all */
    int64_t after;      /* rows behind this one in the order asked for; 0: from its beginning */
    bool newest_first;
    size_t limit;
};

/* ---- adapters ---- */

/* What is said about an adapter, but for its note. */
struct metadata {
    const struct labels *labels; /* a reference, or NULL */
    int64_t expires_ms;          /* 0: never */
    bool pinned;                 /* its versions that requests get stay in memory */
};
struct activation {
    char digest[SHA256_HEX + 1]; /* "": from then on no version was active */
    int64_t at_ms;
    char by[KID_BYTES]; /* as struct audit_actor has it; "": not known */
};

struct version_files;

/* What an adapter has a head of its own for. Stored as numbers. */
enum version_task { VERSION_GENERATES, VERSION_LABELS_TEXTS, VERSION_LABELS_TOKENS };

struct version {     /* immutable, reference-counted */
    uint32_t tenant; /* number of the tenant */
    char tenant_id[NAME_MAX_BYTES + 1];
    char name[NAME_MAX_BYTES + 1];          /* adapter */
    char digest[SHA256_HEX + 1];            /* of the canonical form */
    char settings[SHA256_HEX + 1];          /* of the files beside the weights; "": there are none */
    const char *config_blob, *weights_blob; /* SHA-256 of the two files; they live as long as `files` */
    struct version_files *files; /* adapters/blobs/retired.h; shared by all objects of this version */
    uint64_t config_bytes, weights_bytes;
    int rank_max, sites;
    int64_t parameters;
    enum version_task task;
    int vocab; /* tokens that there are with it; 0: as many as the base has */
    int64_t created_ms;
    double proof_max, proof_mean;
    bool active;     /* at the time it was read */
    int canary;      /* its share of the name's requests in hundredths of a percent; 0: it is no canary */
    bool broken;     /* a blob is missing or damaged */
    bool other_base; /* it was proved on another base than the one that is served */
};

/* ---- changes ---- */

/* Which version must be the active one for a change to happen: compare-and-swap. Zero-initialized: any. */
enum { EXPECTED_VERSIONS_MAX = 8 };
struct version_expected {
    bool given;
    size_t count; /* one of these; "": that none is active */
    char digest[EXPECTED_VERSIONS_MAX][SHA256_HEX + 1];
    char found[SHA256_HEX + 1]; /* filled with "version_conflict": which one is active, or "" */
};
enum { CANARY_SHARE_MAX = 10000 }; /* all requests */
struct adapter_change {
    const char *version; /* activate this one: 4 to 64 digits, "sha256:" allowed before them; NULL: none */
    bool rollback;       /* or the one that was active before the present one */
    bool set_canary;     /* or let one serve a share of the requests, instead of any other */
    const char *canary;  /* as `version`; NULL: none */
    int canary_share;    /* 1..CANARY_SHARE_MAX */
    /* Or change what is said about it, any of the four: */
    const char *labels; /* as labels_merge takes a change; NULL: as they are */
    const char *note;   /* NOTE_MAX_BYTES at most; NULL: as it is */
    bool set_expires;
    int64_t expires_ms; /* 0: never */
    bool set_pinned, pinned;
};
