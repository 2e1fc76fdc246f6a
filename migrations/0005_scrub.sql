-- When each chunk and segment is read next, to compare it with its name. Losing it costs a new pass.
CREATE TABLE scrub (
    chunk_no    INTEGER PRIMARY KEY REFERENCES chunk (no) ON DELETE CASCADE,
    due_at      INTEGER NOT NULL,
    scrubbed_at INTEGER
) STRICT;
CREATE INDEX scrub_due ON scrub (due_at);
-- What was here once, and was lost or put aside: it is fetched again, whoever has it. What has come back since is here again.
CREATE TABLE lost_chunk (
    chunk_no INTEGER PRIMARY KEY REFERENCES chunk (no) ON DELETE CASCADE
) STRICT;
-- What was found, newest last; the oldest are forgotten.
CREATE TABLE scrub_finding (
    no       INTEGER PRIMARY KEY AUTOINCREMENT,
    found_at INTEGER NOT NULL,
    subject  TEXT NOT NULL,
    what     TEXT NOT NULL
) STRICT;
