-- What is done by itself for a collection, and how much of it may be lost, JSON.
ALTER TABLE collection ADD COLUMN upkeep TEXT;

-- What was done, when, and what came of it: a record of what happened, which nothing else could tell again.
CREATE TABLE run (
    no         INTEGER PRIMARY KEY,
    collection BLOB NOT NULL,
    work       TEXT NOT NULL,       -- backup, verify, verify-data, …
    cause      TEXT NOT NULL,       -- schedule, command
    slot       INTEGER,             -- when it was due; NULL for a command
    missed     INTEGER NOT NULL,    -- slots before that one, which it makes up for
    pid        INTEGER NOT NULL,    -- the process that does it
    started_at INTEGER NOT NULL,
    ended_at   INTEGER,             -- NULL as long as it goes on
    result     TEXT,                -- done, partly, failed, interrupted
    message    TEXT,                -- why it failed, or what is wrong
    snapshot   BLOB,                -- what it made
    counts     TEXT                 -- JSON: what it read and stored
) STRICT;
CREATE INDEX run_of_collection ON run (collection, work, slot);

-- When its structure was last found whole: manifest, lists, tree, and that every chunk is here. verified_at is when every byte was read.
ALTER TABLE snapshot_mark ADD COLUMN whole_at INTEGER;
