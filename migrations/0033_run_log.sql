-- A run may be of no collection (a sync), somebody may have asked for it over the admin plane, and what it says is kept.
CREATE TABLE run_new (
    no         INTEGER PRIMARY KEY,
    collection BLOB,                -- NULL if it is of none, or of several
    work       TEXT NOT NULL,       -- backup, verify, …; restore, export, sync, fetch
    cause      TEXT NOT NULL,       -- schedule, command, request
    by_whom    TEXT,                -- who asked for it, if that was over the admin plane
    slot       INTEGER,             -- when it was due; NULL if it was asked for
    missed     INTEGER NOT NULL,    -- slots before that one, which it makes up for
    pid        INTEGER NOT NULL,    -- the process that does it
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,             -- NULL as long as it goes on
    result     TEXT,                -- done, partly, failed, interrupted
    message    TEXT,                -- why it failed, or what is wrong
    snapshot   BLOB,                -- what it made, or was about
    counts     TEXT,                -- JSON: what it read and stored
    report     TEXT                 -- JSON: what else came of it, by kind
) STRICT;
INSERT INTO run_new (no, collection, work, cause, slot, missed, pid, started_at, ended_at, result, message, snapshot, counts)
    SELECT no, collection, work, cause, slot, missed, pid, started_at, ended_at, result, message, snapshot, counts FROM run;
DROP TABLE run;
ALTER TABLE run_new RENAME TO run;
CREATE INDEX run_of_collection ON run (collection, work, slot);

-- What a run said: notices and problems, the first ones of it.
CREATE TABLE run_line (
    run  INTEGER NOT NULL REFERENCES run (no) ON DELETE CASCADE,
    no   INTEGER NOT NULL,
    at   INTEGER NOT NULL,
    kind TEXT NOT NULL,             -- notice, problem
    subject TEXT NOT NULL,          -- with what there is a problem; empty if with nothing in particular
    text TEXT NOT NULL,
    PRIMARY KEY (run, no)
) STRICT, WITHOUT ROWID;
