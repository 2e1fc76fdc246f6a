-- What came of comparing a peer's set of snapshots with ours, JSON: a difference that is not ours to mend costs nothing until
-- something changes.
ALTER TABLE peer ADD COLUMN compared TEXT;
