-- What adapters bring beside their weights: tokenizer_config.json, chat_template.jinja, generation_config.json, as one JSON object from name to
-- content. Kept by its SHA-256, since many adapters bring the same.

CREATE TABLE settings (
    digest TEXT NOT NULL PRIMARY KEY CHECK (length(digest) = 64),
    files  BLOB NOT NULL
) STRICT;
ALTER TABLE versions ADD COLUMN settings TEXT REFERENCES settings (digest); -- NULL: none
CREATE INDEX versions_by_settings ON versions (settings) WHERE settings IS NOT NULL;
