-- What customers say about an adapter, and when its name ends.

ALTER TABLE adapters ADD COLUMN labels     TEXT;                      -- JSON, {key: value}; NULL: none
ALTER TABLE adapters ADD COLUMN note       TEXT NOT NULL DEFAULT '';
ALTER TABLE adapters ADD COLUMN expires_ms INTEGER;                   -- NULL: never
