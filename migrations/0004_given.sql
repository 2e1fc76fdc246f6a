-- What was given to which peer (R6): a record of what happened, which nothing else could tell again. So it says since when it
-- is kept. Peers, snapshots and chunks stand here by their ids: what is forgotten or deleted here stays given.
CREATE TABLE given_since (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    at       INTEGER NOT NULL
) STRICT;
INSERT INTO given_since (only_row, at) VALUES (1, unixepoch() * 1000000000);

CREATE TABLE given_peer (
    no INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE
) STRICT;

CREATE TABLE given_key (
    peer_no  INTEGER NOT NULL REFERENCES given_peer (no),
    snapshot BLOB NOT NULL,
    first_at INTEGER NOT NULL,
    PRIMARY KEY (peer_no, snapshot)
) STRICT, WITHOUT ROWID;

CREATE TABLE given_chunk (
    peer_no  INTEGER NOT NULL REFERENCES given_peer (no),
    chunk    BLOB NOT NULL,
    size     INTEGER NOT NULL,
    first_at INTEGER NOT NULL,
    PRIMARY KEY (peer_no, chunk)
) STRICT, WITHOUT ROWID;

-- Bytes of chunks that were sent in a month (years times twelve, and the months of this one): for quotas.
CREATE TABLE sent_month (
    peer_no INTEGER NOT NULL REFERENCES given_peer (no),
    month   INTEGER NOT NULL,
    bytes   INTEGER NOT NULL,
    PRIMARY KEY (peer_no, month)
) STRICT, WITHOUT ROWID;
