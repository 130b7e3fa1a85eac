-- Which version a name meant, and since when. The newest row of an adapter is its present state. A row keeps the digest as
-- text: it outlives the version that it tells of.

CREATE TABLE activations (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    adapter INTEGER NOT NULL REFERENCES adapters (number) ON DELETE CASCADE,
    digest  TEXT    NOT NULL CHECK (length(digest) IN (0, 64)), -- '': from then on no version was active
    at_ms   INTEGER NOT NULL,
    actor   TEXT    NOT NULL                                    -- as in the audit log; '': from before this table
) STRICT;
CREATE INDEX activations_by_adapter ON activations (adapter, number);

INSERT INTO activations (adapter, digest, at_ms, actor)
SELECT adapter, digest, created_ms, '' FROM versions WHERE active = 1 ORDER BY number;
