-- A chunk that another system sealed, and gave to many: lists of several collections may name it.
ALTER TABLE chunk ADD COLUMN shared INTEGER NOT NULL DEFAULT 0;

-- What is known of an Axon BBS. Derived: it is what the collection's newest snapshot holds, and what came since (which its peers
-- tell again). Documents and keys are sealed under the master key.
CREATE TABLE axon_state (
    collection_no INTEGER PRIMARY KEY REFERENCES collection (no),
    snapshot      BLOB,                -- the newest snapshot whose documents these are
    generation    INTEGER NOT NULL,    -- counts the changes
    stored        INTEGER NOT NULL     -- the generation that the snapshot holds
) STRICT;

CREATE TABLE axon_document (
    collection_no INTEGER NOT NULL REFERENCES collection (no),
    path          TEXT NOT NULL,
    sealed        BLOB NOT NULL,
    changed_at    INTEGER NOT NULL,
    PRIMARY KEY (collection_no, path)
) STRICT, WITHOUT ROWID;

CREATE TABLE axon_item (
    no            INTEGER PRIMARY KEY,
    collection_no INTEGER NOT NULL REFERENCES collection (no),
    content_hash  BLOB NOT NULL,
    kinds         TEXT NOT NULL,       -- JSON
    manifest      TEXT NOT NULL,       -- JSON, as it was received
    sealed_key    BLOB,                -- nobody opens it here if there is none
    complete      INTEGER NOT NULL,    -- all chunks are here, and are what content_hash says
    changed_at    INTEGER NOT NULL,
    UNIQUE (collection_no, content_hash)
) STRICT;

CREATE TABLE axon_item_chunk (
    item_no  INTEGER NOT NULL REFERENCES axon_item (no) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    chunk    BLOB NOT NULL,
    size     INTEGER NOT NULL,         -- 0 as long as it is not here
    PRIMARY KEY (item_no, position)
) STRICT, WITHOUT ROWID;

-- Axon instances: they have keys of another kind than peers, and speak another protocol.
CREATE TABLE axon_peer (
    name            TEXT PRIMARY KEY,
    address         TEXT,
    public_key      TEXT NOT NULL UNIQUE,
    trust           TEXT NOT NULL,     -- JSON
    follow          INTEGER NOT NULL,
    added_at        INTEGER NOT NULL,
    cursor          TEXT,              -- the moment from which on it is asked next, as it wrote it
    last_contact_at INTEGER,
    last_error      TEXT
) STRICT, WITHOUT ROWID;
