-- What is kept of a collection, JSON; NULL: what is the default for our own, everything for those of others.
ALTER TABLE collection ADD COLUMN retention TEXT;

-- What is known of a snapshot beside its manifest. It stands here by its id, so that a rebuilt index knows it before the snapshot.
CREATE TABLE snapshot_mark (
    snapshot    BLOB PRIMARY KEY,
    pinned      INTEGER NOT NULL DEFAULT 0,
    tags        TEXT NOT NULL DEFAULT '[]',        -- JSON
    flagged     TEXT,                              -- why it is suspected to lack something
    verified_at INTEGER
) STRICT, WITHOUT ROWID;

-- Chunks that nobody names any more, and since when that is known. After a while the index forgets them, and they become files
-- that it does not know.
CREATE TABLE unnamed_chunk (
    chunk_no INTEGER PRIMARY KEY REFERENCES chunk (no) ON DELETE CASCADE,
    since    INTEGER NOT NULL
) STRICT;

-- Files in chunks/ that the index does not know, and since when. After a while they are removed.
CREATE TABLE unknown_file (
    id    BLOB PRIMARY KEY,
    size  INTEGER NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX axon_item_chunk_name ON axon_item_chunk (chunk);
