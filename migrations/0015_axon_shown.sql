-- Content that several collections hold, sealed differently: of which one Axon instances are shown it, once and for all, because
-- an instance that is shown another IV deletes its own copy.
CREATE TABLE axon_shown (
    content_hash BLOB PRIMARY KEY,
    collection   BLOB NOT NULL
) STRICT, WITHOUT ROWID;
