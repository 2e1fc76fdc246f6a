-- What an Axon instance has fetched here, chunk by chunk: it is told of an item until it has all of it.
CREATE TABLE axon_fetched (
    public_key   TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    position     INTEGER NOT NULL,
    PRIMARY KEY (public_key, content_hash, position)
) STRICT, WITHOUT ROWID;

-- Until when an Axon instance was told of what came, often enough: what of that it never fetched it has from elsewhere, or does
-- not want.
CREATE TABLE axon_settled (
    public_key TEXT PRIMARY KEY,
    until      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Signatures of requests that were accepted: each counts once.
CREATE TABLE axon_signature (
    digest     BLOB PRIMARY KEY,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX axon_signature_expiry ON axon_signature (expires_at);
