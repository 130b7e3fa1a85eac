-- A second version of a name that serves a share of its requests: hundredths of a percent, 0 for all others.

ALTER TABLE versions ADD COLUMN canary INTEGER NOT NULL DEFAULT 0 CHECK (canary BETWEEN 0 AND 10000);
CREATE UNIQUE INDEX versions_one_canary ON versions (adapter) WHERE canary > 0;
