-- The base on which each version was proved: its fingerprint, hexadecimal. NULL: from before this column; the next start takes them
-- as proved on the base that it serves.

ALTER TABLE versions ADD COLUMN base TEXT CHECK (length(base) = 64);
