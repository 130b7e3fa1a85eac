-- How many tokens there are with a version, where they are more or fewer than the base has; 0: as many. Those before had as many.
ALTER TABLE versions ADD COLUMN vocab INTEGER NOT NULL DEFAULT 0;
