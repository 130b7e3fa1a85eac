-- What a version has a head of its own for: 0 nothing, 1 labels of texts, 2 labels of tokens. Those before had none.
ALTER TABLE versions ADD COLUMN task INTEGER NOT NULL DEFAULT 0;
