-- Training jobs, what they said on their way, and the versions that they left on it. A job's numbers are in a file of its own
-- (DATA/training), which a job can do without: from the same data and seed come the same bits.

CREATE TABLE jobs (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT    NOT NULL UNIQUE,
    tenant          INTEGER NOT NULL REFERENCES tenants (number) ON DELETE CASCADE,
    status          TEXT    NOT NULL,
    name            TEXT    NOT NULL,           -- of the adapter that it makes
    base            TEXT    NOT NULL,           -- fingerprint of the base that it began on
    source          TEXT    NOT NULL,           -- digest of the version that it goes on from; '': none
    training_file   TEXT    NOT NULL,
    validation_file TEXT    NOT NULL,           -- '': none
    training_digest TEXT    NOT NULL,           -- of the file's bytes
    seed            INTEGER NOT NULL,
    config          TEXT    NOT NULL,           -- JSON: what was asked for, defaults filled in
    created_ms      INTEGER NOT NULL,
    started_ms      INTEGER,
    finished_ms     INTEGER,
    estimated_ms    INTEGER,                    -- when it will be done, as it looks
    steps           INTEGER NOT NULL DEFAULT 0, -- in all; 0: not known yet
    step            INTEGER NOT NULL DEFAULT 0, -- the last that was written down
    tokens          INTEGER NOT NULL DEFAULT 0, -- trained by then
    version         TEXT    NOT NULL DEFAULT '',
    result_file     TEXT    NOT NULL DEFAULT '',
    error_code      TEXT    NOT NULL DEFAULT '',
    error_message   TEXT    NOT NULL DEFAULT '',
    error_param     TEXT    NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX jobs_by_tenant ON jobs (tenant, number);
CREATE INDEX jobs_by_status ON jobs (status, number);

CREATE TABLE job_events (
    job     INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    place   INTEGER NOT NULL, -- 1, 2, 3 ... of its job
    at_ms   INTEGER NOT NULL,
    level   TEXT    NOT NULL, -- 'info', 'warn' or 'error'
    type    TEXT    NOT NULL, -- 'message' or 'metrics'
    message TEXT    NOT NULL,
    data    TEXT    NOT NULL, -- JSON; '': none
    PRIMARY KEY (job, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE job_checkpoints (
    job     INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
    step    INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    version TEXT    NOT NULL, -- digest
    metrics TEXT    NOT NULL, -- JSON
    PRIMARY KEY (job, step)
) STRICT, WITHOUT ROWID;

ALTER TABLE tenants ADD COLUMN training_jobs_max       INTEGER CHECK (training_jobs_max >= 0);
ALTER TABLE tenants ADD COLUMN training_tokens_per_day INTEGER CHECK (training_tokens_per_day >= 0);
ALTER TABLE tenants ADD COLUMN training_rank_max       INTEGER CHECK (training_rank_max >= 1);

ALTER TABLE usage ADD COLUMN trained_tokens INTEGER NOT NULL DEFAULT 0;
