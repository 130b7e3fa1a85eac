-- Keys that end by themselves, and when each was last used (to the minute).

ALTER TABLE keys ADD COLUMN expires_ms INTEGER; -- NULL: never
ALTER TABLE keys ADD COLUMN used_ms    INTEGER; -- NULL: never
