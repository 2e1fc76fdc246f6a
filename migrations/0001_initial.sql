-- The index: derived from keys/, manifests/ and chunks/ (R7). Moments are nanoseconds since 1970, UTC.

PRAGMA user_version = 1;

CREATE TABLE feed_name (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    id       BLOB NOT NULL
);

CREATE TABLE collection (
    no       INTEGER PRIMARY KEY,
    id       BLOB NOT NULL UNIQUE,
    name     TEXT NOT NULL UNIQUE,
    origin   BLOB NOT NULL,
    settings TEXT                                  -- JSON; only for collections that are backed up here
);

CREATE TABLE snapshot (
    no            INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE,
    collection_no INTEGER NOT NULL REFERENCES collection (no),
    sequence      INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    partial       INTEGER NOT NULL,
    chunks        INTEGER NOT NULL,
    chunk_bytes   INTEGER NOT NULL,
    parent        BLOB,
    has_key       INTEGER NOT NULL,
    complete      INTEGER NOT NULL,
    announced     INTEGER NOT NULL DEFAULT 0,      -- it stands in the feed
    deleted       INTEGER NOT NULL DEFAULT 0,      -- kept so that its tombstone is shown to those who saw it, and to nobody else
    UNIQUE (collection_no, sequence)
);

-- Everything in chunks/: chunks (kind 0) and segments (kind 1).
-- state: 0 missing, 1 present, 2 present with all that it lists (segments only).
CREATE TABLE chunk (
    no            INTEGER PRIMARY KEY,
    id            BLOB NOT NULL UNIQUE,
    size          INTEGER NOT NULL,
    kind          INTEGER NOT NULL,
    state         INTEGER NOT NULL,
    collection_no INTEGER NOT NULL REFERENCES collection (no)
);
-- Chunks of which the newest snapshot uses little: the next backup stores that anew.
CREATE TABLE sparse_chunk (
    chunk_no INTEGER PRIMARY KEY REFERENCES chunk (no) ON DELETE CASCADE
) STRICT;
CREATE INDEX chunk_missing ON chunk (kind, collection_no, no) WHERE state = 0;

CREATE TABLE segment_chunk (
    chunk_no   INTEGER NOT NULL REFERENCES chunk (no),
    segment_no INTEGER NOT NULL REFERENCES chunk (no),
    PRIMARY KEY (chunk_no, segment_no)
) WITHOUT ROWID;
CREATE INDEX segment_chunk_segment ON segment_chunk (segment_no, chunk_no);

CREATE TABLE snapshot_segment (
    snapshot_no INTEGER NOT NULL REFERENCES snapshot (no),
    segment_no  INTEGER NOT NULL REFERENCES chunk (no),
    position    INTEGER NOT NULL,
    PRIMARY KEY (snapshot_no, position)
) WITHOUT ROWID;
CREATE INDEX snapshot_segment_segment ON snapshot_segment (segment_no, snapshot_no);

-- Key and fragment table of a chunk of our own, sealed under the master key.
CREATE TABLE chunk_secret (
    chunk_no INTEGER PRIMARY KEY REFERENCES chunk (no),
    sealed   BLOB NOT NULL
);

-- kind: 0 manifest, 1 tombstone. Positions are never used again.
CREATE TABLE feed (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    kind        INTEGER NOT NULL,
    snapshot_no INTEGER NOT NULL REFERENCES snapshot (no)
);

CREATE TABLE peer (
    id              BLOB PRIMARY KEY,
    name            TEXT NOT NULL UNIQUE,
    address         TEXT,
    trust           TEXT NOT NULL,                 -- JSON
    identity        TEXT NOT NULL,                 -- JSON
    follow          INTEGER NOT NULL,
    granted         TEXT,                          -- JSON
    cursor          TEXT,
    added_at        INTEGER NOT NULL,
    last_contact_at INTEGER,
    last_error      TEXT
) WITHOUT ROWID;

CREATE TABLE invite (
    id            BLOB PRIMARY KEY,
    sealed_secret BLOB NOT NULL,
    rights        TEXT NOT NULL,                   -- JSON
    expires_at    INTEGER NOT NULL,
    used_at       INTEGER
) WITHOUT ROWID;

CREATE TABLE nonce (
    instance   BLOB NOT NULL,
    nonce      BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (instance, nonce)
) WITHOUT ROWID;
CREATE INDEX nonce_expiry ON nonce (expires_at);
