-- Who did what when. A row is written in the transaction of the change that it tells of, and stays for ever: tenants and
-- keys are named by their text, so that a row outlives what it is about.

CREATE TABLE audit (
    number       INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms        INTEGER NOT NULL,
    actor        TEXT    NOT NULL, -- id of the key that asked, 'admin', 'no-auth' or 'daemon'
    actor_tenant TEXT    NOT NULL, -- whose key it was; '' for an admin
    request      TEXT    NOT NULL, -- id of the request; '' for what the daemon did by itself
    action       TEXT    NOT NULL, -- 'adapter.upload'
    tenant       TEXT    NOT NULL, -- whose thing was changed; '' for none
    target       TEXT    NOT NULL, -- the adapter, key or other thing; '' for the tenant itself
    detail       TEXT    NOT NULL
) STRICT;
CREATE INDEX audit_by_tenant ON audit (tenant, number);

CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
-- REPLACE would delete without the trigger above.
CREATE TRIGGER audit_no_replace BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
