-- no-transaction
-- Who makes a collection's snapshots may change. A snapshot knows its maker, and two makers may have used the same number; a
-- collection knows who led it, one after the other (JSON; none: only its origin). Can be run again if it was cut in between.

PRAGMA foreign_keys = OFF;

BEGIN IMMEDIATE;

DROP TABLE IF EXISTS snapshot_new;
CREATE TABLE snapshot_new (
    no            INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE,
    collection_no INTEGER NOT NULL REFERENCES collection (no),
    maker         BLOB NOT NULL,
    beside        INTEGER NOT NULL DEFAULT 0,      -- a former leader made it, not knowing that another one led already
    sequence      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    partial       INTEGER NOT NULL,
    chunks        INTEGER NOT NULL,
    chunk_bytes   INTEGER NOT NULL,
    parent        BLOB,
    has_key       INTEGER NOT NULL,
    complete      INTEGER NOT NULL,
    announced     INTEGER NOT NULL DEFAULT 0,
    deleted       INTEGER NOT NULL DEFAULT 0,
    UNIQUE (collection_no, maker, sequence)
);
INSERT INTO snapshot_new (no, id, collection_no, maker, sequence, created_at, partial, chunks, chunk_bytes, parent, has_key,
    complete, announced, deleted)
SELECT s.no, s.id, s.collection_no, c.origin, s.sequence, s.created_at, s.partial, s.chunks, s.chunk_bytes, s.parent, s.has_key,
    s.complete, s.announced, s.deleted
FROM snapshot s JOIN collection c ON c.no = s.collection_no;
DROP TABLE snapshot;
ALTER TABLE snapshot_new RENAME TO snapshot;

DROP TABLE IF EXISTS collection_line;
CREATE TABLE collection_line (
    collection_no INTEGER PRIMARY KEY REFERENCES collection (no),
    reigns        TEXT NOT NULL
);

DROP TABLE IF EXISTS statement;
CREATE TABLE statement (
    id   BLOB PRIMARY KEY,
    text TEXT NOT NULL                             -- JSON: the statement and its signatures
) WITHOUT ROWID;

-- What was told to a peer, and by it, the last time: so that it is not told again before something changes.
DROP TABLE IF EXISTS told;
CREATE TABLE told (
    peer  BLOB NOT NULL,
    topic TEXT NOT NULL,
    what  TEXT NOT NULL,
    PRIMARY KEY (peer, topic)
) WITHOUT ROWID;

COMMIT;

PRAGMA foreign_keys = ON;
