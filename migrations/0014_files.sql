-- Files that tenants upload to train with, and that jobs leave. Their bytes are blobs.

CREATE TABLE files (
    number     INTEGER PRIMARY KEY AUTOINCREMENT,
    id         TEXT    NOT NULL UNIQUE,
    tenant     INTEGER NOT NULL REFERENCES tenants (number) ON DELETE CASCADE,
    name       TEXT    NOT NULL,                            -- as its owner calls it
    purpose    TEXT    NOT NULL,
    blob       TEXT    NOT NULL CHECK (length(blob) = 64),  -- SHA-256 of its bytes, hexadecimal
    bytes      INTEGER NOT NULL,
    examples   INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER                                      -- NULL: never
) STRICT;
CREATE INDEX files_by_tenant ON files (tenant, number);
CREATE INDEX files_by_blob ON files (blob);
CREATE INDEX files_by_end ON files (expires_ms) WHERE expires_ms IS NOT NULL;

-- Blobs of files that were deleted, until they are off the disk: what its owner deleted is not to come back, nor to wait in the
-- quarantine, when the daemon is killed in between.
CREATE TABLE files_gone (
    blob TEXT NOT NULL PRIMARY KEY
) STRICT, WITHOUT ROWID;
CREATE TRIGGER files_deleted AFTER DELETE ON files BEGIN
    INSERT OR IGNORE INTO files_gone (blob) VALUES (old.blob);
END;

ALTER TABLE tenants ADD COLUMN files_bytes_max INTEGER CHECK (files_bytes_max >= 0);
