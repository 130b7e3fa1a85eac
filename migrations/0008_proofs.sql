-- What shows a version's effect beside the change of logits. Versions from before this table have no row.

CREATE TABLE proofs (
    version        INTEGER PRIMARY KEY REFERENCES versions (number) ON DELETE CASCADE,
    norm_count     INTEGER NOT NULL, -- modules with a low-rank update
    norm_sum       REAL    NOT NULL, -- of the Frobenius norms of scale * B A
    norms_largest  BLOB    NOT NULL, -- JSON, [{"module", "norm"}], largest first
    norms          BLOB    NOT NULL, -- the same, all of them
    sample_prompt  BLOB,             -- UTF-8; NULL: no sample was asked for
    sample_base    BLOB,             -- the base's answer; NULL: an empty one
    sample_adapter BLOB
) STRICT;
