-- Tenants and what is theirs. Numbers are never used twice (AUTOINCREMENT): a new tenant can never be taken for a
-- deleted one.

CREATE TABLE tenants (
    number     INTEGER PRIMARY KEY AUTOINCREMENT CHECK (number BETWEEN 1 AND 4294967295),
    id         TEXT    NOT NULL UNIQUE,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE keys (
    kid        TEXT    NOT NULL PRIMARY KEY,
    tenant     INTEGER NOT NULL REFERENCES tenants (number) ON DELETE CASCADE,
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of the key's text
    label      TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER                                            -- NULL: in force
) STRICT;
CREATE INDEX keys_by_tenant ON keys (tenant, kid);

CREATE TABLE adapters (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant     INTEGER NOT NULL REFERENCES tenants (number) ON DELETE CASCADE,
    name       TEXT    NOT NULL,
    created_ms INTEGER NOT NULL,
    UNIQUE (tenant, name)
) STRICT;

CREATE TABLE versions (
    number        INTEGER PRIMARY KEY AUTOINCREMENT,
    adapter       INTEGER NOT NULL REFERENCES adapters (number) ON DELETE CASCADE,
    digest        TEXT    NOT NULL CHECK (length(digest) = 64), -- SHA-256 of the canonical form, hexadecimal
    config_blob   TEXT    NOT NULL CHECK (length(config_blob) = 64),
    weights_blob  TEXT    NOT NULL CHECK (length(weights_blob) = 64),
    config_bytes  INTEGER NOT NULL,
    weights_bytes INTEGER NOT NULL,
    rank_max      INTEGER NOT NULL,
    sites         INTEGER NOT NULL,
    parameters    INTEGER NOT NULL,
    created_ms    INTEGER NOT NULL,
    proof_max     REAL    NOT NULL,
    proof_mean    REAL    NOT NULL,
    active        INTEGER NOT NULL CHECK (active IN (0, 1)),
    UNIQUE (adapter, digest)
) STRICT;
CREATE UNIQUE INDEX versions_one_active ON versions (adapter) WHERE active = 1;
-- Is a blob still used by any version?
CREATE INDEX versions_by_config_blob ON versions (config_blob);
CREATE INDEX versions_by_weights_blob ON versions (weights_blob);
