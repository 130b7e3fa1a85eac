-- Adapters that stay in memory, as an admin decides.

ALTER TABLE adapters ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1));
