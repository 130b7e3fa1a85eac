-- What each tenant used, by day (UTC) and adapter version. Names by their text, so that a row outlives what it is about;
-- the number tells a new tenant from a deleted one of the same id.

CREATE TABLE usage (
    number            INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant            INTEGER NOT NULL,
    tenant_id         TEXT    NOT NULL,
    day               TEXT    NOT NULL CHECK (length(day) = 10), -- '2026-01-31'
    adapter           TEXT    NOT NULL,                          -- '' for the bare base, '*' for several in one request
    version           TEXT    NOT NULL,                          -- the digest; '' for none
    requests          INTEGER NOT NULL,
    errors            INTEGER NOT NULL,                          -- of the requests
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cached_tokens     INTEGER NOT NULL                           -- of the prompts'
) STRICT;
CREATE UNIQUE INDEX usage_rows ON usage (tenant, day, adapter, version);
CREATE INDEX usage_by_tenant ON usage (tenant_id, number);
