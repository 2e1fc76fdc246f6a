-- What peers proved to keep: a record of what happened, which nothing else could tell again. So it says since when it is kept.
-- Peers, collections and snapshots stand here by their ids. Only the newest proof of a peer for a collection counts.
CREATE TABLE proof_since (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    at       INTEGER NOT NULL
) STRICT;
INSERT INTO proof_since (only_row, at) VALUES (1, unixepoch() * 1000000000);

CREATE TABLE proof (
    peer       BLOB NOT NULL,
    collection BLOB NOT NULL,
    snapshot   BLOB NOT NULL,
    proved_at  INTEGER NOT NULL,
    sampled    INTEGER NOT NULL,   -- chunks and segments that could be compared
    matched    INTEGER NOT NULL,   -- of those, how many the peer has
    PRIMARY KEY (peer, collection)
) STRICT, WITHOUT ROWID;
