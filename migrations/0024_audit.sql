-- A copy of audit.jsonl, line by line: it shows what was changed there, or cut off. Rows are added and never touched again.
CREATE TABLE audit (
    n    INTEGER PRIMARY KEY,
    line BLOB NOT NULL
) STRICT;
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit BEGIN SELECT raise(ABORT, 'the audit log is only added to'); END;
CREATE TRIGGER audit_is_not_cut BEFORE DELETE ON audit BEGIN SELECT raise(ABORT, 'the audit log is only added to'); END;
