-- Items of which an Axon instance was ever sent something: it has them, though it asks for everything anew.
CREATE TABLE axon_given (
    public_key   TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    PRIMARY KEY (public_key, content_hash)
) STRICT, WITHOUT ROWID;
INSERT INTO axon_given (public_key, content_hash) SELECT DISTINCT public_key, content_hash FROM axon_fetched;
